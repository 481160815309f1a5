#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <iosfwd>
#include <string>
#include <string_view>
#include <vector>

/// @file messages/codec/csv.hpp
/// Comma-separated values as RFC 4180 has them: a strict reader for what comes
/// from outside and a writer for what goes there.

namespace tillstream {

/// Reads records one by one, in bounded memory.
///
/// Strict where guessing would change data: quotes enclose a whole field,
/// nothing follows a closing quote, every record has as many fields as the
/// first, text is UTF-8 without U+0000. Lenient where nothing can be lost:
/// a line ends with CRLF or LF, the last one may lack it, a byte order mark
/// before the first field is skipped.
///
/// Bounds: `limits::csv_field_bytes_max`, `limits::csv_record_bytes_max`.
class csv_reader {
public:
  /// @param in Must outlive the reader; open it in binary mode.
  explicit csv_reader(std::istream& in);

  /// Reads the next record into `fields`, unquoted.
  /// @returns false at the end or when something is wrong: see `error`.
  bool next(std::vector<std::string>& fields);

  /// Reads the first record, which must hold exactly `names` in this order.
  bool expect_header(const std::vector<std::string_view>& names);

  /// What is wrong, beginning with the line (`line 7: …`); empty: nothing. A
  /// reader that met an error stays there.
  const std::string& error() const {
    return error_;
  }

  /// The line on which the last record began, counted from 1.
  size_t line() const {
    return record_line_;
  }

  /// How far the reader has come.
  uint64_t bytes_read() const {
    return bytes_read_;
  }

private:
  enum class after_field { another, last, wrong };

  static constexpr int no_more = -1;

  int peek();
  int get();
  void skip_byte_order_mark();
  after_field read_field(std::string& field);
  bool read_bare(std::string& field);
  bool read_quoted(std::string& field);
  after_field read_separator();
  bool append(std::string& field, int c);
  bool check_width(size_t width);
  bool fail(size_t line, std::string_view what);

  std::istream& in_;
  std::array<char, 16 * 1024> buffer_;
  size_t used_ = 0;
  size_t filled_ = 0;
  uint64_t bytes_read_ = 0;
  size_t line_ = 1;
  size_t record_line_ = 0;
  size_t record_bytes_ = 0;
  /// Fields of the first record; 0: not read yet.
  size_t width_ = 0;
  std::string error_;
};

/// Appends CSV to a string: CRLF ends a record, fields are quoted where they
/// must be.
class csv_writer {
public:
  explicit csv_writer(std::string& out) : out_(out) {
    // nop
  }

  csv_writer& field(std::string_view value);
  csv_writer& field(const char* value) {
    return field(std::string_view{value});
  }
  csv_writer& field(int64_t value);
  csv_writer& field(int value) {
    return field(int64_t{value});
  }
  csv_writer& end_record();

private:
  void separate();

  std::string& out_;
  size_t begin_ = 0;
  bool needs_comma_ = false;
};

} // namespace tillstream
