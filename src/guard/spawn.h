// Starting the guardian's children. Each is in a session of its own (a terminal's Ctrl-C reaches
// the guardian alone), dies with the guardian (PR_SET_PDEATHSIG), and inherits no descriptor but
// the standard ones.
#pragma once

#include <sys/resource.h>
#include <sys/types.h>
#include <string>
#include <vector>

namespace pgsteady::guard {

struct Program {
  std::vector<std::string> argv;
  // "KEY=value", over the guardian's own, of which the agent alone gets PATRONI_* and PGPASSWORD.
  std::vector<std::string> environment;
  std::string output_path;  // empty: standard output and error are inherited
  int socket = -1;          // handed over as descriptor 3; the agent has one
};

constexpr int kSocketInChild = 3;

// What the guardian changed for itself and its children get back.
struct Inherited {
  rlimit memory_lock{};
  std::string oom_score_adj;  // empty: was not changed
};

// The pid, or -1 with errno. Only fork() happens here: the program's file is touched by the child
// alone, so that a hung disk hangs the child. A program that can't be run exits with 127.
pid_t spawn(const Program& program, const Inherited& inherited);

// For a child that was forked: closes this descriptor and all above it.
void close_from(unsigned first);

}  // namespace pgsteady::guard
