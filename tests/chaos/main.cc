// Faults at random under a writer, for as long as you like: `./dev test chaos --help`.
#include <fmt/chrono.h>
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <atomic>
#include <csignal>
#include <ctime>
#include <iostream>
#include <optional>

#include "chaos/round.h"

namespace pgsteady::chaos {
namespace {

// Each so many-th round runs with synchronous_mode.
constexpr int kSynchronousEvery = 3;

struct Options {
  double minutes = 2;
  std::uint64_t seed = 1;
  int only = 0;  // a round's number, 0: all of them
  bool synchronous = false;
  bool keep_going = false;
  std::string programs;       // where they are, if not where this one was built
  std::string logs = "/tmp";  // where those of a failure are kept
};

std::atomic<bool> interrupted = false;

void say(const std::string& line) {
  std::cout << fmt::format("{:%H:%M:%S} ", fmt::gmtime(std::time(nullptr))) << line << std::endl;
}

double seconds(Millis time) {
  return static_cast<double>(time.count()) / 1000;
}

std::string line_of(int round, bool synchronous, const Verdict& verdict) {
  auto text = fmt::format("#{}{} {} | {} -> {}, no writes for {:.1f} s, whole after {:.1f} s",
                          round, synchronous ? " sync" : "", verdict.faults, verdict.primary_before,
                          verdict.primary_after, seconds(verdict.outage), seconds(verdict.healing));
  if (verdict.lost > 0) text += fmt::format(", {} asynchronous commits lost", verdict.lost);
  if (verdict.stale > 0) text += fmt::format(", {} late acknowledgements", verdict.stale);
  return text + (verdict.failures.empty() ? " | ok" : " | FAILED");
}

std::string repeat_command(const Options& options, int round) {
  return fmt::format("./dev test chaos --seed {} --only {}{}", options.seed, round,
                     options.synchronous ? " --sync" : "");
}

class Run {
 public:
  explicit Run(Options options) : options_(std::move(options)) {}

  int play() {
    const auto end = Clock::now() + std::chrono::duration_cast<Clock::duration>(
                                        std::chrono::duration<double>(options_.minutes * 60));
    int round = std::max(options_.only, 1);
    do {
      if (!world_) world_.emplace(options_.programs), ledger_ = {};
      play_one(round++);
    } while (options_.only == 0 && !interrupted && Clock::now() < end &&
             (failed_ == 0 || options_.keep_going));
    summarise();
    return failed_ == 0 ? 0 : 1;
  }

 private:
  void play_one(int round) {
    Verdict verdict;
    const bool synchronous = options_.synchronous || round % kSynchronousEvery == 0;
    try {
      verdict = play_round(*world_, Dice(options_.seed * 1000003 + static_cast<unsigned>(round)),
                           ledger_, synchronous);
    } catch (const std::runtime_error& error) {
      verdict.failures.emplace_back(error.what());
    }
    ++played_;
    lost_ += verdict.lost;
    stale_ += verdict.stale;
    say(line_of(round, synchronous, verdict));
    if (!verdict.failures.empty()) fail(round, verdict);
  }

  void fail(int round, const Verdict& verdict) {
    ++failed_;
    for (const auto& failure : verdict.failures) say("  " + failure);
    const auto where =
        std::filesystem::path(options_.logs) /
        fmt::format("pgsteady-chaos-{}-{}-{}", options_.seed, round, std::time(nullptr));
    world_->keep_logs(where);
    say(fmt::format("  logs: {}", where.string()));
    say(fmt::format("  repeat: {}", repeat_command(options_, round)));
    acknowledged_ += world_->writer().count();
    world_.reset();
  }

  void summarise() {
    if (world_) acknowledged_ += world_->writer().count();
    say(
        fmt::format("seed {}: {} rounds, {} failed; {} writes acknowledged, {} asynchronous ones "
                    "lost, {} late acknowledgements",
                    options_.seed, played_, failed_, acknowledged_, lost_, stale_));
  }

  Options options_;
  std::optional<World> world_;
  Ledger ledger_;
  int played_ = 0, failed_ = 0;
  std::int64_t acknowledged_ = 0;
  std::size_t lost_ = 0, stale_ = 0;
};

int run(int argc, char** argv) {
  Options options;
  CLI::App app(
      "Makes faults at random in a cluster of three with three etcds, and checks that it "
      "loses and doubles nothing, never has two primaries, and heals.",
      "./dev test chaos");
  app.add_option("--minutes", options.minutes, "how long (2)");
  app.add_option("--seed", options.seed, "names the faults (1)");
  app.add_option("--only", options.only, "that round of the seed alone");
  app.add_option("--programs", options.programs, "the directory of other programs to test");
  app.add_option("--logs", options.logs, "where the logs of a failure are kept (/tmp)");
  app.add_flag("--sync", options.synchronous, "all rounds with synchronous_mode, not each third");
  app.add_flag("--keep-going", options.keep_going, "go on with a new cluster after a failure");
  CLI11_PARSE(app, argc, argv);
  if (auto why = Network::missing(); !why.empty()) {
    std::cerr << "chaos: " << why << "\n";
    return 2;
  }
  testing::adopt_orphans();
  std::signal(SIGINT, [](int) { interrupted = true; });
  std::signal(SIGTERM, [](int) { interrupted = true; });
  return Run(options).play();
}

}  // namespace
}  // namespace pgsteady::chaos

int main(int argc, char** argv) {
  try {
    return pgsteady::chaos::run(argc, argv);
  } catch (const std::exception& error) {
    std::cerr << "chaos: " << error.what() << "\n";
    return 2;
  }
}
