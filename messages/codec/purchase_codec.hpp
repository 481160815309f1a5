#pragma once

#include "messages/core/limits.hpp"
#include "messages/model/chain.hpp"
#include "messages/model/purchase.hpp"

#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

/// @file messages/codec/purchase_codec.hpp
/// From the bytes of `POST /purchases` to a `purchase`, and from a recorded
/// purchase to the bytes of its answer.

namespace tillstream {

/// One broken rule; `pointer` is a JSON pointer (RFC 6901) into the body.
struct field_error {
  std::string pointer;
  std::string detail;

  friend bool operator==(const field_error&, const field_error&) = default;
};

/// Why a body is not a purchase. The order of the enumerators is the order of
/// the checks (CONTRACT, 'what is checked first answers').
enum class refusal : uint8_t {
  malformed_json,
  idempotency_key_missing,
  idempotency_key_mismatch,
  /// `errors` holds the one error at `/branch_id`.
  branch_unknown,
  /// The key is for another branch: 403.
  branch_forbidden,
  /// `errors` holds all broken rules.
  validation_failed,
};

struct refused_purchase {
  refusal why = refusal::malformed_json;
  std::string detail;
  std::vector<field_error> errors;
};

/// What the request says outside of its body.
struct purchase_context {
  /// The header `Idempotency-Key` as received, bare or quoted.
  std::optional<std::string> idempotency_header;
  /// The branch that the till's key is bound to.
  std::string till_branch;
  std::string traceparent;
  /// The database's clock, for 'at most 5 minutes ahead'.
  timestamp now;
  /// Major units of a purchase's total at most.
  int64_t total_major_max = limits::total_major_max;
};

/// Checks everything that can be checked without the database; every broken
/// rule at once. Never throws; bounded by the size of `body`.
std::variant<purchase, refused_purchase>
decode_purchase(std::string_view body, const tillstream::chain& chain,
                const purchase_context& context);

/// Renders the body of a 201: a pure function of the row, so that a replay
/// gives the same bytes at any later time.
std::string encode_recorded(const recorded_purchase& x, const currency& unit);

/// Renders the body of `GET /purchases/{id}`: the 201's fields, then
/// `cashier_id`, `pos_id`, `idempotency_key`, `business_day` and `items`.
std::string encode_details(const purchase_details& x, const currency& unit);

} // namespace tillstream
