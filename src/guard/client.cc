#include "guard/client.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/socket.h>
#include <unistd.h>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <utility>

namespace pgsteady::guard {
namespace {

tl::unexpected<Error> gone(const char* what) {
  return fail(ErrorKind::fatal, fmt::format("the guardian is gone ({})", what));
}

// NUL-terminated strings one after the other; an empty one divides, so none may be empty itself.
Result<void> append(std::string& texts, const std::vector<std::string>& more) {
  for (const auto& text : more) {
    if (text.empty() || text.find('\0') != std::string::npos) {
      return fail(ErrorKind::refused,
                  "a command for the guardian has an empty word or a NUL in it");
    }
    texts.append(text).push_back('\0');
  }
  return {};
}

Result<std::string> texts_of(const Command& command) {
  std::string texts;
  if (auto added = append(texts, command.argv); !added) return tl::unexpected(added.error());
  texts.push_back('\0');
  if (auto added = append(texts, command.environment); !added) {
    return tl::unexpected(added.error());
  }
  return texts;
}

Message message_of(const Header& header, std::string text) {
  Message message;
  message.kind = header.kind;
  message.phase = header.phase;
  message.pid = header.pid;
  message.code = header.code;
  message.fenced = header.fenced != 0;
  message.watchdog_failed = header.watchdog_failed != 0;
  message.as_primary = header.as_primary != 0;
  message.suspended = header.suspended != 0;
  message.job = header.job;
  message.epoch = {header.lease, header.mod_revision};
  message.deadline = lease::Instant(lease::Duration(header.deadline_ns));
  message.ttl = lease::Duration(header.ttl_ns);
  message.text = std::move(text);
  return message;
}

}  // namespace

Result<std::unique_ptr<Client>> Client::from_environment() {
  const char* text = std::getenv(kFdVariable);
  char* end = nullptr;
  long fd = text != nullptr ? std::strtol(text, &end, 10) : -1;
  if (text == nullptr || end == text || *end != 0 || fd < 0) {
    return fail(ErrorKind::fatal, fmt::format("{} names no descriptor", kFdVariable),
                "start the agent through pgsteady-guard");
  }
  // The agent's own helpers must not hold the connection.
  if (fcntl(static_cast<int>(fd), F_SETFD, FD_CLOEXEC) != 0) {
    return fail(ErrorKind::fatal, fmt::format("{} names a closed descriptor", kFdVariable),
                "start the agent through pgsteady-guard");
  }
  unsetenv(kFdVariable);
  auto client = std::make_unique<Client>(static_cast<int>(fd));
  Header hello;
  hello.kind = Kind::hello;
  if (auto sent = client->send(hello); !sent) return tl::unexpected(sent.error());
  return client;
}

Client::Client(int fd) : fd_(fd) {}

Client::~Client() {
  close(fd_);
}

Result<void> Client::send(Header header, const std::string& texts) {
  header.text_bytes = static_cast<std::uint32_t>(texts.size());
  if (sizeof header + texts.size() > kPacketLimitBytes) {
    return fail(ErrorKind::refused, "a command for the guardian is too long");
  }
  std::array<iovec, 2> parts{
      {{&header, sizeof header}, {const_cast<char*>(texts.data()), texts.size()}}};
  msghdr packet{};
  packet.msg_iov = parts.data();
  packet.msg_iovlen = parts.size();
  for (;;) {
    if (sendmsg(fd_, &packet, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0) return {};
    if (errno == EINTR) continue;
    if (errno == EAGAIN || errno == ENOBUFS) {
      return fail(ErrorKind::retry, "the guardian does not read its messages");
    }
    return gone(std::strerror(errno));
  }
}

Result<std::optional<Message>> Client::receive() {
  std::array<char, sizeof(Header) + 4096> data;  // what the guardian says is short
  ssize_t n = 0;
  do {
    n = recv(fd_, data.data(), data.size(), MSG_DONTWAIT);
  } while (n < 0 && errno == EINTR);
  if (n < 0 && errno == EAGAIN) return std::nullopt;
  if (n < 0) return gone(std::strerror(errno));
  if (n == 0) return gone("it hung up");
  Header header;
  auto bytes = static_cast<std::size_t>(n);
  if (bytes < sizeof header) return fail(ErrorKind::fatal, "the guardian sent half a message");
  std::memcpy(&header, data.data(), sizeof header);
  if (header.version != kVersion || bytes != sizeof header + header.text_bytes) {
    return fail(ErrorKind::fatal, "the guardian speaks another version",
                "install pgsteady and pgsteady-guard of the same release");
  }
  auto text_bytes = header.text_bytes > 0 ? header.text_bytes - 1 : 0;  // without its NUL
  return message_of(header, std::string(data.data() + sizeof header, text_bytes));
}

Result<void> Client::alive() {
  Header header;
  header.kind = Kind::alive;
  return send(header);
}

Result<void> Client::arm(const lease::Epoch& epoch, lease::Instant deadline, lease::Duration ttl) {
  Header header;
  header.kind = Kind::arm;
  header.lease = epoch.lease;
  header.mod_revision = epoch.mod_revision;
  header.deadline_ns = deadline.time_since_epoch().count();
  header.ttl_ns = ttl.count();
  return send(header);
}

Result<void> Client::disarm(const lease::Epoch& epoch) {
  Header header;
  header.kind = Kind::disarm;
  header.lease = epoch.lease;
  header.mod_revision = epoch.mod_revision;
  return send(header);
}

Result<void> Client::start_server(const Command& command, bool as_primary) {
  Header header;
  header.kind = Kind::start_server;
  header.as_primary = as_primary ? 1 : 0;
  auto texts = texts_of(command);
  if (!texts) return tl::unexpected(texts.error());
  return send(header, *texts);
}

Result<void> Client::stop_server(StopMode mode, std::chrono::nanoseconds limit) {
  Header header;
  header.kind = Kind::stop_server;
  header.stop_mode = mode;
  header.limit_ns = limit.count();
  return send(header);
}

Result<void> Client::fence() {
  Header header;
  header.kind = Kind::fence;
  return send(header);
}

Result<void> Client::signal_server(int signal) {
  Header header;
  header.kind = Kind::signal_server;
  header.signal = signal;
  return send(header);
}

Result<void> Client::run_job(std::int64_t job, const Command& command,
                             const std::string& output_path, std::chrono::nanoseconds limit) {
  Header header;
  header.kind = Kind::run_job;
  header.job = job;
  header.limit_ns = limit.count();
  std::string texts;
  if (auto added = append(texts, {output_path}); !added) return added;
  auto command_texts = texts_of(command);
  if (!command_texts) return tl::unexpected(command_texts.error());
  return send(header, texts + *command_texts);
}

Result<void> Client::kill_job(std::int64_t job) {
  Header header;
  header.kind = Kind::kill_job;
  header.job = job;
  return send(header);
}

Result<void> Client::finished(int exit_code) {
  Header header;
  header.kind = Kind::finished;
  header.code = exit_code;
  return send(header);
}

Result<void> Client::suspend() {
  Header header;
  header.kind = Kind::suspend;
  return send(header);
}

Result<void> Client::resume() {
  Header header;
  header.kind = Kind::resume;
  return send(header);
}

}  // namespace pgsteady::guard
