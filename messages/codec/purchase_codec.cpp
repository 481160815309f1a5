#include "messages/codec/purchase_codec.hpp"

#include "messages/codec/json.hpp"
#include "messages/core/limits.hpp"
#include "messages/core/text.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cassert>

namespace tillstream {

namespace {

using namespace std::chrono_literals;

using kind = json_value::kind;

// -- the fingerprint ----------------------------------------------------------

/// Joins fields so that no two lists of fields give the same bytes: each has
/// its length in front, and 'absent' is a mark of its own.
class fingerprint_input {
public:
  fingerprint_input& add(std::string_view field) {
    add_integer(static_cast<int64_t>(field.size()));
    bytes_ += field;
    return *this;
  }

  fingerprint_input& add_integer(int64_t x) {
    fmt::format_int digits{x};
    bytes_.append(digits.data(), digits.size());
    bytes_ += ':';
    return *this;
  }

  /// Marks whether a field is there; @returns `present`.
  bool add_presence(bool present) {
    bytes_ += present ? '+' : '-';
    return present;
  }

  sha256_digest digest() const {
    return sha256(bytes_);
  }

private:
  std::string bytes_;
};

/// The name in front separates this form from any later one.
sha256_digest fingerprint_of(const purchase& x) {
  std::vector<const purchase_item*> items;
  items.reserve(x.items.size());
  for (const auto& item : x.items)
    items.push_back(&item);
  std::sort(items.begin(), items.end(), [](const auto* a, const auto* b) {
    return a->product_id < b->product_id;
  });
  fingerprint_input out;
  out.add("purchase/1")
    .add(x.branch_id)
    .add(x.cashier_id)
    .add(x.pos_id)
    .add(x.receipt_id)
    .add(to_string(x.idempotency_key))
    .add_integer(x.new_customer ? 1 : 0);
  if (out.add_presence(x.user_id.has_value()))
    out.add(to_string(*x.user_id));
  if (out.add_presence(x.occurred_at.has_value()))
    out.add_integer(to_ms(*x.occurred_at));
  out.add_integer(static_cast<int64_t>(items.size()));
  for (const auto* item : items) {
    out.add(item->product_id).add_integer(item->unit_price);
    if (out.add_presence(item->name.has_value()))
      out.add(*item->name);
  }
  return out.digest();
}

// -- the checks ---------------------------------------------------------------

/// Appends one reference token to a JSON pointer (RFC 6901, section 3).
std::string child(std::string_view parent, std::string_view name) {
  std::string result{parent};
  result += '/';
  for (char c : name) {
    if (c == '~')
      result += "~0";
    else if (c == '/')
      result += "~1";
    else
      result += c;
  }
  return result;
}

/// Tells whether a JSON number is 1, as written in any way: `1`, `1.0`, `1e0`.
/// @pre `number` is well-formed
bool is_one(std::string_view number) {
  auto exponent_at = std::min(number.find_first_of("eE"), number.size());
  auto mantissa = number.substr(0, exponent_at);
  auto point_at = std::min(mantissa.find('.'), mantissa.size());
  auto one_at = mantissa.find_first_not_of("0.");
  if (one_at == std::string_view::npos || mantissa[one_at] != '1'
      || mantissa.find_first_not_of("0.", one_at + 1) != std::string_view::npos)
    return false;
  // The power of ten of the only digit, which the exponent has to undo.
  auto power = one_at < point_at ? static_cast<int64_t>(point_at - one_at) - 1
                                 : -static_cast<int64_t>(one_at - point_at);
  auto exponent = number.substr(std::min(exponent_at + 1, number.size()));
  auto negative = exponent.starts_with('-');
  int64_t value = 0;
  for (char c : exponent)
    if (c >= '0' && c <= '9')
      value = std::min<int64_t>(value * 10 + (c - '0'), 1'000'000);
  return power + (negative ? -value : value) == 0;
}

/// Reads an object that passed the checks of JSON into a purchase and collects
/// every broken rule on the way.
class purchase_reader {
public:
  purchase_reader(const tillstream::chain& chain,
                  const purchase_context& context)
    : chain_(chain),
      context_(context) {
    // nop
  }

  void read(const json_value& root);

  purchase result;
  std::vector<field_error> errors;

private:
  void refuse(std::string pointer, std::string detail);

  /// A required member; its absence is an error.
  const json_value* need(const json_value& object, std::string_view parent,
                         std::string_view name);

  bool check_text(std::string_view text, size_t min, size_t max,
                  const std::string& pointer);

  std::string read_id(const json_value& object, std::string_view parent,
                      std::string_view name);

  void read_customer(const json_value& root);
  void read_occurred_at(const json_value& root);
  void read_items(const json_value& root);
  void check_total();
  void read_item(const json_value& json, const std::string& pointer);
  void read_name(const json_value& json, const std::string& pointer,
                 purchase_item& out);
  void read_price(const json_value& json, const std::string& pointer,
                  purchase_item& out);
  void read_quantity(const json_value& json, const std::string& pointer);
  void check_unknown(const json_value& object, std::string_view parent,
                     std::initializer_list<std::string_view> known);

  const chain& chain_;
  const purchase_context& context_;
};

void purchase_reader::read(const json_value& root) {
  if (!root.is(kind::object)) {
    refuse("", "must be an object");
    return;
  }
  // That it is one of the chain's was checked before.
  if (const auto* x = need(root, "", "branch_id")) {
    if (x->is(kind::string))
      result.branch_id = x->text;
    else
      refuse("/branch_id", "must be a string");
  }
  result.cashier_id = read_id(root, "", "cashier_id");
  result.pos_id = read_id(root, "", "pos_id");
  result.receipt_id = read_id(root, "", "receipt_id");
  read_customer(root);
  read_occurred_at(root);
  read_items(root);
  check_unknown(root, "",
                {"branch_id", "cashier_id", "pos_id", "receipt_id",
                 "idempotency_key", "user_id", "new_customer", "occurred_at",
                 "items"});
}

void purchase_reader::refuse(std::string pointer, std::string detail) {
  if (errors.size() < limits::field_errors_max)
    errors.push_back({std::move(pointer), std::move(detail)});
}

const json_value*
purchase_reader::need(const json_value& object, std::string_view parent,
                      std::string_view name) {
  const auto* x = object.find(name);
  if (x == nullptr)
    refuse(child(parent, name), "is required");
  return x;
}

bool purchase_reader::check_text(std::string_view text, size_t min, size_t max,
                                 const std::string& pointer) {
  auto count = count_code_points(text);
  if (count < min || count > max) {
    refuse(pointer, fmt::format("must have {} to {} characters", min, max));
    return false;
  }
  if (has_null_character(text)) {
    refuse(pointer, "must not contain U+0000");
    return false;
  }
  return true;
}

std::string
purchase_reader::read_id(const json_value& object, std::string_view parent,
                         std::string_view name) {
  const auto* x = need(object, parent, name);
  if (x == nullptr)
    return {};
  auto pointer = child(parent, name);
  if (!x->is(kind::string)) {
    refuse(std::move(pointer), "must be a string");
    return {};
  }
  if (!check_text(x->text, 1, limits::id_code_points_max, pointer))
    return {};
  return std::string{x->text};
}

void purchase_reader::read_customer(const json_value& root) {
  if (const auto* x = root.find("user_id")) {
    auto id = x->is(kind::string) ? parse_uuid(x->text) : std::nullopt;
    if (id && is_uuid4(*id))
      result.user_id = id;
    else
      refuse("/user_id", "must be a UUID of version 4");
  }
  if (const auto* x = root.find("new_customer")) {
    if (!x->is(kind::boolean))
      refuse("/new_customer", "must be true or false");
    // Without an id the customer is new anyway: the flag says nothing.
    result.new_customer = x->boolean && result.user_id.has_value();
  }
}

void purchase_reader::read_occurred_at(const json_value& root) {
  static constexpr auto earliest
    = timestamp{std::chrono::sys_days{std::chrono::year{2000} / 1 / 1}};
  const auto* x = root.find("occurred_at");
  if (x == nullptr)
    return;
  auto t = x->is(kind::string) ? parse_rfc3339(x->text) : std::nullopt;
  if (!t)
    refuse("/occurred_at",
           "must be a time with offset, like 2019-04-01T07:01:20-04:00");
  else if (*t < earliest)
    refuse("/occurred_at", "must not be before 2000-01-01T00:00:00Z");
  else if (*t > context_.now + limits::occurred_ahead_max)
    refuse("/occurred_at", "must not be more than 5 minutes ahead");
  else
    result.occurred_at = t;
}

void purchase_reader::read_items(const json_value& root) {
  const auto* x = need(root, "", "items");
  if (x == nullptr)
    return;
  if (!x->is(kind::array)) {
    refuse("/items", "must be an array");
    return;
  }
  auto count = x->elements.size();
  if (count == 0 || count > limits::items_max)
    refuse("/items", fmt::format("must have 1 to {} items", limits::items_max));
  // A flood of items gets its one error, and those of its beginning.
  count = std::min(count, limits::items_max);
  result.items.reserve(count);
  for (size_t i = 0; i < count; ++i)
    read_item(x->elements[i], fmt::format("/items/{}", i));
  check_total();
}

/// Sums up. 200 of the highest prices do not overflow.
void purchase_reader::check_total() {
  for (const auto& item : result.items)
    result.total += item.unit_price;
  auto max = context_.total_major_max;
  for (int i = 0; i < chain_.currency.exponent; ++i)
    max *= 10;
  if (result.total > max)
    refuse("/items", fmt::format("must not cost more than {} together",
                                 context_.total_major_max));
}

void purchase_reader::read_item(const json_value& json,
                                const std::string& pointer) {
  if (!json.is(kind::object)) {
    refuse(pointer, "must be an object");
    return;
  }
  purchase_item item;
  item.product_id = read_id(json, pointer, "product_id");
  auto is_same = [&](const auto& x) { return x.product_id == item.product_id; };
  if (!item.product_id.empty()
      && std::any_of(result.items.begin(), result.items.end(), is_same))
    refuse(pointer + "/product_id", "stands in the purchase already");
  read_price(json, pointer, item);
  read_quantity(json, pointer);
  read_name(json, pointer, item);
  check_unknown(json, pointer, {"product_id", "unit_price", "qty", "name"});
  result.items.push_back(std::move(item));
}

void purchase_reader::read_name(const json_value& json,
                                const std::string& pointer,
                                purchase_item& out) {
  const auto* x = json.find("name");
  if (x == nullptr)
    return;
  if (!x->is(kind::string))
    refuse(pointer + "/name", "must be a string");
  else if (check_text(x->text, 0, limits::name_code_points_max,
                      pointer + "/name"))
    out.name = x->text;
}

void purchase_reader::read_price(const json_value& json,
                                 const std::string& pointer,
                                 purchase_item& out) {
  const auto* x = need(json, pointer, "unit_price");
  if (x == nullptr)
    return;
  const auto& unit = chain_.currency;
  auto max = limits::unit_price_major_max;
  for (int i = 0; i < unit.exponent; ++i)
    max *= 10;
  auto problem = money_error::syntax;
  if (x->is(kind::string) || x->is(kind::number))
    problem
      = parse_money(x->text, unit, max, x->is(kind::number), out.unit_price);
  switch (problem) {
    case money_error::none:
      break;
    case money_error::syntax:
      refuse(
        pointer + "/unit_price",
        fmt::format("must be an amount like \"{}\"", format_money(450, unit)));
      break;
    case money_error::too_precise:
      refuse(pointer + "/unit_price",
             fmt::format("must not have more than {} fraction digits ({})",
                         unit.exponent, unit.code));
      break;
    case money_error::out_of_range:
      refuse(pointer + "/unit_price",
             fmt::format("must be from 0 to {}", limits::unit_price_major_max));
      break;
  }
}

void purchase_reader::read_quantity(const json_value& json,
                                    const std::string& pointer) {
  const auto* x = need(json, pointer, "qty");
  if (x != nullptr && (!x->is(kind::number) || !is_one(x->text)))
    refuse(pointer + "/qty", "must be 1");
}

void purchase_reader::check_unknown(
  const json_value& object, std::string_view parent,
  std::initializer_list<std::string_view> known) {
  for (const auto& [name, value] : object.members)
    if (std::find(known.begin(), known.end(), name) == known.end())
      refuse(child(parent, name), has_null_character(name)
                                    ? "must not contain U+0000"
                                    : "is not a known field");
}

/// What the contract checks before the rules: the key, then the branch.
/// @returns nothing when all is well.
std::optional<refused_purchase>
check_key(const json_value& root, const purchase_context& context, uuid& out) {
  auto missing = [](std::string detail) {
    return refused_purchase{
      refusal::idempotency_key_missing, std::move(detail), {}};
  };
  std::optional<uuid> from_header;
  if (context.idempotency_header) {
    std::string_view text{*context.idempotency_header};
    if (text.size() >= 2 && text.starts_with('"') && text.ends_with('"'))
      text = text.substr(1, text.size() - 2);
    from_header = parse_uuid(text);
    if (!from_header)
      return missing("The header Idempotency-Key is not a UUID.");
  }
  const auto* member = root.find("idempotency_key");
  if (member == nullptr && !from_header)
    return missing("Neither the body nor the header has an idempotency key.");
  auto from_body = member != nullptr && member->is(kind::string)
                     ? parse_uuid(member->text)
                     : std::nullopt;
  if (member != nullptr && !from_body && !from_header)
    return missing("The field idempotency_key is not a UUID.");
  if (member != nullptr && from_header && from_body != from_header)
    return refused_purchase{
      refusal::idempotency_key_mismatch,
      "The idempotency keys of header and body are not equal.",
      {}};
  out = from_header ? *from_header : *from_body;
  return std::nullopt;
}

std::optional<refused_purchase>
check_branch(const json_value& root, const tillstream::chain& chain,
             const purchase_context& context) {
  const auto* member = root.find("branch_id");
  if (member == nullptr || !member->is(kind::string))
    return std::nullopt; // One of the broken rules.
  if (chain.find(member->text) == nullptr)
    return refused_purchase{refusal::branch_unknown,
                            "The chain does not have this branch.",
                            {{"/branch_id", "is not a branch of the chain"}}};
  if (member->text != context.till_branch)
    return refused_purchase{
      refusal::branch_forbidden, "The key is for another branch.", {}};
  return std::nullopt;
}

// -- the answers --------------------------------------------------------------

/// The currency of a row: the chain's, unless that was changed since.
currency currency_of(const recorded_purchase& x, const currency& unit) {
  if (x.currency == unit.code)
    return unit;
  return find_currency(x.currency).value_or(unit);
}

void write_head(json_writer& out, const recorded_purchase& x,
                const currency& unit) {
  out.field("purchase_id", to_string(x.purchase_id))
    .field("event_id", to_string(x.event_id))
    .field("branch_id", x.branch_id)
    .field("receipt_id", x.receipt_id)
    .field("user_id", to_string(x.user_id))
    .field("new_customer", x.new_customer)
    .field("total", format_money(x.total, unit))
    .field("currency", x.currency)
    .field("items_count", x.items_count)
    .field("occurred_at", to_rfc3339(x.occurred_at))
    .field("recorded_at", to_rfc3339(x.recorded_at));
}

} // namespace

std::variant<purchase, refused_purchase>
decode_purchase(std::string_view body, const tillstream::chain& chain,
                const purchase_context& context) {
  static thread_local json_document document;
  if (auto problem = document.parse(body); !problem.empty())
    return refused_purchase{
      refusal::malformed_json, "The body is not JSON: " + problem + ".", {}};
  const auto& root = document.root();
  purchase_reader reader{chain, context};
  if (auto refused = check_key(root, context, reader.result.idempotency_key))
    return std::move(*refused);
  if (auto refused = check_branch(root, chain, context))
    return std::move(*refused);
  reader.read(root);
  if (!reader.errors.empty())
    return refused_purchase{refusal::validation_failed,
                            "The purchase breaks rules.",
                            std::move(reader.errors)};
  reader.result.traceparent = context.traceparent;
  reader.result.fingerprint = fingerprint_of(reader.result);
  return std::move(reader.result);
}

std::string encode_recorded(const recorded_purchase& x, const currency& unit) {
  std::string result;
  result.reserve(512);
  json_writer out{result};
  out.begin_object();
  write_head(out, x, currency_of(x, unit));
  out.end_object();
  return result;
}

std::string encode_details(const purchase_details& x, const currency& unit) {
  auto row_unit = currency_of(x.head, unit);
  std::string result;
  result.reserve(768 + x.items.size() * 96);
  json_writer out{result};
  out.begin_object();
  write_head(out, x.head, row_unit);
  out.field("cashier_id", x.cashier_id)
    .field("pos_id", x.pos_id)
    .field("idempotency_key", to_string(x.idempotency_key))
    .field("business_day", to_string(x.business_day))
    .key("items")
    .begin_array();
  for (const auto& item : x.items) {
    out.begin_object().field("product_id", item.product_id);
    if (item.name)
      out.field("name", *item.name);
    out.field("unit_price", format_money(item.unit_price, row_unit))
      .field("qty", 1)
      .end_object();
  }
  out.end_array().end_object();
  return result;
}

} // namespace tillstream
