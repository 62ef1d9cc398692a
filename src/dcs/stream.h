// One bidirectional stream to one endpoint: requests queue up, messages come as they come, and the
// end is told once. On the Reactor's thread.
#pragma once

#include <deque>

#include "dcs/endpoint.h"

namespace pgsteady::dcs {

template <typename Request, typename Response>
class Stream : public std::enable_shared_from_this<Stream<Request, Response>> {
 public:
  using Pipe = grpc::ClientAsyncReaderWriter<Request, Response>;
  struct Events {
    std::function<void(const Response&)> message;
    std::function<void(const grpc::Status&)> ended;  // never after close()
  };

  // `prepare(context, queue)` makes the pipe; `context` may be given metadata before.
  template <typename Prepare>
  static std::shared_ptr<Stream> open(Reactor& reactor, const std::string& token, Events events,
                                      const Prepare& prepare) {
    std::shared_ptr<Stream> stream(new Stream(reactor, std::move(events)));
    add_token(stream->context_, token);
    // A member cut off from its cluster's leader ends the stream instead of keeping silent.
    stream->context_.AddMetadata("hasleader", "true");
    reactor.add(&stream->context_);
    stream->pipe_ = prepare(&stream->context_, reactor.queue());
    stream->pipe_->StartCall(reactor.tag([stream](bool ok) { stream->started(ok); }));
    return stream;
  }
  ~Stream() { reactor_.remove(&context_); }

  void write(Request request) {
    unsent_.push_back(std::move(request));
    write_next();
  }

  void close() {
    events_ = {};
    context_.TryCancel();
  }

 private:
  Stream(Reactor& reactor, Events events) : reactor_(reactor), events_(std::move(events)) {}

  void started(bool ok) {
    if (!ok) return finish();
    open_ = true;
    read_next();
    write_next();
  }

  void read_next() {
    pipe_->Read(&incoming_, reactor_.tag([self = this->shared_from_this()](bool ok) {
      if (!ok) return self->finish();
      auto message = self->events_.message;  // a copy: it may close the stream
      if (message) message(self->incoming_);
      self->read_next();
    }));
  }

  void write_next() {
    if (!open_ || writing_ || unsent_.empty()) return;
    writing_ = true;
    pipe_->Write(unsent_.front(), reactor_.tag([self = this->shared_from_this()](bool ok) {
      self->writing_ = false;
      self->unsent_.pop_front();
      if (ok) self->write_next();  // otherwise the read fails too and ends the stream
    }));
  }

  void finish() {
    open_ = false;
    pipe_->Finish(&status_, reactor_.tag([self = this->shared_from_this()](bool) {
      auto ended = std::move(self->events_.ended);
      self->events_ = {};
      if (ended) ended(self->status_);
    }));
  }

  Reactor& reactor_;
  Events events_;
  grpc::ClientContext context_;
  std::unique_ptr<Pipe> pipe_;
  Response incoming_;
  grpc::Status status_;
  std::deque<Request> unsent_;
  bool open_ = false;
  bool writing_ = false;
};

}  // namespace pgsteady::dcs
