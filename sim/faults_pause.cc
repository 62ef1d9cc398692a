// What operators do to the dynamic configuration: pauses, failsafe mode, the ttl.
#include <boost/json/serialize.hpp>

#include "cluster/json.h"
#include "sim/faults.h"

namespace pgsteady::sim {
namespace {

constexpr Duration kTryAgain = milliseconds(100);

}  // namespace

// Written as soon as etcd lets it, with what is wanted by then.
void Operator::write_config() {
  auto& etcd = cluster_.etcd;
  const auto* key = etcd.find("config");
  auto config = parse_json_object(key ? key->value : "");
  if (!etcd.available() || !config) {
    return cluster_.world.after(kTryAgain, nullptr, [this] { write_config(); });
  }
  auto wanted = *config;
  if (pauses_ > 0) {
    wanted["pause"] = true;
  } else {
    wanted.erase("pause");
  }
  wanted["failsafe_mode"] = cluster_.settings.failsafe && failsafe_offs_ == 0;
  if (ttl_seconds_ > 0) wanted["ttl"] = ttl_seconds_;
  if (wanted == *config) return;
  auto text = boost::json::serialize(wanted);
  cluster_.world.trace("people", "write config {}", text);
  etcd.put_by_hand("config", text);
}

Operator::Undo Operator::begin_on_config(const Step& step) {
  if (step.verb == "set_ttl") {
    ttl_seconds_ = number_of(step, 0);
    write_config();
    return nullptr;
  }
  auto& count = step.verb == "pause" ? pauses_ : failsafe_offs_;
  ++count;
  write_config();
  return [this, &count] {
    --count;
    write_config();
  };
}

}  // namespace pgsteady::sim
