// A node's way to etcd: which member it talks to, and a call that goes on to the next member when
// one fails, as src/dcs/call does.
#pragma once

#include <functional>
#include <memory>

#include "sim/etcd.h"

namespace pgsteady::sim {

class Host;

// Which member is asked, and the highest raft term seen: answers of a lower one are refused.
struct EtcdSession {
  int current = 0;
  std::uint64_t term = 0;

  bool accept(int member, std::uint64_t answered_term) {
    if (answered_term < term) return false;
    term = answered_term;
    current = member;
    return true;
  }
  void failed(int member) {
    if (member == current) current = (member + 1) % kEtcdMembers;
  }
};

class EtcdClient {
 public:
  struct Answer {
    EtcdReply reply;  // ok false: no answer within the limit
    lease::Instant sent, received;
  };
  using Done = std::function<void(const Answer&)>;

  EtcdClient(Host& host, Actor& actor) : host_(host), actor_(actor) {}

  // `freely`: may be sent again after one that may have been carried out.
  void call(EtcdRequest request, bool freely, Duration limit, Done done);
  EtcdSession session;
  std::function<void(int member)> on_failed;

 private:
  struct Call {
    EtcdRequest request;
    bool freely = false;
    bool finished = false;
    int attempts = 0;
    int newest = 0;
    lease::Instant deadline;
    Duration limit{};
    Done done;
  };
  using Shared = std::shared_ptr<Call>;

  void attempt(const Shared& call);
  void answered(const Shared& call, int member, lease::Instant sent, const EtcdReply& reply);
  void failed(const Shared& call, int member);
  void finish(const Shared& call, const Answer& answer);

  Host& host_;
  Actor& actor_;
};

}  // namespace pgsteady::sim
