#pragma once

#include "messages/model/apply.hpp"
#include "messages/model/stream.hpp"

#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

/// @file actors/aggregation/branch_inbox.hpp
/// What a shard has from the stream and has not applied. No actor: a plain
/// class.

namespace tillstream {

/// Checks that a branch's deliveries are whole and in order, decodes them, and
/// keeps count of the credit.
///
/// Between `open` and `close`, what it hands out are the messages behind
/// `after_seq` in stream order, without gaps and each once. Whatever shakes
/// that (a missing or repeated delivery, a lost connection, more than was
/// asked for) is told to the owner, who must open again.
class branch_inbox {
public:
  /// Why the branch must be opened again.
  enum class trouble : uint8_t { none, gap, redelivered, lost, flooded };

  struct reading {
    trouble what = trouble::none;
    /// Where to acknowledge messages that had come before; they are dropped.
    std::vector<std::string> duplicates;
  };

  struct message {
    stream_event event;
    std::string reply;
  };

  /// @param credit_max Messages fetched and not yet settled.
  branch_inbox(std::string branch_id, size_t credit_max);

  /// Starts anew behind `after_seq`.
  void open(uint64_t generation, uint64_t after_seq);

  /// Drops what waits, and every delivery until the next `open`.
  void close();

  /// Takes a delivery; one of an older generation is nothing.
  reading take(const delivery& x);

  /// Hands out up to `max` messages; they count until `settle`.
  std::vector<message> next_batch(size_t max);

  /// Gives back the credit of `count` messages that were handed out.
  void settle(size_t count);

  /// How many messages to fetch now, 0 for none; they count as fetched. Refills
  /// by halves, so that a slow trickle does not cost a request an event.
  size_t refill();

  /// The number of the last message that came, or what `open` began behind.
  uint64_t last_seq() const {
    return last_stream_seq_;
  }

  bool empty() const {
    return waiting_.empty();
  }

  size_t size() const {
    return waiting_.size();
  }

private:
  trouble check(const delivered_message& x);
  stream_event decode(const delivered_message& x) const;

  std::string branch_id_;
  size_t credit_max_;
  bool is_open_ = false;
  uint64_t generation_ = 0;
  uint64_t last_consumer_seq_ = 0;
  uint64_t last_stream_seq_ = 0;
  std::deque<message> waiting_;
  /// Fetched and not settled: on its way, waiting, or handed out.
  size_t credit_ = 0;
  /// The part of it that is waiting or handed out.
  size_t held_ = 0;
};

/// The name for logs and metrics.
std::string_view to_string(branch_inbox::trouble x);

} // namespace tillstream
