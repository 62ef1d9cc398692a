#include "idle.h"

#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <sstream>
#include <vector>

namespace pgsteady::bench {

using testing::eventually;
using testing::Manager;
using testing::Millis;

namespace {

double pss_mb(pid_t pid) {
  std::ifstream in("/proc/" + std::to_string(pid) + "/smaps_rollup");
  for (std::string word; in >> word;) {
    double kb = 0;
    if (word == "Pss:" && in >> kb) return kb / 1024;
  }
  return 0;
}

double cpu_seconds(pid_t pid) {
  std::ifstream in("/proc/" + std::to_string(pid) + "/stat");
  std::string text;
  std::getline(in, text);
  std::istringstream fields(text.substr(std::min(text.size(), text.rfind(')') + 2)));
  std::string skipped;
  for (int i = 0; i < 11; ++i) fields >> skipped;  // state .. cmajflt
  double user = 0, system = 0;
  fields >> user >> system;
  return (user + system) / static_cast<double>(sysconf(_SC_CLK_TCK));
}

}  // namespace

Idle measure_idle(testing::Cluster& cluster, testing::Etcd& etcd, Millis span) {
  struct Before {
    pid_t agent, guardian;
    double agent_cpu, guardian_cpu;
  };
  std::vector<Before> before;
  for (auto& node : cluster.nodes()) {
    pid_t agent = node->agent(), guardian = node->guardian();
    before.push_back({agent, guardian, cpu_seconds(agent), cpu_seconds(guardian)});
  }
  const auto proposals = etcd.proposals();
  eventually(
      span, [] { return false; }, Millis(1000));

  const double seconds = std::chrono::duration<double>(span).count();
  Idle idle;
  for (const auto& b : before) {
    idle.agent_pss_mb = std::max(idle.agent_pss_mb, pss_mb(b.agent));
    idle.agent_cpu_percent =
        std::max(idle.agent_cpu_percent, (cpu_seconds(b.agent) - b.agent_cpu) / seconds * 100);
    if (cluster.options().manager == Manager::patroni) continue;
    idle.guardian_pss_mb = std::max(idle.guardian_pss_mb, pss_mb(b.guardian));
    idle.guardian_cpu_percent = std::max(
        idle.guardian_cpu_percent, (cpu_seconds(b.guardian) - b.guardian_cpu) / seconds * 100);
  }
  const auto after = etcd.proposals();
  if (proposals && after) {
    idle.proposals_per_minute = static_cast<double>(*after - *proposals) / seconds * 60;
  }
  return idle;
}

}  // namespace pgsteady::bench
