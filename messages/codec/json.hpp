#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

/// @file messages/codec/json.hpp
/// A strict reader (simdjson underneath) and a small writer.

namespace tillstream {

/// A parsed value. Numbers keep their digits. Strings are views into the
/// document, which must outlive them.
class json_value {
public:
  enum class kind : uint8_t { null, boolean, number, string, array, object };
  using member = std::pair<std::string_view, json_value>;

  kind type = kind::null;
  bool boolean = false;
  /// The unescaped string (may hold U+0000), or the digits of a number.
  std::string_view text;
  std::vector<json_value> elements;
  /// In document order, without duplicates.
  std::vector<member> members;

  bool is(kind k) const {
    return type == k;
  }

  /// @returns the member, or null when there is none or this is no object.
  const json_value* find(std::string_view key) const;
};

/// A document and the memory behind it.
class json_document {
public:
  json_document();
  ~json_document();
  json_document(json_document&&) noexcept;
  json_document& operator=(json_document&&) noexcept;

  /// Parses all of `bytes`, strictly: valid UTF-8, one value, nothing behind
  /// it, every number and literal well-formed, no object key twice, at most 32
  /// levels deep. Reuses its memory.
  /// @returns an empty string, or what is wrong and, where known, where.
  std::string parse(std::string_view bytes);

  const json_value& root() const;

private:
  struct impl;
  std::unique_ptr<impl> impl_;
};

/// Appends JSON to a string. The caller keeps the grammar; commas are placed
/// by themselves.
class json_writer {
public:
  explicit json_writer(std::string& out) : out_(out) {
    // nop
  }

  json_writer& begin_object();
  json_writer& end_object();
  json_writer& begin_array();
  json_writer& end_array();
  json_writer& key(std::string_view name);
  json_writer& string(std::string_view value);
  json_writer& integer(int64_t value);
  json_writer& boolean(bool value);
  json_writer& null();
  /// Appends a value that is JSON already.
  json_writer& raw(std::string_view json);

  /// `key` and `string` in one.
  json_writer& field(std::string_view name, std::string_view value);
  json_writer& field(std::string_view name, const char* value) {
    return field(name, std::string_view{value});
  }
  json_writer& field(std::string_view name, int64_t value);
  json_writer& field(std::string_view name, int value) {
    return field(name, int64_t{value});
  }
  json_writer& field(std::string_view name, bool value);

private:
  void separate();

  std::string& out_;
  bool needs_comma_ = false;
};

} // namespace tillstream
