#include "actors/http/event_stream_writer.hpp"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>

#include <fmt/format.h>

#include <utility>

namespace tillstream {

namespace {

namespace net = boost::asio;

constexpr auto as_value = net::as_tuple(net::use_awaitable);

constexpr std::string_view last_chunk = "0\r\n\r\n";

/// The owner's end of a live reply.
class live_reply : public http_stream {
public:
  live_reply(server_core_ptr core, event_stream_writer_ptr to)
    : core_(std::move(core)),
      to_(std::move(to)) {
    // nop
  }

  ~live_reply() override {
    net::post(core_->io, [to = to_] { to->close(); });
  }

  bool send(std::string bytes) override {
    return to_->send(std::move(bytes));
  }

  bool closed() const override {
    return to_->closed();
  }

private:
  // In this order: the writer's timer needs the core's `io_context`.
  server_core_ptr core_;
  event_stream_writer_ptr to_;
};

} // namespace

std::shared_ptr<event_stream_writer>
event_stream_writer::make(server_core& core) {
  if (core.live_replies.fetch_add(1) < core.options.streams_max)
    return std::shared_ptr<event_stream_writer>{new event_stream_writer{core}};
  core.live_replies.fetch_sub(1);
  return nullptr;
}

event_stream_writer::event_stream_writer(server_core& core)
  : core_(core),
    changed_(core.io) {
  changed_.expires_at(std::chrono::steady_clock::time_point::max());
}

event_stream_writer::~event_stream_writer() {
  end();
}

http_stream_ptr event_stream_writer::make_stream(server_core_ptr core) {
  return std::make_shared<live_reply>(std::move(core), shared_from_this());
}

bool event_stream_writer::send(std::string bytes) {
  if (bytes.empty() || closed_)
    return true;
  if (busy_.exchange(true))
    return false;
  net::post(core_.io,
            [self = shared_from_this(), bytes = std::move(bytes)]() mutable {
              self->push(std::move(bytes));
            });
  return true;
}

net::awaitable<void>
event_stream_writer::run(boost::beast::tcp_stream& to, bool chunked) {
  // The reader waits for as long as the peer stays; only writing is bounded.
  auto write = [&](std::string_view bytes) -> net::awaitable<bool> {
    to.expires_after(core_.options.write_max);
    auto [ec, n] = co_await net::async_write(
      to, net::buffer(bytes.data(), bytes.size()), as_value);
    to.expires_never();
    co_return !ec;
  };
  auto good = true;
  while (good && state_ != state::ended) {
    if (!queued_.empty()) {
      auto bytes = std::exchange(queued_, {});
      if (chunked)
        bytes = make_chunk(bytes);
      good = co_await write(bytes);
      busy_ = false;
    } else if (state_ == state::open) {
      co_await changed_.async_wait(as_value);
    } else {
      if (chunked)
        co_await write(last_chunk);
      break;
    }
  }
  end();
}

std::string event_stream_writer::make_chunk(std::string_view bytes) {
  return fmt::format("{:x}\r\n{}\r\n", bytes.size(), bytes);
}

void event_stream_writer::push(std::string bytes) {
  queued_ = std::move(bytes);
  changed_.cancel();
}

void event_stream_writer::close() {
  if (state_ == state::open)
    state_ = state::closing;
  changed_.cancel();
}

void event_stream_writer::cancel() {
  end();
  changed_.cancel();
}

void event_stream_writer::end() {
  state_ = state::ended;
  if (!closed_.exchange(true))
    core_.live_replies.fetch_sub(1);
}

} // namespace tillstream
