// pgsteady_mutants [NAME...]: every mutant, or those named, must die. `--seeds N` searches wider;
// `--random` leaves the scenarios out, which tells what a campaign of seeds alone would notice.
// "nothing" names the rules as they are: its hunt tells which runs fail without any mutant.
#include <fmt/format.h>
#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <string_view>

#include "sim/mutants/hunt.h"

namespace {

using namespace pgsteady::sim;

void print(const Kill& kill) {
  if (kill.by.empty()) {
    fmt::print("{:28} SURVIVES {} runs\n", kill.name, kill.runs);
  } else {
    fmt::print("{:28} killed by {} after {} run{}: {}\n", kill.name, kill.by, kill.runs,
               kill.runs == 1 ? "" : "s", kill.violation);
  }
  std::fflush(stdout);
}

std::vector<Mutant> named(const std::vector<std::string_view>& names) {
  auto mutants = all_mutants();
  if (names.empty()) return mutants;
  mutants.push_back({"nothing", "the rules as they are", ""});
  std::erase_if(mutants, [&](const Mutant& mutant) {
    return std::find(names.begin(), names.end(), mutant.name) == names.end();
  });
  return mutants;
}

int judge(const std::vector<Mutant>& mutants, const HuntOptions& options) {
  auto began = std::chrono::steady_clock::now();
  auto kills = hunt(mutants, options, print);
  std::chrono::duration<double> took = std::chrono::steady_clock::now() - began;
  std::erase_if(kills, [](const Kill& kill) { return !kill.by.empty(); });
  fmt::print("{} mutants, {} killed, in {:.1f} s\n", mutants.size(), mutants.size() - kills.size(),
             took.count());
  for (const auto& survivor : kills) fmt::print("survives: {}\n", survivor.name);
  return kills.empty() ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  HuntOptions options;
  std::vector<std::string_view> names;
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "--seeds") == 0 && i + 1 < argc) {
      options.seeds = std::strtoull(argv[++i], nullptr, 10);
    } else if (std::strcmp(argv[i], "--random") == 0) {
      options.random_only = true;
    } else {
      names.emplace_back(argv[i]);
    }
  }
  auto mutants = named(names);
  if (mutants.empty()) {
    fmt::print(stderr, "there is no such mutant\nhint: without a name all are run\n");
    return 2;
  }
  return judge(mutants, options);
}
