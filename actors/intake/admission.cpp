#include "actors/intake/admission.hpp"

#include "messages/core/error.hpp"
#include "messages/core/hash.hpp"
#include "messages/core/metrics.hpp"

#include <cassert>
#include <cstdint>
#include <utility>

namespace tillstream {

namespace {

struct admission_metrics {
  gauge& in_flight = metrics().get_gauge(
    "tillstream_purchases_in_flight", "Purchases admitted, not yet answered.");
  counter& overloaded = metrics().get_counter(
    "tillstream_purchases_overloaded_total",
    "Purchases refused because too many were in flight.");
};

admission_metrics& stats() {
  static admission_metrics instance;
  return instance;
}

} // namespace

// -- permits ------------------------------------------------------------------

admission_permit::admission_permit(std::shared_ptr<admission> from,
                                   writer_slot_ptr writer)
  : from_(std::move(from)),
    writer_(std::move(writer)) {
  // nop
}

admission_permit::~admission_permit() {
  from_->give_back();
}

transaction_writer_actor admission_permit::writer() const {
  auto current = writer_->current.get();
  return current != nullptr ? *current : transaction_writer_actor{};
}

// -- admission ----------------------------------------------------------------

admission::admission(admission_options options) : options_(std::move(options)) {
  assert(!options_.writers.empty() && options_.in_flight_max > 0);
  stats(); // There before the first purchase.
}

caf::expected<admission_permit_ptr>
admission::admit(std::string_view branch_id) {
  const auto& writers = options_.writers;
  auto owner = writer_of(branch_id, writers.size());
  std::unique_lock guard{mutex_};
  if (draining_)
    return caf::make_error(errc::shutting_down, "no purchases are admitted");
  if (in_flight_ >= options_.in_flight_max) {
    guard.unlock();
    stats().overloaded.add();
    return caf::make_error(errc::overloaded, "too many purchases in flight");
  }
  auto writer = writers[in_flight_ >= options_.spread_min ? owner : 0];
  ++in_flight_;
  guard.unlock();
  stats().in_flight.add(1);
  return std::make_shared<admission_permit>(shared_from_this(),
                                            std::move(writer));
}

bool admission::drain(std::chrono::milliseconds timeout) {
  std::unique_lock guard{mutex_};
  draining_ = true;
  return drained_.wait_for(guard, timeout, [this] { return in_flight_ == 0; });
}

size_t admission::in_flight() const {
  std::lock_guard guard{mutex_};
  return in_flight_;
}

void admission::give_back() {
  stats().in_flight.add(-1);
  std::lock_guard guard{mutex_};
  assert(in_flight_ > 0);
  if (--in_flight_ == 0 && draining_)
    drained_.notify_all();
}

size_t writer_of(std::string_view branch_id, size_t writers) {
  assert(writers > 0);
  return fnv1a{}.add(branch_id).value() % writers;
}

} // namespace tillstream
