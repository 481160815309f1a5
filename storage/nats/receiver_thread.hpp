#pragma once

#include "storage/nats/broker_link.hpp"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace tillstream::storage::jetstream {

/// Keeps a link alive and receives from it on a thread of its own, so that the
/// messages of a moment come together.
class receiver_thread {
public:
  struct handlers {
    /// Messages that came together; empty at least every 50 ms.
    std::function<void(broker_link&, std::vector<message_ptr>)> on_messages;
    /// The connection was lost: what was under way before the link's
    /// reconnect of this number may be lost as well.
    std::function<void(uint64_t reconnects)> on_loss;
  };

  receiver_thread(nats_settings settings, broker_link_ptr link, handlers fs);
  receiver_thread(const receiver_thread&) = delete;
  receiver_thread& operator=(const receiver_thread&) = delete;

  /// No handler runs any more afterwards.
  ~receiver_thread();

  broker_link_ptr link() const;

private:
  void run();
  bool replace_link();

  nats_settings settings_;
  handlers handlers_;
  mutable std::mutex mutex_;
  std::condition_variable stopped_;
  bool stop_ = false;
  broker_link_ptr link_;
  std::thread thread_;
};

} // namespace tillstream::storage::jetstream
