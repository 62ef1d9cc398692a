// The parts of the file that say where the cluster's keys are.
#pragma once

#include <string>

#include "config/config.h"
#include "config/section.h"

namespace pgsteady::config {

// `etcd3`, or `etcd` under that name. The addresses may be missing; the caller says whether that is
// wrong.
Section etcd_section(Section& top, const Overrides& overrides, Findings& findings);
void read_etcd(Section section, Etcd& etcd);
std::string read_namespace(Section& top);

}  // namespace pgsteady::config
