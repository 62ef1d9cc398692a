#include "dcs/renewer.h"

#include <algorithm>
#include <atomic>
#include <map>

#include "base/log.h"
#include "dcs/session.h"
#include "dcs/stream.h"

namespace pgsteady::dcs {
namespace {

using lease::Instant;
using lease::Renewal;
using std::chrono::milliseconds;
using std::chrono::nanoseconds;

constexpr milliseconds kFirstRepeat(100);
constexpr milliseconds kLongestRepeat(500);
constexpr std::size_t kChecksUnderWay = 32;
constexpr milliseconds kBetweenAuthentications(1000);  // a password's check costs etcd 0.1 s

Instant now() {
  return Instant(boottime_now());
}

// How long an answer is waited for before the next endpoint is asked as well.
milliseconds repeat_interval(lease::Duration ttl) {
  auto part = std::chrono::duration_cast<milliseconds>(ttl) / 50;
  return std::clamp(part, kFirstRepeat, kLongestRepeat);
}

// When an unanswered KeepAlive makes its stream one to be thrown away.
nanoseconds stuck_after(lease::Duration ttl) {
  return std::clamp<nanoseconds>(ttl / 4, milliseconds(500), milliseconds(2000));
}

// How long a check may take; its answer is as good late as soon.
nanoseconds check_limit(lease::Duration ttl) {
  return std::clamp<nanoseconds>(ttl / 2, milliseconds(1000), milliseconds(5000));
}

// The state on the renewal thread. Everything here runs there.
class Renewing {
 public:
  Renewing(Reactor& reactor, Options options, std::string value, RenewerHooks hooks,
           std::function<void(RenewalReport)> report)
      : session_(reactor, std::move(options)),
        key_(session_.options().prefix + "leader"),
        value_(std::move(value)),
        hooks_(std::move(hooks)),
        report_(std::move(report)) {}

  void adopt(std::int64_t lease, lease::Duration ttl, Instant granted_at);
  void hold(const lease::Epoch& epoch);
  void let_go();
  void drop();

 private:
  using KeepAliveStream = Stream<pb::LeaseKeepAliveRequest, pb::LeaseKeepAliveResponse>;
  struct OpenStream {
    std::size_t number = 0;  // as Renewal knows it; never used twice
    std::shared_ptr<KeepAliveStream> stream;
    std::deque<Instant> unanswered;
  };

  void begin_round();
  void send_over(std::size_t index);
  void look();
  bool round_counted() const;
  void answered();
  void schedule(nanoseconds delay, void (Renewing::*step)());
  bool may_send();
  void authenticate();

  OpenStream& stream_to(std::size_t index);
  void close_stream(std::size_t index);
  void close_streams();
  void send_keepalive(std::size_t index);
  void keepalive_answered(std::size_t index, const pb::LeaseKeepAliveResponse& response);
  void send_check(std::size_t index);
  void check_answered(std::size_t index, std::uint64_t id, const std::string& token,
                      const grpc::Status& status, const pb::RangeResponse& response);
  void tell();

  Session session_;
  const std::string key_;
  const std::string value_;
  RenewerHooks hooks_;
  std::function<void(RenewalReport)> report_;
  Renewal renewal_;
  std::map<std::size_t, OpenStream> streams_;  // by endpoint
  std::size_t next_stream_ = 1;
  std::size_t checks_under_way_ = 0;
  Instant round_began_{};
  std::size_t asked_ = 0;  // the endpoint asked last in this round
  std::optional<Reactor::TimerId> timer_;
  bool paused_ = false;  // may_renew() said no
  bool authenticating_ = false;
  Instant no_authentication_before_{};
  // What was told last:
  Renewal::State told_state_ = Renewal::State::none;
  std::int64_t told_lease_ = 0;
  std::optional<lease::Epoch> told_epoch_;
  std::optional<Instant> told_counted_;
};

void Renewing::adopt(std::int64_t lease, lease::Duration ttl, Instant granted_at) {
  close_streams();
  renewal_.adopt(lease, ttl, granted_at);
  tell();
  begin_round();
}

void Renewing::hold(const lease::Epoch& epoch) {
  renewal_.hold(epoch, value_);
  tell();
  begin_round();  // so that a first deadline exists within one round trip
}

void Renewing::let_go() {
  renewal_.let_go();
  tell();
}

void Renewing::drop() {
  renewal_.drop();
  close_streams();
  if (timer_) session_.reactor().cancel(*timer_);
  tell();
}

void Renewing::schedule(nanoseconds delay, void (Renewing::*step)()) {
  if (timer_) session_.reactor().cancel(*timer_);
  timer_ = session_.reactor().after(delay, [this, step] { (this->*step)(); });
}

bool Renewing::round_counted() const {
  return renewal_.counted() && *renewal_.counted() >= round_began_;
}

// Tells what an answer changed. A round that has counted is not looked at again before the next.
void Renewing::answered() {
  tell();
  if (round_counted() && renewal_.state() == Renewal::State::alive) look();
}

bool Renewing::may_send() {
  bool may = !hooks_.may_renew || hooks_.may_renew();
  if (may == paused_) {
    paused_ = !may;
    if (may) {
      log_info("renewing the lease again");
    } else {
      log_warning("not renewing the lease: the loop or the guardian shows no sign of life");
    }
  }
  return may;
}

void Renewing::begin_round() {
  auto state = renewal_.state();
  if (state == Renewal::State::none || state == Renewal::State::lease_lost) return;
  round_began_ = now();
  send_over(session_.current());
  schedule(repeat_interval(renewal_.ttl()), &Renewing::look);
}

// Has the round's renewal counted? Then the next round has its time; otherwise another try.
void Renewing::look() {
  auto state = renewal_.state();
  if (state == Renewal::State::none || state == Renewal::State::lease_lost) return;
  if (round_counted() || state == Renewal::State::key_lost) {
    auto interval = renewal_.epoch() ? lease::renewal_interval(renewal_.ttl())
                                     : lease::idle_renewal_interval(renewal_.ttl());
    auto rest = round_began_ + interval - now();
    return schedule(std::max<nanoseconds>(rest, nanoseconds(0)), &Renewing::begin_round);
  }
  if (!may_send()) return schedule(repeat_interval(renewal_.ttl()), &Renewing::look);
  session_.failed(asked_);
  send_over(session_.current() == asked_ ? session_.next(asked_) : session_.current());
  schedule(repeat_interval(renewal_.ttl()), &Renewing::look);
}

void Renewing::send_over(std::size_t index) {
  if (session_.broken() || !may_send()) return;
  if (session_.wants_token()) return authenticate();
  asked_ = index;
  send_keepalive(index);
  if (renewal_.epoch() && renewal_.state() == Renewal::State::alive) send_check(index);
}

void Renewing::authenticate() {
  if (authenticating_ || now() < no_authentication_before_) return;
  authenticating_ = true;
  session_.authenticate(check_limit(renewal_.ttl()), [this](const Result<bool>& result) {
    authenticating_ = false;
    if (result) return begin_round();
    log_warning("cannot renew the lease: {}", result.error().text());
    no_authentication_before_ = now() + kBetweenAuthentications;
  });
}

Renewing::OpenStream& Renewing::stream_to(std::size_t index) {
  auto found = streams_.find(index);
  if (found != streams_.end()) {
    const auto& unanswered = found->second.unanswered;
    bool stuck = !unanswered.empty() && now() - unanswered.front() > stuck_after(renewal_.ttl());
    if (!stuck) return found->second;
    close_stream(index);
  }
  auto& open = streams_[index];
  open.number = next_stream_++;
  open.stream = KeepAliveStream::open(
      session_.reactor(), session_.token(),
      {[this, index](const pb::LeaseKeepAliveResponse& response) {
         keepalive_answered(index, response);
       },
       [this, index](const grpc::Status& status) {
         log_debug("keepalive stream to {} ended: {}", session_.endpoint(index).address,
                   status.error_message());
         if (classify(status) == Failure::stale_token) session_.forget_token(session_.token());
         close_stream(index);
       }},
      [this, index](auto* context, auto* queue) {
        return session_.endpoint(index).lease->PrepareAsyncLeaseKeepAlive(context, queue);
      });
  return open;
}

void Renewing::close_stream(std::size_t index) {
  auto found = streams_.find(index);
  if (found == streams_.end()) return;
  renewal_.stream_broken(found->second.number);
  found->second.stream->close();
  streams_.erase(found);
}

void Renewing::close_streams() {
  while (!streams_.empty()) close_stream(streams_.begin()->first);
}

void Renewing::send_keepalive(std::size_t index) {
  auto& open = stream_to(index);
  auto sent = now();
  open.unanswered.push_back(sent);
  renewal_.keepalive_sent(open.number, sent);
  pb::LeaseKeepAliveRequest request;
  request.set_id(renewal_.lease());
  open.stream->write(std::move(request));
}

void Renewing::keepalive_answered(std::size_t index, const pb::LeaseKeepAliveResponse& response) {
  auto found = streams_.find(index);
  if (found == streams_.end()) return;
  if (!found->second.unanswered.empty()) found->second.unanswered.pop_front();
  auto number = found->second.number;
  session_.accept(index, response.header());
  renewal_.keepalive_answered(number, response.id(), response.ttl(), response.header().raft_term());
  answered();
}

void Renewing::send_check(std::size_t index) {
  if (checks_under_way_ >= kChecksUnderWay) return;
  ++checks_under_way_;
  auto id = renewal_.check_sent(now());
  pb::RangeRequest request;
  request.set_key(key_);
  auto token = session_.token();
  Unary<pb::RangeResponse>::start(
      session_.reactor(), check_limit(renewal_.ttl()), token,
      [&](auto* context, auto* queue) {
        return session_.endpoint(index).kv->PrepareAsyncRange(context, request, queue);
      },
      [this, index, id, token](const grpc::Status& status, pb::RangeResponse& response) {
        check_answered(index, id, token, status, response);
      });
}

void Renewing::check_answered(std::size_t index, std::uint64_t id, const std::string& token,
                              const grpc::Status& status, const pb::RangeResponse& response) {
  --checks_under_way_;
  if (!status.ok()) {
    renewal_.check_failed(id);
    if (classify(status) == Failure::stale_token) session_.forget_token(token);
    return;
  }
  if (!session_.accept(index, response.header())) return renewal_.check_failed(id);
  lease::KeyCheck found;
  if (response.kvs_size() > 0) {
    found = {response.kvs(0).value(), response.kvs(0).lease(), response.kvs(0).mod_revision()};
  }
  renewal_.check_answered(id, found, response.header().raft_term());
  answered();
}

// Tells the guardian and the loop what has changed since they were told last.
void Renewing::tell() {
  const auto counted = renewal_.counted();
  const bool newly_counted = counted && counted != told_counted_;
  const auto held_until = renewal_.held_until();
  if (newly_counted && held_until && hooks_.extend) {
    hooks_.extend(*renewal_.epoch(), *held_until, renewal_.ttl());
  }
  if (!newly_counted && renewal_.state() == told_state_ && renewal_.lease() == told_lease_ &&
      renewal_.epoch() == told_epoch_) {
    return;
  }
  told_state_ = renewal_.state();
  told_lease_ = renewal_.lease();
  told_epoch_ = renewal_.epoch();
  told_counted_ = counted;
  RenewalReport report{renewal_.state(), renewal_.lease(), renewal_.epoch(),
                       counted,          held_until,       {}};
  if (newly_counted) report.latency = now() - *counted;
  report_(report);
}

class EtcdRenewer : public Renewer {
 public:
  EtcdRenewer(Options options, std::string value, RenewerHooks hooks, Post post)
      : open_(std::make_shared<std::atomic<bool>>(true)), reactor_("renewal") {
    auto tell = [open = open_, post = std::move(post),
                 told = hooks.report](const RenewalReport& report) {
      if (!told) return;
      post([open, told, report] {
        if (*open) told(report);
      });
    };
    renewing_ = std::make_unique<Renewing>(reactor_, std::move(options), std::move(value),
                                           std::move(hooks), std::move(tell));
  }
  ~EtcdRenewer() override {
    *open_ = false;
    reactor_.stop();
  }

  void adopt(std::int64_t lease, lease::Duration ttl, lease::Instant granted_at) override {
    reactor_.post([this, lease, ttl, granted_at] { renewing_->adopt(lease, ttl, granted_at); });
  }
  void hold(const lease::Epoch& epoch) override {
    reactor_.post([this, epoch] { renewing_->hold(epoch); });
  }
  void let_go() override {
    reactor_.post([this] { renewing_->let_go(); });
  }
  void drop() override {
    reactor_.post([this] { renewing_->drop(); });
  }

 private:
  std::shared_ptr<std::atomic<bool>> open_;
  Reactor reactor_;
  std::unique_ptr<Renewing> renewing_;
};

}  // namespace

std::unique_ptr<Renewer> make_renewer(Options options, std::string value, RenewerHooks hooks,
                                      Post post) {
  return std::make_unique<EtcdRenewer>(std::move(options), std::move(value), std::move(hooks),
                                       std::move(post));
}

}  // namespace pgsteady::dcs
