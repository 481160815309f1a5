#pragma once

#include "messages/codec/event_codec.hpp"
#include "messages/core/time.hpp"
#include "messages/core/uuid.hpp"
#include "messages/model/apply.hpp"
#include "messages/model/chain.hpp"

#include <chrono>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

/// @file tests/support/made_up_events.hpp
/// Sales for tests of what counts them, and the same sales as rows, so that
/// SQL can count them a second time.

namespace tillstream::test {

/// Three branches whose business days differ: UTC; New York from 04:00 on;
/// Kolkata.
chain made_up_chain();

struct event_options {
  /// Small numbers make customers come again, and to several branches.
  int customers = 40;
  int products = 12;
  /// Sales happen within as many days before `now`.
  int days = 14;
  timestamp now;
};

/// Sales recorded from a minute ago on, for databases with partitions.
inline event_options recent_sales() {
  event_options result;
  result.now = wall_clock_now() - std::chrono::minutes{1};
  return result;
}

/// Makes sales of `made_up_chain`, recorded at `now` one after the other. The
/// same seed gives the same sales.
class event_maker {
public:
  event_maker(uint64_t seed, event_options options);

  /// A sale anywhere.
  purchase_event make();

  /// A sale in this branch.
  purchase_event make(const std::string& branch_id);

  std::vector<purchase_event> make_many(size_t count);

  /// A sale with everything chosen.
  purchase_event make_at(const std::string& branch_id, const uuid& customer,
                         timestamp occurred_at);

  uuid any_customer();

  std::mt19937_64& random() {
    return random_;
  }

  uuid new_id() {
    return ids_.v7(next_recorded_);
  }

private:
  int below(int bound);
  std::vector<event_item> make_items();

  std::mt19937_64 random_;
  uuid_source ids_;
  event_options options_;
  std::vector<branch> branches_;
  std::vector<branch_clock> clocks_;
  std::vector<uuid> customers_;
  std::vector<bool> is_known_;
  int64_t next_seq_ = 1;
  timestamp next_recorded_;
};

/// Rows of the purchases' database: purchases, items, customers and outbox
/// (SENT), as if sold. @param dsn A migrated `oltp` database.
void record_events(const std::string& dsn, const tillstream::chain& chain,
                   const std::vector<purchase_event>& events);

/// Tables `truth_sales` and `truth_items` in a database of any kind.
void load_truth(const std::string& dsn,
                const std::vector<purchase_event>& events);

/// A request that applies `events` after `before`, in this order.
apply_request_ptr make_request(const std::string& branch_id, int64_t epoch,
                               const branch_cursor& before,
                               const std::vector<purchase_event>& events);

} // namespace tillstream::test
