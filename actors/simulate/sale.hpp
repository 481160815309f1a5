#pragma once

#include "messages/core/uuid.hpp"

#include <optional>
#include <string>
#include <string_view>
#include <vector>

/// @file actors/simulate/sale.hpp
/// A sale as a till is about to post it, and where sales come from.

namespace tillstream::commands {

/// A line of a sale. Texts, because a simulated till must be able to send what
/// the server has to refuse.
struct sale_line {
  std::string product_id;
  /// Empty: absent.
  std::string name;
  std::string unit_price;
  std::string quantity = "1";
};

/// What stands on a receipt.
struct sale_draft {
  std::string branch_id;
  std::string cashier_id;
  std::string pos_id;
  std::string receipt_id;
  /// Empty: the customer has no card; the server makes an id.
  std::string user_id;
  /// The till vouches for `user_id`, as one does that was offline.
  bool new_customer = false;
  /// Empty: now.
  std::string occurred_at;
  std::vector<sale_line> lines;
};

/// A sale ready to be posted, again and again under the same key.
struct sale {
  std::string branch_id;
  std::string pos_id;
  std::string body;
};

/// The idempotency key of a receipt: the same for the same branch and receipt,
/// so that playing sales twice records nothing twice. Version 8 (RFC 9562,
/// 5.8): the first bits of a SHA-256.
uuid sale_key(std::string_view branch_id, std::string_view receipt_id);

/// Renders the body of `POST /purchases`.
sale render_sale(const sale_draft& draft);

/// Where sales come from. `next`, `is_past` and `gap` belong to one thread;
/// `customer` may be called from any.
class sale_source {
public:
  virtual ~sale_source() = default;

  /// @returns false at the end, or when something is wrong: see `error`.
  virtual bool next(sale& out) = 0;

  /// What is wrong with the source; empty: nothing.
  virtual std::string error() const {
    return {};
  }

  /// How much of the source was handed out, 0 to 1; nothing if it has no end.
  virtual std::optional<double> share_read() const {
    return std::nullopt;
  }

  /// Whether the next sale belongs to a history, which is posted at once
  /// whatever the pace.
  virtual bool is_past() {
    return false;
  }

  /// Time to the next sale, in units of the average.
  virtual double gap() {
    return 1;
  }

  /// The server gave a customer this id.
  virtual void
  customer(const std::string& /*branch_id*/, const std::string& /*user_id*/) {
    // nop
  }
};

} // namespace tillstream::commands
