#pragma once

#include "storage/nats/pull_consumer.hpp"

#include <cstdint>
#include <string>

namespace tillstream::storage::jetstream {

/// Reads all branches of the stream in order, by one consumer that is not
/// acknowledged. A message that was dropped on the way shows as a gap in the
/// consumer's numbers; the reader then begins again where the gap is.
/// ```
///   none ──begin──> creating ──created──> reading ──gap, rewind──> creating
///    ^                 └──refused, no answer──┬──no answer─┘
///    └────────────────────────────────────────┘
/// ```
class shared_reader {
public:
  using time_point = pull_consumer::time_point;

  /// What an answer of the server means.
  enum class outcome {
    none,
    /// Ask for messages.
    pull,
    /// The consumer is gone: begin again at `next()`.
    recreate,
    /// It could not be created.
    failed,
  };

  explicit shared_reader(stream_settings stream);

  bool exists() const {
    return consumer_.exists();
  }

  bool created() const {
    return created_;
  }

  const std::string& consumer() const {
    return consumer_.name();
  }

  uint64_t token() const {
    return consumer_.token();
  }

  /// The stream sequence that comes next.
  uint64_t next() const {
    return next_;
  }

  /// Begins at `first_seq`, with a new consumer in place of the last one.
  /// @param nonce Makes the consumer's name.
  void begin(uint64_t first_seq, uint64_t nonce, uint64_t token, time_point now,
             source_actions& out);

  void end(source_actions& out);

  /// Forgets the consumer without a word to the server.
  void forget();

  /// Remembers which stream it is that is read.
  void set_incarnation(std::string incarnation) {
    incarnation_ = std::move(incarnation);
  }

  /// Whether `now` is still the stream that is read. A stream that lost its end
  /// hands out old numbers again: the reader would wait for what never comes.
  /// @param before Where the reader was before `now` was asked for.
  bool reads(const stream_state& now, uint64_t before) const {
    return now.incarnation == incarnation_ && now.last_seq + 1 >= before;
  }

  bool may_pull(time_point now) const {
    return created_ && consumer_.may_pull(now);
  }

  /// @pre `may_pull(now)`
  void pull(uint64_t token, time_point now, source_actions& out);

  /// Moves on behind a message of its consumer.
  /// @returns false when something was dropped before it.
  bool take(const ack_subject& ack);

  /// @param problem Set for `failed`.
  outcome take_answer(const incoming_answer& answer, time_point now,
                      std::string& problem);

  bool overdue(time_point now) const {
    return exists() && consumer_.overdue(now);
  }

  bool may_rewind(time_point now) const {
    return created_ && now >= next_rewind_;
  }

  /// Begins again at an earlier message.
  void rewind(uint64_t first_seq, uint64_t nonce, uint64_t token,
              time_point now, source_actions& out);

private:
  stream_settings stream_;
  pull_consumer consumer_;
  bool created_ = false;
  std::string incarnation_;
  uint64_t next_ = 1;
  uint64_t consumer_seq_ = 0;
  time_point next_rewind_;
};

} // namespace tillstream::storage::jetstream
