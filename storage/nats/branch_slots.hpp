#pragma once

#include "storage/nats/pull_consumer.hpp"
#include "storage/nats/shared_reader.hpp"
#include "storage/nats/source_actions.hpp"

#include <caf/expected.hpp>

#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>

namespace tillstream::storage::jetstream {

/// What a branch is opened with.
struct branch_opening {
  std::string branch_id;
  uint64_t first_seq = 1;
  /// Tells the deliveries of this opening apart from those of earlier ones.
  uint64_t generation = 0;
  /// The link's reconnects by now.
  uint64_t reconnects = 0;
};

/// One open branch.
/// ```
///   open, few branches ──> direct ──all delivered, others share──┐
///                            ^                                   v
///                            │created     open, many branches ──> locating
///                            │                                   │    │
///   creating <──too far behind── catching_up <──behind the reader┘    │
///                                     │                               │
///                                     └──reader rewinds──> shared <───┘
///                                                          nothing missed
/// ```
/// From every mode a branch may be lost: its slot goes, and whoever opened it
/// is told to open it again.
struct branch_slot {
  enum class mode {
    /// Has a consumer of its own.
    direct,
    /// Waits for the server to create that consumer.
    creating,
    /// Asks the server for the branch's last message, to know whether the
    /// shared reader has passed messages of it already.
    locating,
    /// It has; waits for a rewind, or for a consumer of its own.
    catching_up,
    /// Gets its messages from the shared reader.
    shared,
  };

  mode how = mode::direct;
  uint64_t generation = 0;
  /// The link's reconnects when the branch was opened.
  uint64_t reconnects = 0;
  /// Its own consumer, if it has one, and its request to the server.
  pull_consumer own;
  /// Messages asked for by the shard and not yet delivered.
  size_t wanted = 0;
  /// The first stream sequence that was not delivered or held.
  uint64_t next = 1;
  /// How many were delivered since it was opened.
  uint64_t delivered = 0;
  /// While `locating`: the reader was so far at its beginning, and whether it
  /// met messages of the branch since.
  uint64_t reader_was_at = 0;
  bool passed_by = false;
  /// Came by the shared reader and was not wanted yet.
  std::deque<delivered_message> held;
};

/// The open branches of an event source, with their own consumers or with the
/// shared reader. A plain state machine: it takes what happened and leaves in
/// `take_actions` what is to be sent and delivered. Not thread-safe.
class branch_slots {
public:
  using time_point = pull_consumer::time_point;

  /// @param first_nonce Random, so that no other process makes the same names.
  branch_slots(const nats_settings& settings, uint64_t first_nonce);

  /// Whether the next branch that is opened uses the shared reader.
  bool shares() const;

  /// Where the shared reader is; 0: there is none.
  uint64_t reader_position() const;

  uint64_t next_nonce();

  /// Adds a branch with a consumer that exists already.
  void open_direct(const branch_opening& what, std::string consumer);

  /// Adds a branch that is to use the shared reader.
  /// @param end The stream's state, for the case that there is no reader yet.
  /// @returns `errc::unavailable` when that is needed and not there.
  caf::expected<void>
  open_shared(const branch_opening& what,
              const std::optional<stream_state>& end, time_point now);

  void close(std::string_view branch_id);

  /// `errc::not_found`: the branch is not open.
  caf::expected<void>
  fetch(std::string_view branch_id, size_t count, time_point now);

  void take_message(const incoming_message& message, time_point now);

  void take_answer(const incoming_answer& answer, time_point now);

  /// To be called after messages, and often when there are none.
  void step(time_point now, bool connected);

  /// Gives up the branches of the shared reader if the stream is another.
  /// @param before The reader's position before `state` was asked for.
  void check_stream(uint64_t before, const stream_state& state);

  /// What was under way before this reconnect may be lost.
  void lose_connection(uint64_t reconnects);

  /// @returns what is to be done since the last call.
  source_actions take_actions();

private:
  using mode = branch_slot::mode;
  using slot_map = std::map<std::string, branch_slot, std::less<>>;

  branch_slot& add(const branch_opening& what);
  slot_map::iterator erase(slot_map::iterator slot);
  slot_map::iterator lose(slot_map::iterator slot, std::string why);
  void lose_followers(const std::string& why);
  template <class Predicate>
  void lose_if(Predicate is_lost, const std::string& why);

  uint64_t new_token(const std::string& branch_id, branch_slot& slot);
  std::chrono::nanoseconds pull_expires() const;
  void
  pull_more(const std::string& branch_id, branch_slot& slot, time_point now);
  void
  join_reader(const std::string& branch_id, branch_slot& slot, time_point now);
  void take_direct(slot_map::iterator slot, const incoming_message& message,
                   time_point now);
  void take_pull_status(slot_map::iterator slot, const pull_status& status,
                        time_point now);

  void begin_reader(uint64_t first_seq, time_point now);
  void pull_reader(time_point now);
  void take_shared(const incoming_message& message, time_point now);
  void take_reader_answer(const incoming_answer& answer, time_point now);
  void locate(const std::string& branch_id, branch_slot& slot, time_point now);
  void take_location(slot_map::iterator slot, const incoming_answer& answer,
                     time_point now);
  void
  deliver_held(const std::string& branch_id, branch_slot& slot, time_point now);

  bool within_rewind(const branch_slot& slot) const;
  void catch_up(time_point now);
  void rewind_reader(time_point now);
  void create_consumers(time_point now);
  void take_created(slot_map::iterator slot, const incoming_answer& answer,
                    time_point now);
  void retry_refused(time_point now);
  void lose_overdue(time_point now);

  delivery& delivery_of(const std::string& branch_id, const branch_slot& slot);
  void deliver_shared(const std::string& branch_id, branch_slot& slot,
                      delivered_message message);

  const nats_settings settings_;
  /// Of the subjects, in front of the branch.
  const std::string subject_prefix_;
  slot_map slots_;
  shared_reader reader_;
  /// Messages in all `held`.
  size_t held_ = 0;
  /// Since when there are branches that catch up.
  std::optional<time_point> catching_up_since_;
  /// Branches by the token of their request.
  std::map<uint64_t, std::string> requests_;
  /// Branches whose next request has to wait.
  std::set<std::string> refused_;
  uint64_t last_token_ = 0;
  uint64_t last_nonce_;
  time_point next_overdue_check_;
  source_actions actions_;
  /// Where each branch's part of `actions_.deliveries` is.
  std::map<std::string, size_t, std::less<>> places_;
};

} // namespace tillstream::storage::jetstream
