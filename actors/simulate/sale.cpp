#include "actors/simulate/sale.hpp"

#include "messages/codec/json.hpp"
#include "messages/model/purchase.hpp"

#include <algorithm>

namespace tillstream::commands {

namespace {

/// Digits beyond this would not be a quantity that anybody tests with.
constexpr size_t quantity_digits_max = 15;

/// Whether `text` may stand in JSON as a number: `-?(0|[1-9][0-9]*)`.
bool json_integer(std::string_view text) {
  if (!text.empty() && text.front() == '-')
    text.remove_prefix(1);
  if (text.empty() || text.size() > quantity_digits_max)
    return false;
  if (text.front() == '0' && text.size() > 1)
    return false;
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return c >= '0' && c <= '9'; });
}

void optional_field(json_writer& json, std::string_view name,
                    const std::string& value) {
  if (!value.empty())
    json.field(name, value);
}

void render_line(json_writer& json, const sale_line& line) {
  json.begin_object().field("product_id", line.product_id);
  optional_field(json, "name", line.name);
  json.field("unit_price", line.unit_price).key("qty");
  // What is no number goes out as it is too: refusing it is the server's part.
  if (json_integer(line.quantity))
    json.raw(line.quantity);
  else
    json.string(line.quantity);
  json.end_object();
}

} // namespace

uuid sale_key(std::string_view branch_id, std::string_view receipt_id) {
  // The separator cannot be part of either: the reader refuses U+0000.
  std::string name{"tillstream/sale"};
  name.append(1, '\0').append(branch_id).append(1, '\0').append(receipt_id);
  auto digest = sha256(name);
  uuid key;
  std::copy_n(digest.begin(), key.bytes.size(), key.bytes.begin());
  key.bytes[6] = static_cast<uint8_t>((key.bytes[6] & 0x0F) | 0x80);
  key.bytes[8] = static_cast<uint8_t>((key.bytes[8] & 0x3F) | 0x80);
  return key;
}

sale render_sale(const sale_draft& draft) {
  sale result{draft.branch_id, draft.pos_id, {}};
  json_writer json{result.body};
  json.begin_object()
    .field("branch_id", draft.branch_id)
    .field("cashier_id", draft.cashier_id)
    .field("pos_id", draft.pos_id)
    .field("receipt_id", draft.receipt_id)
    .field("idempotency_key",
           to_string(sale_key(draft.branch_id, draft.receipt_id)));
  optional_field(json, "user_id", draft.user_id);
  if (draft.new_customer)
    json.field("new_customer", true);
  optional_field(json, "occurred_at", draft.occurred_at);
  json.key("items").begin_array();
  for (const auto& line : draft.lines)
    render_line(json, line);
  json.end_array().end_object();
  return result;
}

} // namespace tillstream::commands
