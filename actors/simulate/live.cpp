#include "actors/simulate/live.hpp"

#include "messages/core/error.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <utility>

namespace tillstream::commands {

namespace {

using namespace std::chrono_literals;
using std::chrono::milliseconds;

using weeks = std::chrono::duration<int64_t, std::ratio<7 * 86400>>;

/// Sales of a branch of middling size in its busiest hour. Makes about 200 a
/// day.
constexpr double busiest_hour_sales = 16;
constexpr size_t branch_sales_a_day = 200;

timestamp shift(timestamp t, const branch_clock& clock, weeks by) {
  // By the local clock, which may be set in between.
  auto local = t + clock.utc_offset(t) + by;
  auto guess = local - clock.utc_offset(t);
  return std::chrono::time_point_cast<milliseconds>(local
                                                    - clock.utc_offset(guess));
}

} // namespace

// -- live_csv -----------------------------------------------------------------

live_csv::live_csv(std::istream& in, const tillstream::chain& chain,
                   timestamp now, std::string run)
  : in_(in),
    now_(now),
    run_(std::move(run)) {
  for (const auto& where : chain.branches)
    if (auto clock = branch_clock::make(where))
      clocks_.emplace(where.id, *clock);
}

caf::expected<std::unique_ptr<live_csv>>
live_csv::make(std::istream& in, const tillstream::chain& chain, timestamp now,
               std::string run) {
  std::unique_ptr<live_csv> result{
    new live_csv(in, chain, now, std::move(run))};
  result->rewind();
  std::optional<timestamp> last;
  for (sale_draft draft; result->source_->next_draft(draft);)
    if (auto t = parse_rfc3339(draft.occurred_at))
      last = std::max(last.value_or(*t), *t);
  if (!result->error().empty())
    return caf::make_error(errc::invalid, result->error());
  if (!last)
    return caf::make_error(errc::invalid,
                           std::string{"no sale says when it occurred"});
  result->weeks_ = std::chrono::ceil<weeks>(now + reserve_min - *last).count();
  result->rewind();
  result->fetch();
  return result;
}

void live_csv::rewind() {
  in_.clear();
  in_.seekg(0);
  source_ = std::make_unique<sales_csv>(in_, 0);
}

/// When a sale happens; nothing where it does not say.
std::optional<timestamp> live_csv::shifted(const sale_draft& draft) const {
  auto t = parse_rfc3339(draft.occurred_at);
  auto clock = clocks_.find(draft.branch_id);
  if (!t || clock == clocks_.end())
    return std::nullopt;
  return shift(*t, clock->second, weeks{weeks_});
}

void live_csv::fetch() {
  ahead_.reset();
  for (sale_draft draft;;) {
    if (!source_->next_draft(draft)) {
      if (!is_history_ || !error().empty())
        return;
      is_history_ = false;
      rewind();
      continue;
    }
    auto when = shifted(draft);
    // What has no time, or no known branch, is for the server to refuse.
    auto is_past = !when || *when <= now_;
    if (is_past != is_history_)
      continue;
    draft.occurred_at = is_past && when ? to_rfc3339(*when) : std::string{};
    draft.receipt_id
      = (is_past ? fmt::format("w{}-", weeks_) : run_ + "-") + draft.receipt_id;
    ahead_ = std::move(draft);
    return;
  }
}

bool live_csv::next_draft(sale_draft& out) {
  if (!ahead_)
    return false;
  out = std::move(*ahead_);
  fetch();
  return true;
}

bool live_csv::next(sale& out) {
  sale_draft draft;
  if (!next_draft(draft))
    return false;
  out = render_sale(draft);
  return true;
}

bool live_csv::is_past() {
  return ahead_ && is_history_;
}

std::string live_csv::error() const {
  return source_->error();
}

// -- live_shoppers ------------------------------------------------------------

caf::expected<std::unique_ptr<live_shoppers>>
live_shoppers::make(const tillstream::chain& chain, shoppers_options opts,
                    timestamp now, bool with_history) {
  std::unique_ptr<live_shoppers> result{new live_shoppers};
  auto present = opts.now;
  opts.now = [self = result.get(), present] {
    return self->clock_ < self->now_ ? self->clock_ : present();
  };
  auto made = shoppers::make(chain, std::move(opts));
  if (!made)
    return made.error();
  result->shoppers_ = std::move(*made);
  result->now_ = result->clock_ = now;
  if (with_history) {
    auto a_day = branch_sales_a_day * chain.branches.size();
    auto days = std::clamp(static_cast<int>(history_sales / a_day), 1,
                           history_days_max);
    result->clock_ -= days * 24h;
  }
  return result;
}

sale_draft live_shoppers::next_draft() {
  auto was_past = is_past();
  auto result = shoppers_->next_draft();
  if (!was_past)
    return result;
  result.occurred_at = to_rfc3339(clock_);
  // Whole minutes at dead of night must not stop the clock.
  auto an_hour = std::max(0.1, busiest_hour_sales * shoppers_->crowd());
  auto wait = shoppers_->gap() / an_hour * 3'600'000;
  clock_ += milliseconds{static_cast<int64_t>(wait) + 1};
  return result;
}

bool live_shoppers::next(sale& out) {
  out = render_sale(next_draft());
  return true;
}

bool live_shoppers::is_past() {
  return clock_ < now_;
}

double live_shoppers::gap() {
  return shoppers_->gap();
}

void live_shoppers::customer(const std::string& branch_id,
                             const std::string& user_id) {
  shoppers_->customer(branch_id, user_id);
}

} // namespace tillstream::commands
