// What Patroni 4.1 knows and we don't honour yet, by section. Keys that load() reads are not here.
#pragma once

#include <set>
#include <string>

namespace pgsteady::config {

using Keys = std::set<std::string>;

const Keys& known_at_top();
const Keys& known_in_restapi();
const Keys& known_in_etcd();
const Keys& known_in_bootstrap();
const Keys& known_in_postgresql();
const Keys& known_in_credentials();
const Keys& known_in_log();
const Keys& known_in_watchdog();

}  // namespace pgsteady::config
