// The renewal thread of a simulated agent: drives lease::Renewal as src/dcs/renewer does, over one
// KeepAlive stream per etcd member.
#pragma once

#include <deque>
#include <functional>
#include <map>

#include "lease/renewal.h"
#include "sim/etcd_client.h"

namespace pgsteady::sim {

class Renewer {
 public:
  struct Hooks {
    std::function<void(const lease::Epoch&, lease::Instant deadline, Duration ttl)> extend;
    std::function<bool()> may_renew;
    std::function<void(const lease::Renewal&)> report;
  };
  Renewer(Host& host, Actor& actor, Hooks hooks)
      : host_(host), actor_(actor), hooks_(std::move(hooks)) {}

  void adopt(std::int64_t lease, Duration ttl, lease::Instant granted_at);
  void hold(const lease::Epoch& epoch);
  void let_go();
  void drop();
  const lease::Renewal& renewal() const { return renewal_; }

 private:
  struct Stream {
    std::size_t number = 0;
    std::deque<lease::Instant> unanswered;
  };

  void begin_round();
  void look();
  void schedule(Duration delay, void (Renewer::*step)());
  void send_over(int member);
  Stream& stream_to(int member);
  void close_stream(int member);
  void close_streams();
  void send_keepalive(int member);
  void keepalive_answered(int member, std::size_t number, const EtcdReply& reply);
  void send_check(int member);
  void check_answered(int member, std::uint64_t id, const EtcdReply& reply);
  void tell();

  Host& host_;
  Actor& actor_;
  Hooks hooks_;
  lease::Renewal renewal_;
  EtcdSession session_;
  std::map<int, Stream> streams_;
  std::size_t next_stream_ = 1;
  std::uint64_t timer_ = 0;
  lease::Instant round_began_{};
  int asked_ = 0;
  lease::Renewal::State told_state_ = lease::Renewal::State::none;
  std::int64_t told_lease_ = 0;
  std::optional<lease::Epoch> told_epoch_;
  std::optional<lease::Instant> told_counted_;
};

}  // namespace pgsteady::sim
