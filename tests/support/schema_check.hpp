#pragma once

#include "tests/support/openapi_document.hpp"

#include <algorithm>
#include <cstdint>
#include <regex>
#include <set>
#include <string>
#include <string_view>
#include <vector>

/// @file tests/support/schema_check.hpp
/// Holds real answers against the document: the part of JSON Schema 2020-12
/// that `docs/openapi.json` uses.

namespace tillstream::tests {

class schema_check {
public:
  explicit schema_check(const openapi_reader& api) : api_(api) {
    // nop
  }

  /// Checks an answer's body, and that the document knows all of its members.
  /// @returns what differs, with JSON pointers; empty: nothing.
  std::vector<std::string>
  operator()(const json_value& schema, const json_value& body) {
    problems_.clear();
    check(schema, body, "");
    check_known({&schema}, body, "");
    return std::move(problems_);
  }

private:
  using kind = json_value::kind;
  using schema_list = std::vector<const json_value*>;

  void complain(const std::string& at, std::string_view what) {
    problems_.push_back((at.empty() ? "/" : at) + ": " + std::string{what});
  }

  bool fits(const json_value& schema, const json_value& x) {
    schema_check other{api_};
    other.check(schema, x, "");
    return other.problems_.empty();
  }

  void
  check(const json_value& schema, const json_value& x, const std::string& at) {
    const auto* s = api_.follow(schema);
    if (s == nullptr) {
      complain(at, "a $ref leads nowhere");
      return;
    }
    for (const auto& [word, rule] : s->members)
      apply(word, rule, x, at);
  }

  void apply(std::string_view word, const json_value& rule, const json_value& x,
             const std::string& at) {
    static const std::set<std::string_view> remarks{
      "description", "title", "examples", "example", "format", "default"};
    if (remarks.contains(word))
      return;
    if (!holds(word, rule, x, at))
      complain(at, "breaks " + std::string{word});
  }

  /// Children report for themselves.
  bool holds(std::string_view word, const json_value& rule, const json_value& x,
             const std::string& at) {
    if (word == "type")
      return rule.is(kind::array)
               ? any(rule, [&](auto& t) { return has_type(t.text, x); })
               : has_type(rule.text, x);
    if (word == "enum")
      return any(rule, [&](auto& y) { return equal(y, x); });
    if (word == "const")
      return equal(rule, x);
    if (word == "anyOf" || word == "oneOf")
      return any(rule, [&](auto& y) { return fits(y, x); });
    if (word == "allOf") {
      for (const auto& y : rule.elements)
        check(y, x, at);
      return true;
    }
    if (word == "required")
      return !x.is(kind::object)
             || std::all_of(
               rule.elements.begin(), rule.elements.end(),
               [&](auto& name) { return x.find(name.text) != nullptr; });
    if (word == "properties") {
      for (const auto& [name, value] : x.members)
        if (const auto* y = rule.find(name))
          check(*y, value, at + "/" + std::string{name});
      return true;
    }
    if (word == "items") {
      for (size_t i = 0; i < x.elements.size(); ++i)
        check(rule, x.elements[i], at + "/" + std::to_string(i));
      return true;
    }
    return holds_bound(word, rule, x);
  }

  bool holds_bound(std::string_view word, const json_value& rule,
                   const json_value& x) {
    if (word == "pattern")
      return !x.is(kind::string)
             || std::regex_search(std::string{x.text},
                                  std::regex{std::string{rule.text}});
    auto limit = std::stod(std::string{rule.text.empty() ? "0" : rule.text});
    auto number = x.is(kind::number) ? std::stod(std::string{x.text}) : limit;
    if (word == "minimum")
      return number >= limit;
    if (word == "maximum")
      return number <= limit;
    auto length
      = x.is(kind::string) ? static_cast<double>(x.text.size()) : limit;
    if (word == "minLength")
      return length >= limit;
    if (word == "maxLength")
      return length <= limit;
    auto count
      = x.is(kind::array) ? static_cast<double>(x.elements.size()) : limit;
    if (word == "minItems")
      return count >= limit;
    if (word == "maxItems")
      return count <= limit;
    return false; // A word that is not understood checks nothing.
  }

  /// Collects the properties of a schema and of its parts.
  void collect(const json_value& schema, std::vector<json_value::member>& out) {
    const auto* s = api_.follow(schema);
    if (s == nullptr)
      return;
    if (const auto* own = s->find("properties"))
      out.insert(out.end(), own->members.begin(), own->members.end());
    for (auto word : {"allOf", "anyOf", "oneOf"})
      if (const auto* parts = s->find(word))
        for (const auto& part : parts->elements)
          collect(part, out);
  }

  /// @param schemas All that describe `x`.
  void check_known(const schema_list& schemas, const json_value& x,
                   const std::string& at) {
    for (size_t i = 0; i < x.elements.size(); ++i)
      for (const auto* schema : schemas)
        if (const auto* s = api_.follow(*schema))
          if (const auto* items = s->find("items"))
            check_known({items}, x.elements[i], at + "/" + std::to_string(i));
    std::vector<json_value::member> known;
    for (const auto* schema : schemas)
      collect(*schema, known);
    if (known.empty())
      return;
    for (const auto& [name, value] : x.members) {
      schema_list mine;
      for (const auto& [other, schema] : known)
        if (other == name)
          mine.push_back(&schema);
      auto place = at + "/" + std::string{name};
      if (mine.empty())
        complain(place, "is not documented");
      else
        check_known(mine, value, place);
    }
  }

  template <class Predicate>
  static bool any(const json_value& list, Predicate holds) {
    return std::any_of(list.elements.begin(), list.elements.end(), holds);
  }

  /// Scalars only.
  static bool equal(const json_value& a, const json_value& b) {
    return a.type == b.type && a.text == b.text && a.boolean == b.boolean;
  }

  static bool has_type(std::string_view name, const json_value& x) {
    if (name == "integer")
      return x.is(kind::number)
             && x.text.find_first_of(".eE") == std::string_view::npos;
    return (name == "object" && x.is(kind::object))
           || (name == "array" && x.is(kind::array))
           || (name == "string" && x.is(kind::string))
           || (name == "number" && x.is(kind::number))
           || (name == "boolean" && x.is(kind::boolean))
           || (name == "null" && x.is(kind::null));
  }

  const openapi_reader& api_;
  std::vector<std::string> problems_;
};

} // namespace tillstream::tests
