#include "messages/codec/chain_file.hpp"

#include "messages/codec/json.hpp"
#include "messages/core/error.hpp"
#include "messages/core/limits.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <initializer_list>

namespace tillstream {

namespace {

caf::error invalid(std::string sentence) {
  return caf::make_error(errc::invalid, std::move(sentence));
}

/// Reads the fields of one object; the first thing wrong stays.
class field_reader {
public:
  /// @param where Prefix of the names in sentences, e.g. `branches[0].`.
  field_reader(const json_value& object, std::string where)
    : object_(object),
      where_(std::move(where)) {
    // nop
  }

  void refuse(std::string_view name, std::string_view rule) {
    if (problem_.empty())
      problem_ = fmt::format("{}{} {}", where_, name, rule);
  }

  /// A member, or null when it is absent or not of `kind`.
  const json_value*
  take(std::string_view name, json_value::kind kind, std::string_view rule) {
    const auto* x = object_.find(name);
    if (x == nullptr) {
      refuse(name, "is missing");
      return nullptr;
    }
    if (x->is(kind))
      return x;
    refuse(name, rule);
    return nullptr;
  }

  std::string text(std::string_view name) {
    const auto* x
      = take(name, json_value::kind::string, "must be a string, not empty");
    if (x == nullptr)
      return {};
    if (x->text.empty() || x->text.find('\0') != std::string_view::npos)
      refuse(name, "must be a string, not empty");
    return std::string{x->text};
  }

  std::string text_or(std::string_view name, std::string_view fallback) {
    return object_.find(name) != nullptr ? text(name) : std::string{fallback};
  }

  /// A typing error in an optional field must not pass as 'absent'.
  void allow_only(std::initializer_list<std::string_view> names) {
    for (const auto& [name, value] : object_.members)
      if (std::find(names.begin(), names.end(), name) == names.end())
        refuse(name, "is no field of a chain file");
  }

  const std::string& problem() const {
    return problem_;
  }

private:
  const json_value& object_;
  std::string where_;
  std::string problem_;
};

/// Reads `HH:MM`. @returns minutes, or -1.
int parse_day_start(std::string_view text) {
  auto digit = [&](size_t i) {
    return text[i] >= '0' && text[i] <= '9' ? text[i] - '0' : 1000;
  };
  if (text.size() != 5 || text[2] != ':')
    return -1;
  auto h = digit(0) * 10 + digit(1);
  auto m = digit(3) * 10 + digit(4);
  return h < 24 && m < 60 ? h * 60 + m : -1;
}

caf::expected<branch> parse_branch(const json_value& json, size_t index) {
  auto where = fmt::format("branches[{}]", index);
  if (!json.is(json_value::kind::object))
    return invalid(where + " must be an object");
  field_reader in{json, where + "."};
  in.allow_only({"id", "name", "time_zone", "day_start"});
  branch result;
  result.id = in.text("id");
  if (!valid_branch_id(result.id))
    in.refuse("id", "must be 1 to 64 letters, digits, - or _");
  result.name = in.text_or("name", result.id);
  result.time_zone = in.text_or("time_zone", "UTC");
  result.day_start_minutes = parse_day_start(in.text_or("day_start", "00:00"));
  if (result.day_start_minutes < 0)
    in.refuse("day_start", "must be a time of day like 04:00");
  if (in.problem().empty() && !branch_clock::make(result))
    in.refuse("time_zone", "is no time zone that this machine knows");
  if (!in.problem().empty())
    return invalid(in.problem());
  return result;
}

caf::error parse_branches(const json_value& list, chain& out) {
  if (list.elements.empty() || list.elements.size() > limits::branches_max)
    return invalid(
      fmt::format("branches must have 1 to {} entries", limits::branches_max));
  for (size_t i = 0; i < list.elements.size(); ++i) {
    auto one = parse_branch(list.elements[i], i);
    if (!one)
      return std::move(one.error());
    out.branches.push_back(std::move(*one));
  }
  auto& xs = out.branches;
  auto by_id = [](const branch& x, const branch& y) { return x.id < y.id; };
  auto same_id = [](const branch& x, const branch& y) { return x.id == y.id; };
  std::sort(xs.begin(), xs.end(), by_id);
  auto twice = std::adjacent_find(xs.begin(), xs.end(), same_id);
  if (twice != xs.end())
    return invalid(fmt::format("branches has the id {} twice", twice->id));
  return {};
}

} // namespace

caf::expected<chain> parse_chain(std::string_view json) {
  json_document document;
  if (auto problem = document.parse(json); !problem.empty())
    return invalid("not a JSON document: " + problem);
  const auto& root = document.root();
  if (!root.is(json_value::kind::object))
    return invalid("a chain file must be an object");
  field_reader in{root, ""};
  in.allow_only({"name", "currency", "branches"});
  chain result;
  result.name = in.text("name");
  auto unit = find_currency(in.text("currency"));
  if (!unit)
    in.refuse("currency", "must be an ISO 4217 code like USD");
  const auto* list
    = in.take("branches", json_value::kind::array, "must be an array");
  if (!in.problem().empty())
    return invalid(in.problem());
  result.currency = std::move(*unit);
  if (auto err = parse_branches(*list, result))
    return err;
  return result;
}

} // namespace tillstream
