#pragma once

#include "messages/codec/csv.hpp"
#include "messages/codec/json.hpp"
#include "messages/core/money.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

/// @file actors/query/rows.hpp
/// One way to write rows, for JSON and CSV alike.

namespace tillstream {

/// Writes the fields of a row. JSON names them; CSV relies on their order,
/// which is that of the header.
class row_writer {
public:
  explicit row_writer(const currency& unit) : unit_(unit) {
    // nop
  }

  virtual ~row_writer() = default;

  virtual void text(std::string_view name, std::string_view value) = 0;
  virtual void integer(std::string_view name, int64_t value) = 0;
  virtual void boolean(std::string_view name, bool value) = 0;
  /// A JSON number, as rendered.
  virtual void number(std::string_view name, std::string_view digits) = 0;
  virtual void null(std::string_view name) = 0;
  /// The fields up to `end_group` belong together.
  virtual void begin_group(std::string_view name) = 0;
  virtual void end_group() = 0;
  /// A field that only the one or the other has.
  virtual bool is_csv() const = 0;

  void money(std::string_view name, minor_units amount) {
    text(name, format_money(amount, unit_));
  }

  void text_or_null(std::string_view name, std::string_view value) {
    if (value.empty())
      null(name);
    else
      text(name, value);
  }

  void integer_or_null(std::string_view name, std::optional<int64_t> value) {
    if (value)
      integer(name, *value);
    else
      null(name);
  }

private:
  const currency& unit_;
};

class json_row_writer final : public row_writer {
public:
  json_row_writer(json_writer& out, const currency& unit)
    : row_writer(unit),
      out_(out) {
    // nop
  }

  void text(std::string_view name, std::string_view value) override {
    out_.field(name, value);
  }
  void integer(std::string_view name, int64_t value) override {
    out_.field(name, value);
  }
  void boolean(std::string_view name, bool value) override {
    out_.field(name, value);
  }
  void number(std::string_view name, std::string_view digits) override {
    out_.key(name).raw(digits);
  }
  void null(std::string_view name) override {
    out_.key(name).null();
  }
  void begin_group(std::string_view name) override {
    out_.key(name).begin_object();
  }
  void end_group() override {
    out_.end_object();
  }
  bool is_csv() const override {
    return false;
  }

private:
  json_writer& out_;
};

class csv_row_writer final : public row_writer {
public:
  csv_row_writer(csv_writer& out, const currency& unit)
    : row_writer(unit),
      out_(out) {
    // nop
  }

  void text(std::string_view, std::string_view value) override {
    out_.field(value);
  }
  void integer(std::string_view, int64_t value) override {
    out_.field(value);
  }
  void boolean(std::string_view, bool value) override {
    out_.field(value ? "true" : "false");
  }
  void number(std::string_view, std::string_view digits) override {
    out_.field(digits);
  }
  void null(std::string_view) override {
    out_.field(std::string_view{});
  }
  void begin_group(std::string_view) override {
    // Names are in the header.
  }
  void end_group() override {
    // Names are in the header.
  }
  bool is_csv() const override {
    return true;
  }

private:
  csv_writer& out_;
};

} // namespace tillstream
