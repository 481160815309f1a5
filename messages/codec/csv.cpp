#include "messages/codec/csv.hpp"

#include "messages/core/limits.hpp"

#include <fmt/format.h>
#include <simdjson.h>

#include <algorithm>
#include <istream>

namespace tillstream {

csv_reader::csv_reader(std::istream& in) : in_(in) {
  // nop
}

bool csv_reader::next(std::vector<std::string>& fields) {
  fields.clear();
  if (!error_.empty())
    return false;
  if (bytes_read_ == 0)
    skip_byte_order_mark();
  record_line_ = line_;
  record_bytes_ = 0;
  if (peek() == no_more)
    return in_.bad() ? fail(line_, "the file cannot be read") : false;
  auto then = after_field::another;
  while (then == after_field::another)
    then = read_field(fields.emplace_back());
  if (then == after_field::last && check_width(fields.size()))
    return true;
  fields.clear();
  return false;
}

bool csv_reader::expect_header(const std::vector<std::string_view>& names) {
  std::vector<std::string> found;
  auto read = next(found);
  if (!error_.empty())
    return false;
  if (read
      && std::equal(found.begin(), found.end(), names.begin(), names.end()))
    return true;
  return fail(1, fmt::format("the header must be `{}`", fmt::join(names, ",")));
}

int csv_reader::peek() {
  if (used_ == filled_) {
    // A directory opens and then fails to read; `read` turns that into `bad`.
    in_.read(buffer_.data(), static_cast<std::streamsize>(buffer_.size()));
    used_ = 0;
    filled_ = static_cast<size_t>(in_.gcount());
    if (filled_ == 0)
      return no_more;
  }
  return static_cast<unsigned char>(buffer_[used_]);
}

int csv_reader::get() {
  auto c = peek();
  if (c == no_more)
    return c;
  ++used_;
  ++bytes_read_;
  ++record_bytes_;
  if (c == '\n')
    ++line_;
  return c;
}

void csv_reader::skip_byte_order_mark() {
  // The buffer is larger than the mark, and only a first read fills it: a mark
  // is never split.
  constexpr std::string_view mark = "\xEF\xBB\xBF";
  peek();
  if (std::string_view{buffer_.data(), filled_}.substr(0, 3) != mark)
    return;
  for (size_t i = 0; i < mark.size(); ++i)
    get();
}

csv_reader::after_field csv_reader::read_field(std::string& field) {
  if (!(peek() == '"' ? read_quoted(field) : read_bare(field)))
    return after_field::wrong;
  if (!simdjson::validate_utf8(field)) {
    fail(record_line_, "the text is not valid UTF-8");
    return after_field::wrong;
  }
  return read_separator();
}

bool csv_reader::read_bare(std::string& field) {
  for (;;) {
    auto c = peek();
    if (c == no_more || c == ',' || c == '\r' || c == '\n')
      return true;
    if (c == '"')
      return fail(line_, "a quote inside a field that is not quoted");
    if (!append(field, get()))
      return false;
  }
}

bool csv_reader::read_quoted(std::string& field) {
  get(); // the opening quote
  for (;;) {
    auto c = get();
    if (c == no_more)
      return fail(record_line_, "a quoted field has no end");
    if (c == '"') {
      if (peek() != '"')
        return true;
      get();
    }
    if (!append(field, c))
      return false;
  }
}

csv_reader::after_field csv_reader::read_separator() {
  switch (get()) {
    case ',':
      if (record_bytes_ <= limits::csv_record_bytes_max)
        return after_field::another;
      fail(record_line_, "the record is too long");
      return after_field::wrong;
    case '\n':
      return after_field::last;
    case no_more:
      // A file that broke off must not pass for one that ended.
      if (!in_.bad())
        return after_field::last;
      fail(line_, "the file cannot be read");
      return after_field::wrong;
    case '\r':
      if (get() == '\n')
        return after_field::last;
      fail(line_, "a carriage return without a line feed");
      return after_field::wrong;
    default:
      fail(line_, "text after a closing quote");
      return after_field::wrong;
  }
}

bool csv_reader::append(std::string& field, int c) {
  if (c == '\0')
    return fail(line_, "a zero byte: is this a text file?");
  if (field.size() == limits::csv_field_bytes_max)
    return fail(record_line_, "a field is too long");
  if (record_bytes_ > limits::csv_record_bytes_max)
    return fail(record_line_, "the record is too long");
  field.push_back(static_cast<char>(c));
  return true;
}

bool csv_reader::check_width(size_t width) {
  if (width_ == 0)
    width_ = width;
  if (width == width_)
    return true;
  return fail(record_line_, fmt::format("{} fields where the first line has {}",
                                        width, width_));
}

bool csv_reader::fail(size_t line, std::string_view what) {
  error_ = fmt::format("line {}: {}", line, what);
  return false;
}

csv_writer& csv_writer::field(std::string_view value) {
  separate();
  if (value.find_first_of("\",\r\n") == std::string_view::npos) {
    out_.append(value);
    return *this;
  }
  out_.push_back('"');
  for (auto c : value) {
    if (c == '"')
      out_.push_back('"');
    out_.push_back(c);
  }
  out_.push_back('"');
  return *this;
}

csv_writer& csv_writer::field(int64_t value) {
  separate();
  fmt::format_to(std::back_inserter(out_), "{}", value);
  return *this;
}

csv_writer& csv_writer::end_record() {
  // A lone empty field would be an empty line, which many readers skip.
  if (needs_comma_ && out_.size() == begin_)
    out_.append("\"\"");
  out_.append("\r\n");
  needs_comma_ = false;
  return *this;
}

void csv_writer::separate() {
  if (needs_comma_)
    out_.push_back(',');
  else
    begin_ = out_.size();
  needs_comma_ = true;
}

} // namespace tillstream
