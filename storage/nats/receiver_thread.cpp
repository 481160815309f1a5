#include "storage/nats/receiver_thread.hpp"

#include <limits>
#include <utility>

namespace tillstream::storage::jetstream {

namespace {

using namespace std::chrono_literals;

/// How late a lost connection is noticed.
constexpr auto tick = 50ms;
/// Between attempts to replace a link that the library has given up.
constexpr auto replace_wait = 500ms;
/// Messages handed over together.
constexpr size_t messages_max = 1000;

} // namespace

receiver_thread::receiver_thread(nats_settings settings, broker_link_ptr link,
                                 handlers fs)
  : settings_(std::move(settings)),
    handlers_(std::move(fs)),
    link_(std::move(link)),
    thread_([this] { run(); }) {
  // nop
}

receiver_thread::~receiver_thread() {
  {
    std::lock_guard guard{mutex_};
    stop_ = true;
    link_->close();
  }
  stopped_.notify_all();
  thread_.join();
}

broker_link_ptr receiver_thread::link() const {
  std::lock_guard guard{mutex_};
  return link_;
}

void receiver_thread::run() {
  auto current = link();
  auto reconnects = current->reconnects();
  for (;;) {
    auto messages = current->receive(messages_max, tick);
    if (current->closed()) {
      // Before the next link can be used: this is about the last one.
      handlers_.on_loss(std::numeric_limits<uint64_t>::max());
      if (!replace_link())
        return;
      current = link();
      reconnects = current->reconnects();
      continue;
    }
    // Before the messages: what was lost came before them.
    if (auto now = current->reconnects(); now != reconnects) {
      reconnects = now;
      handlers_.on_loss(now);
    }
    handlers_.on_messages(*current, std::move(messages));
  }
}

/// @returns false when it is time to stop.
bool receiver_thread::replace_link() {
  for (;;) {
    {
      std::unique_lock guard{mutex_};
      if (stopped_.wait_for(guard, replace_wait, [&] { return stop_; }))
        return false;
    }
    auto fresh = broker_link::open(settings_);
    std::lock_guard guard{mutex_};
    if (stop_)
      return false;
    if (fresh) {
      link_ = std::move(*fresh);
      return true;
    }
  }
}

} // namespace tillstream::storage::jetstream
