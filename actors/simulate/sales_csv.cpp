#include "actors/simulate/sales_csv.hpp"

#include "messages/core/limits.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace tillstream::commands {

namespace {

/// Columns of the sales CSV, in order.
enum column : size_t {
  receipt_id,
  branch_id,
  pos_id,
  cashier_id,
  user_id,
  occurred_at,
  product_id,
  name,
  unit_price,
  qty,
};

const std::vector<std::string_view> header
  = {"receipt_id",  "branch_id",  "pos_id", "cashier_id", "user_id",
     "occurred_at", "product_id", "name",   "unit_price", "qty"};

/// What one sale may hold in memory; the server takes `body_bytes_max`, 64 KiB,
/// and a larger sale must be able to reach it to be refused.
constexpr size_t sale_bytes_max = 16 * limits::body_bytes_max;

size_t size_of(const sale_line& line) {
  return sizeof(sale_line) + line.product_id.size() + line.name.size()
         + line.unit_price.size() + line.quantity.size();
}

} // namespace

sales_csv::sales_csv(std::istream& in, uint64_t bytes)
  : reader_(in),
    bytes_(bytes) {
  if (reader_.expect_header(header))
    advance();
}

bool sales_csv::next(sale& out) {
  sale_draft draft;
  if (!next_draft(draft))
    return false;
  out = render_sale(draft);
  return true;
}

bool sales_csv::next_draft(sale_draft& out) {
  if (record_.empty() || !error().empty())
    return false;
  out = {};
  out.receipt_id = record_[receipt_id];
  out.branch_id = record_[branch_id];
  out.pos_id = record_[pos_id];
  out.cashier_id = record_[cashier_id];
  out.user_id = record_[user_id];
  out.new_customer = !out.user_id.empty();
  out.occurred_at = record_[occurred_at];
  sale_bytes_ = 0;
  while (!record_.empty() && continues(out))
    if (!take_line(out))
      return false;
  // A sale that a broken line may belong to is not sent in part.
  return error().empty();
}

std::string sales_csv::error() const {
  return error_.empty() ? reader_.error() : error_;
}

std::optional<double> sales_csv::share_read() const {
  if (bytes_ == 0)
    return std::nullopt;
  return std::min(1.0, static_cast<double>(reader_.bytes_read())
                         / static_cast<double>(bytes_));
}

bool sales_csv::continues(const sale_draft& draft) {
  return record_[receipt_id] == draft.receipt_id
         && record_[branch_id] == draft.branch_id;
}

bool sales_csv::take_line(sale_draft& draft) {
  if (record_[pos_id] != draft.pos_id || record_[cashier_id] != draft.cashier_id
      || record_[user_id] != draft.user_id
      || record_[occurred_at] != draft.occurred_at) {
    error_ = fmt::format("line {}: the lines of a purchase must agree in "
                         "pos_id, cashier_id, user_id and occurred_at",
                         reader_.line());
    return false;
  }
  draft.lines.push_back(
    {std::move(record_[product_id]), std::move(record_[name]),
     std::move(record_[unit_price]), std::move(record_[qty])});
  sale_bytes_ += size_of(draft.lines.back());
  if (sale_bytes_ > sale_bytes_max) {
    error_ = fmt::format("line {}: the purchase is too long", reader_.line());
    return false;
  }
  advance();
  return true;
}

void sales_csv::advance() {
  // At the end and at an error the reader leaves the record empty.
  reader_.next(record_);
}

} // namespace tillstream::commands
