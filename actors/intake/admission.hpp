#pragma once

#include "actors/intake/commit_pacer.hpp"
#include "actors/runtime/snapshot_holder.hpp"
#include "messages/core/limits.hpp"
#include "messages/protocol/intake.hpp"

#include <caf/expected.hpp>
#include <caf/typed_actor.hpp>

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <memory>
#include <mutex>
#include <string_view>
#include <vector>

namespace tillstream {

/// A TRANSACTION WRITER as its clients know it.
struct writer_slot {
  /// The writer that runs now; its supervisor sets it at each start. Purchases
  /// go there without a hop over the supervisor. One that has ended answers
  /// `caf::sec::request_receiver_down`.
  snapshot_holder<transaction_writer_actor> current;

  commit_pacer_ptr pacer = std::make_shared<commit_pacer>();
};

using writer_slot_ptr = std::shared_ptr<writer_slot>;

/// Tuning of ADMISSION.
struct admission_options {
  /// The order counts: a branch belongs to one of them.
  std::vector<writer_slot_ptr> writers = {};

  /// With fewer purchases in flight the first writer gets all. A retry may then
  /// come to another writer than its first attempt: it finds a held lock, and
  /// waits.
  size_t spread_min = 0;

  /// Purchases admitted and not yet answered.
  size_t in_flight_max = limits::purchases_in_flight_max;
};

class admission;

/// A place among the purchases in flight. It travels with its purchase and is
/// given back with the last reference: when the writer has answered, or with
/// the mailbox of a writer that ended.
class admission_permit {
public:
  admission_permit(std::shared_ptr<admission> from, writer_slot_ptr writer);
  ~admission_permit();

  admission_permit(const admission_permit&) = delete;
  admission_permit& operator=(const admission_permit&) = delete;

  /// The writer of the purchase's branch; null before its first start.
  transaction_writer_actor writer() const;

  /// To be called after the purchase was sent to `writer()`.
  void sent() const {
    writer_->pacer->arrived();
  }

private:
  std::shared_ptr<admission> from_;
  writer_slot_ptr writer_;
};

using admission_permit_ptr = std::shared_ptr<admission_permit>;

/// Bounds the purchases that the TRANSACTION WRITERS have, and chooses a writer
/// for each.
///
/// - Promise: at most `in_flight_max` purchases at a time, each of which holds
///   a permit; so it bounds every queue behind it. Under load all purchases of
///   a branch go to one writer, so that retries of a till meet their first
///   attempt in the same batch, not in a lock.
/// - Thread: any; holds a mutex for a few instructions.
/// - Failure: a permit is an object, so none is lost with an actor that ends.
class admission : public std::enable_shared_from_this<admission> {
public:
  explicit admission(admission_options options);

  /// Admits one purchase.
  /// @returns `errc::overloaded` or `errc::shutting_down` if it does not.
  caf::expected<admission_permit_ptr> admit(std::string_view branch_id);

  /// Admits nothing more and waits until all that was admitted is answered.
  /// @returns whether it is, within `timeout`.
  bool drain(std::chrono::milliseconds timeout);

  size_t in_flight() const;

private:
  friend class admission_permit;

  void give_back();

  admission_options options_;
  mutable std::mutex mutex_;
  std::condition_variable drained_;
  size_t in_flight_ = 0;
  bool draining_ = false;
};

using admission_ptr = std::shared_ptr<admission>;

/// Which of `writers` a branch belongs to: FNV-1a (64 bits) of the id, so the
/// same on every node and in every build. @pre `writers > 0`
size_t writer_of(std::string_view branch_id, size_t writers);

} // namespace tillstream
