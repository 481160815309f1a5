#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

/// @file messages/model/stream.hpp
/// What the broker tells us.

namespace tillstream {

/// What became of one published message.
struct publish_ack {
  uint64_t token = 0;
  /// Empty: stored (or known as a duplicate). Else why not; the outcome of a
  /// time-out is unknown.
  std::string error;
  uint64_t stream_seq = 0;
  bool duplicate = false;
};

/// A message of a branch's subject.
struct delivered_message {
  uint64_t stream_seq = 0;
  /// Counts up by one with each delivery of this consumer; a gap or a repeated
  /// delivery means: open the branch again at the cursor.
  uint64_t consumer_seq = 0;
  /// 1 for the first delivery.
  uint64_t delivery = 0;
  /// Where to acknowledge.
  std::string reply;
  std::shared_ptr<const std::string> payload;
};

struct delivery {
  std::string branch_id;
  /// Which `open` of the branch this belongs to.
  uint64_t generation = 0;
  std::vector<delivered_message> messages;
  /// Not empty: the consumer is gone or the connection was lost; open again.
  std::string lost;
};

struct stream_state {
  /// The stream's creation time: its incarnation.
  std::string incarnation;
  uint64_t first_seq = 0;
  uint64_t last_seq = 0;
  uint64_t messages = 0;
  uint64_t bytes = 0;
  /// -1: no limit.
  int64_t bytes_max = -1;
};

} // namespace tillstream
