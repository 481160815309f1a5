#include "messages/codec/event_codec.hpp"

#include "messages/codec/json.hpp"
#include "messages/core/error.hpp"
#include "messages/core/limits.hpp"
#include "messages/core/text.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <limits>

namespace tillstream {

namespace {

using namespace std::chrono_literals;

using kind = json_value::kind;

constexpr std::string_view event_type = "purchases.created";
constexpr std::string_view event_schema = "urn:tillstream:purchases.created:1";
constexpr std::string_view source_prefix = "/tillstream/branches/";

// -- writing ------------------------------------------------------------------

void write_items(json_writer& out, const purchase_event& x) {
  out.key("items").begin_array();
  for (const auto& item : x.items) {
    out.begin_object().field("product_id", item.product_id);
    if (!item.name.empty())
      out.field("name", item.name);
    if (!item.category.empty())
      out.field("category", item.category);
    out.field("unit_price", format_money(item.unit_price, x.currency))
      .field("qty", 1)
      .end_object();
  }
  out.end_array();
}

// -- reading ------------------------------------------------------------------

/// Reads the members of an event. Keeps the first reason why it is none; the
/// reason never repeats what the event says.
class event_reader {
public:
  void read_envelope(const json_value& root);
  void read_data(const json_value& data);

  void refuse(std::string_view field, std::string_view rule) {
    if (reason.empty())
      reason = fmt::format("{} {}", field, rule);
  }

  /// The branch whose subject delivered the event.
  std::string_view subject_branch;
  purchase_event result;
  std::string reason;

private:
  const json_value*
  take(const json_value& object, std::string_view name, kind type) {
    const auto* x = object.find(name);
    if (x != nullptr && x->is(type))
      return x;
    refuse(name, "is missing or of another type");
    return nullptr;
  }

  std::string_view
  take_text(const json_value& object, std::string_view name,
            size_t max = limits::id_code_points_max, size_t min = 1);

  /// Like `take_text`, but may be absent.
  std::string_view
  take_optional(const json_value& object, std::string_view name);

  void want(const json_value& object, std::string_view name,
            std::string_view value) {
    if (take_text(object, name) != value)
      refuse(name, "is not what it must be");
  }

  uuid take_uuid(const json_value& object, std::string_view name,
                 bool (*accepts)(const uuid&));

  timestamp take_time(const json_value& object, std::string_view name);

  int64_t take_integer(const json_value& object, std::string_view name,
                       int64_t min, int64_t max);

  minor_units
  take_money(const json_value& object, std::string_view name, minor_units max);

  void read_business_time(const json_value& data);
  void read_money(const json_value& data);
  void read_item(const json_value& json, minor_units price_max);
};

bool is_any(const uuid&) {
  return true;
}

std::string_view
event_reader::take_text(const json_value& object, std::string_view name,
                        size_t max, size_t min) {
  const auto* x = take(object, name, kind::string);
  if (x == nullptr)
    return {};
  auto count = count_code_points(x->text);
  if (count < min || count > max || has_null_character(x->text)) {
    refuse(name, "has a length or a character that is not allowed");
    return {};
  }
  return x->text;
}

std::string_view
event_reader::take_optional(const json_value& object, std::string_view name) {
  if (object.find(name) == nullptr)
    return {};
  return take_text(object, name, limits::name_code_points_max, 0);
}

uuid event_reader::take_uuid(const json_value& object, std::string_view name,
                             bool (*accepts)(const uuid&)) {
  auto x = parse_uuid(take_text(object, name));
  if (x && accepts(*x))
    return *x;
  refuse(name, "is not a UUID of its version");
  return {};
}

timestamp
event_reader::take_time(const json_value& object, std::string_view name) {
  auto x = parse_rfc3339(take_text(object, name));
  if (!x)
    refuse(name, "is not a time");
  return x.value_or(timestamp{});
}

int64_t
event_reader::take_integer(const json_value& object, std::string_view name,
                           int64_t min, int64_t max) {
  const auto* x = take(object, name, kind::number);
  if (x == nullptr)
    return min;
  int64_t value = 0;
  const auto* end = x->text.data() + x->text.size();
  auto [ptr, code] = std::from_chars(x->text.data(), end, value);
  if (code == std::errc{} && ptr == end && value >= min && value <= max)
    return value;
  refuse(name, "is not an integer in its range");
  return min;
}

minor_units event_reader::take_money(const json_value& object,
                                     std::string_view name, minor_units max) {
  minor_units amount = 0;
  auto text = take_text(object, name);
  if (parse_money(text, result.currency, max, false, amount)
      != money_error::none)
    refuse(name, "is not an amount in its range");
  return amount;
}

void event_reader::read_envelope(const json_value& root) {
  want(root, "specversion", "1.0");
  want(root, "type", event_type);
  want(root, "datacontenttype", "application/json");
  want(root, "dataschema", event_schema);
  want(root, "partitionkey", subject_branch);
  // Prefix and branch are each within 64 characters, both together are not.
  auto source = take_text(root, "source", 2 * limits::id_code_points_max);
  if (!source.starts_with(source_prefix)
      || source.substr(source_prefix.size()) != subject_branch)
    refuse("source", "is not the subject's branch");
  result.event_id = take_uuid(root, "id", is_uuid7);
  result.purchase_id = take_uuid(root, "subject", is_uuid7);
  result.occurred_at = take_time(root, "time");
  result.recorded_at = take_time(root, "recordedtime");
  result.outbox_seq
    = take_integer(root, "outboxseq", 1, std::numeric_limits<int64_t>::max());
  result.traceparent = take_optional(root, "traceparent");
  if (const auto* data = take(root, "data", kind::object))
    read_data(*data);
}

void event_reader::read_data(const json_value& data) {
  want(data, "branch_id", subject_branch);
  result.branch_id = subject_branch;
  result.cashier_id = take_text(data, "cashier_id");
  result.pos_id = take_text(data, "pos_id");
  result.receipt_id = take_text(data, "receipt_id");
  result.idempotency_key = take_uuid(data, "idempotency_key", is_any);
  result.user_id = take_uuid(data, "user_id", is_uuid4);
  if (const auto* x = take(data, "new_customer", kind::boolean))
    result.new_customer = x->boolean;
  if (take_uuid(data, "purchase_id", is_uuid7) != result.purchase_id)
    refuse("purchase_id", "is not the event's subject");
  if (take_time(data, "occurred_at") != result.occurred_at)
    refuse("occurred_at", "is not the event's time");
  if (take_time(data, "recorded_at") != result.recorded_at)
    refuse("recorded_at", "is not the event's recordedtime");
  read_business_time(data);
  read_money(data);
}

void event_reader::read_business_time(const json_value& data) {
  auto& when = result.when;
  when.minute
    = static_cast<int>(take_integer(data, "business_minute", 0, 24 * 60 - 1));
  when.hour = take_time(data, "business_hour");
  auto into_hour = result.occurred_at - when.hour;
  if (into_hour < 0h || into_hour >= 1h)
    refuse("business_hour", "is not the hour of occurred_at");
  auto day = parse_day(take_text(data, "business_day"));
  if (!day) {
    refuse("business_day", "is not a date");
    return;
  }
  when.day = *day;
  // Zones are at most 14 hours ahead and 12 behind; a day starts up to a day
  // late.
  auto since_midnight = result.occurred_at - when.day;
  if (since_midnight < -14h || since_midnight >= 60h)
    refuse("business_day", "is not the day of occurred_at");
}

void event_reader::read_money(const json_value& data) {
  auto unit = find_currency(take_text(data, "currency"));
  if (!unit) {
    refuse("currency", "is not a currency");
    return;
  }
  result.currency = std::move(*unit);
  auto price_max = limits::unit_price_major_max;
  for (int i = 0; i < result.currency.exponent; ++i)
    price_max *= 10;
  result.total = take_money(
    data, "total", price_max * static_cast<int64_t>(limits::items_max));
  const auto* items = take(data, "items", kind::array);
  if (items == nullptr)
    return;
  auto count = items->elements.size();
  if (count == 0 || count > limits::items_max) {
    refuse("items", "are none or too many");
    return;
  }
  result.items.reserve(count);
  for (const auto& item : items->elements)
    read_item(item, price_max);
  if (take_integer(data, "items_count", 1, limits::items_max)
      != static_cast<int64_t>(count))
    refuse("items_count", "is not the number of items");
  minor_units sum = 0;
  for (const auto& item : result.items)
    sum += item.unit_price;
  if (sum != result.total)
    refuse("total", "is not the sum of the items");
}

void event_reader::read_item(const json_value& json, minor_units price_max) {
  auto& item = result.items.emplace_back();
  item.product_id = take_text(json, "product_id");
  item.name = take_optional(json, "name");
  item.category = take_optional(json, "category");
  item.unit_price = take_money(json, "unit_price", price_max);
  take_integer(json, "qty", 1, 1);
  auto is_same = [&](const auto& x) { return x.product_id == item.product_id; };
  auto last = result.items.end() - 1;
  if (std::find_if(result.items.begin(), last, is_same) != last)
    refuse("items", "have a product twice");
}

} // namespace

std::string encode_event(const purchase_event& x) {
  std::string result;
  result.reserve(1400 + x.branch_id.size() * 3 + x.items.size() * 128);
  auto purchase_id = to_string(x.purchase_id);
  auto occurred_at = to_rfc3339(x.occurred_at);
  auto recorded_at = to_rfc3339(x.recorded_at);
  json_writer out{result};
  out.begin_object()
    .field("specversion", "1.0")
    .field("id", to_string(x.event_id))
    .field("source", std::string{source_prefix} + x.branch_id)
    .field("type", event_type)
    .field("subject", purchase_id)
    .field("time", occurred_at)
    .field("datacontenttype", "application/json")
    .field("dataschema", event_schema);
  if (!x.traceparent.empty())
    out.field("traceparent", x.traceparent);
  out.field("recordedtime", recorded_at)
    .field("partitionkey", x.branch_id)
    .field("outboxseq", x.outbox_seq)
    .key("data")
    .begin_object()
    .field("purchase_id", purchase_id)
    .field("branch_id", x.branch_id)
    .field("receipt_id", x.receipt_id)
    .field("cashier_id", x.cashier_id)
    .field("pos_id", x.pos_id)
    .field("idempotency_key", to_string(x.idempotency_key))
    .field("user_id", to_string(x.user_id))
    .field("new_customer", x.new_customer)
    .field("occurred_at", occurred_at)
    .field("recorded_at", recorded_at)
    .field("business_day", to_string(x.when.day))
    .field("business_hour", to_rfc3339(x.when.hour))
    .field("business_minute", x.when.minute)
    .field("currency", x.currency.code)
    .field("total", format_money(x.total, x.currency))
    .field("items_count", static_cast<int64_t>(x.items.size()));
  write_items(out, x);
  out.end_object().end_object();
  return result;
}

caf::expected<purchase_event>
decode_event(std::string_view bytes, std::string_view branch_id) {
  static thread_local json_document document;
  auto invalid = [](std::string reason) {
    return caf::make_error(errc::invalid, std::move(reason));
  };
  if (bytes.size() > limits::event_bytes_max)
    return invalid("too large for an event");
  if (auto problem = document.parse(bytes); !problem.empty())
    return invalid("not JSON: " + problem);
  if (!document.root().is(kind::object))
    return invalid("not an object");
  event_reader reader;
  reader.subject_branch = branch_id;
  reader.read_envelope(document.root());
  if (!reader.reason.empty())
    return invalid(std::move(reader.reason));
  return std::move(reader.result);
}

std::string event_subject(std::string_view branch_id) {
  return fmt::format("{}.{}", event_type, branch_id);
}

std::string message_id(const uuid& event_id, int publish_round) {
  auto result = to_string(event_id);
  if (publish_round > 1)
    result += fmt::format(".{}", publish_round);
  return result;
}

} // namespace tillstream
