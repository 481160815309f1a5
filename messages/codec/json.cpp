#include "messages/codec/json.hpp"

#include "messages/core/limits.hpp"

#include <fmt/format.h>
#include <simdjson.h>

#include <algorithm>
#include <cassert>
#include <type_traits>

namespace tillstream {

namespace {

namespace ondemand = simdjson::ondemand;

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

/// Drops at least one digit from the front.
bool skip_digits(std::string_view& text) {
  auto end = std::find_if_not(text.begin(), text.end(), is_digit);
  auto count = static_cast<size_t>(end - text.begin());
  text.remove_prefix(count);
  return count > 0;
}

bool skip(std::string_view& text, std::string_view any_of) {
  if (text.empty() || any_of.find(text.front()) == std::string_view::npos)
    return false;
  text.remove_prefix(1);
  return true;
}

/// RFC 8259, section 6.
bool is_number(std::string_view text) {
  skip(text, "-");
  if (!skip(text, "0") && !skip_digits(text))
    return false;
  if (skip(text, ".") && !skip_digits(text))
    return false;
  if (skip(text, "eE")) {
    skip(text, "+-");
    if (!skip_digits(text))
      return false;
  }
  return text.empty();
}

std::string_view trim_right(std::string_view text) {
  auto last = text.find_last_not_of(" \t\n\r");
  return text.substr(0, last + 1);
}

/// What stands between the quotes, still escaped. simdjson indexed the string
/// before, so it has an end.
struct raw_string {
  std::string_view text;
  bool escaped = false;
};

raw_string scan_string(const char* first) {
  raw_string result;
  const auto* pos = first;
  for (; *pos != '"'; ++pos) {
    if (*pos == '\\') {
      result.escaped = true;
      ++pos;
    }
  }
  result.text = std::string_view{first, static_cast<size_t>(pos - first)};
  return result;
}

/// Up to this many members, comparing each with each is the fastest.
constexpr size_t pairwise_max = 16;

/// @returns a key that comes twice, or null.
const std::string_view*
find_duplicate(const std::vector<json_value::member>& members,
               std::vector<std::string_view>& scratch) {
  if (members.size() <= pairwise_max) {
    for (auto i = members.begin(); i != members.end(); ++i)
      for (auto j = members.begin(); j != i; ++j)
        if (i->first == j->first)
          return &i->first;
    return nullptr;
  }
  // Sorting bounds the work that a hostile object can ask for.
  scratch.clear();
  for (const auto& [key, value] : members)
    scratch.push_back(key);
  std::sort(scratch.begin(), scratch.end());
  auto i = std::adjacent_find(scratch.begin(), scratch.end());
  return i == scratch.end() ? nullptr : &*i;
}

} // namespace

const json_value* json_value::find(std::string_view key) const {
  for (const auto& [name, value] : members)
    if (name == key)
      return &value;
  return nullptr;
}

struct json_document::impl {
  ondemand::parser parser;
  /// The document and simdjson's padding behind it.
  std::string buffer;
  size_t size = 0;
  json_value root;
  std::string problem;
  std::vector<std::string_view> scratch;

  bool parse(std::string_view bytes);

private:
  bool fail(std::string_view what, const char* where = nullptr);
  bool fail(simdjson::error_code code, const char* where = nullptr);

  bool read_root(ondemand::document& document);
  bool read_root_scalar(ondemand::document& document);
  bool read_value(ondemand::value x, json_value& out, size_t depth);
  template <class Container>
  bool read_nested(ondemand::value& x, json_value& out, size_t depth);
  bool read_text(ondemand::value& x, const char* first, json_value& out);
  bool read_array(ondemand::array xs, json_value& out, size_t depth);
  bool read_object(ondemand::object xs, json_value& out, size_t depth);
  bool read_field(ondemand::field& x, json_value& out, size_t depth);
  bool read_literal(std::string_view token, json_value& out);

  template <class Unescape>
  bool read_string(const char* first, Unescape unescape, std::string_view& out);
};

bool json_document::impl::fail(std::string_view what, const char* where) {
  auto has_place = where >= buffer.data() && where <= buffer.data() + size;
  problem = has_place
              ? fmt::format("{} at byte {}", what, where - buffer.data())
              : std::string{what};
  return false;
}

bool json_document::impl::fail(simdjson::error_code code, const char* where) {
  switch (code) {
    case simdjson::EMPTY:
      return fail("the document is empty");
    case simdjson::UTF8_ERROR:
      return fail("not valid UTF-8");
    case simdjson::UNCLOSED_STRING:
      return fail("a string does not end");
    case simdjson::UNESCAPED_CHARS:
      return fail("a string holds a bare control character");
    case simdjson::STRING_ERROR:
      // Also half of a surrogate pair.
      return fail("a string holds a malformed escape", where);
    case simdjson::INCOMPLETE_ARRAY_OR_OBJECT:
      return fail("an array or an object does not end");
    case simdjson::CAPACITY:
    case simdjson::MEMALLOC:
      return fail("the document is too large");
    default:
      return fail("malformed", where);
  }
}

bool json_document::impl::parse(std::string_view bytes) {
  problem.clear();
  root = json_value{};
  // Later versions of simdjson would skip a byte order mark.
  if (bytes.starts_with("\xef\xbb\xbf"))
    return fail("a byte order mark is not allowed");
  size = bytes.size();
  buffer.reserve(size + simdjson::SIMDJSON_PADDING);
  buffer.assign(bytes);
  buffer.append(simdjson::SIMDJSON_PADDING, ' ');
  ondemand::document document;
  auto code = parser
                .iterate(simdjson::padded_string_view{buffer.data(), size,
                                                      buffer.size()})
                .get(document);
  if (code != simdjson::SUCCESS)
    return fail(code);
  return read_root(document);
}

bool json_document::impl::read_root(ondemand::document& document) {
  // Not by way of a `value`: only the root's own functions check that the
  // document's last token closes it.
  ondemand::json_type type;
  if (auto code = document.type().get(type))
    return fail(code, buffer.data());
  if (type == ondemand::json_type::array) {
    ondemand::array xs;
    if (auto code = document.get_array().get(xs))
      return fail(code);
    if (!read_array(xs, root, 1))
      return false;
  } else if (type == ondemand::json_type::object) {
    ondemand::object xs;
    if (auto code = document.get_object().get(xs))
      return fail(code);
    if (!read_object(xs, root, 1))
      return false;
  } else {
    return read_root_scalar(document);
  }
  const char* rest = nullptr;
  if (document.current_location().get(rest) == simdjson::SUCCESS)
    return fail("something follows the document", rest);
  return true;
}

bool json_document::impl::read_root_scalar(ondemand::document& document) {
  std::string_view token;
  if (auto code = document.raw_json_token().get(token))
    return fail(code);
  const auto* end = token.data() + token.size();
  if (end != buffer.data() + size)
    return fail("something follows the document", end);
  if (token.front() != '"')
    return read_literal(token, root);
  root.type = json_value::kind::string;
  auto unescape = [&] { return document.get_string(); };
  return read_string(token.data() + 1, unescape, root.text);
}

bool json_document::impl::read_value(ondemand::value x, json_value& out,
                                     size_t depth) {
  auto token = x.raw_json_token();
  switch (token.front()) {
    case '{':
    case '[':
      if (depth == limits::json_depth_max)
        return fail("nested too deep", token.data());
      return token.front() == '['
               ? read_nested<ondemand::array>(x, out, depth + 1)
               : read_nested<ondemand::object>(x, out, depth + 1);
    case '"':
      return read_text(x, token.data() + 1, out);
    default:
      return read_literal(token, out);
  }
}

template <class Container>
bool json_document::impl::read_nested(ondemand::value& x, json_value& out,
                                      size_t depth) {
  Container xs;
  if (auto code = x.get(xs))
    return fail(code);
  if constexpr (std::is_same_v<Container, ondemand::array>)
    return read_array(xs, out, depth);
  else
    return read_object(xs, out, depth);
}

bool json_document::impl::read_text(ondemand::value& x, const char* first,
                                    json_value& out) {
  out.type = json_value::kind::string;
  auto is_read = false;
  auto unescape = [&] {
    is_read = true;
    return x.get_string();
  };
  if (!read_string(first, unescape, out.text))
    return false;
  // simdjson would skip an unread string together with a colon behind it.
  if (!is_read)
    if (auto code = x.get_raw_json_string().error())
      return fail(code, first);
  return true;
}

bool json_document::impl::read_array(ondemand::array xs, json_value& out,
                                     size_t depth) {
  out.type = json_value::kind::array;
  for (auto element : xs) {
    ondemand::value x;
    if (auto code = element.get(x))
      return fail(code);
    if (!read_value(x, out.elements.emplace_back(), depth))
      return false;
  }
  return true;
}

bool json_document::impl::read_object(ondemand::object xs, json_value& out,
                                      size_t depth) {
  out.type = json_value::kind::object;
  // As many as the larger half of an event has.
  out.members.reserve(16);
  for (auto member : xs) {
    ondemand::field x;
    if (auto code = std::move(member).get(x))
      return fail(code);
    if (!read_field(x, out, depth))
      return false;
  }
  if (const auto* key = find_duplicate(out.members, scratch))
    return fail("an object has a key twice", key->data());
  return true;
}

bool json_document::impl::read_field(ondemand::field& x, json_value& out,
                                     size_t depth) {
  auto& [key, value] = out.members.emplace_back();
  auto unescape = [&] { return x.unescaped_key(); };
  return read_string(x.key().raw(), unescape, key)
         && read_value(x.value(), value, depth);
}

template <class Unescape>
bool json_document::impl::read_string(const char* first, Unescape unescape,
                                      std::string_view& out) {
  auto raw = scan_string(first);
  if (!raw.escaped) {
    out = raw.text;
    return true;
  }
  if (auto code = unescape().get(out))
    return fail(code, first);
  return true;
}

bool json_document::impl::read_literal(std::string_view token,
                                       json_value& out) {
  token = trim_right(token);
  if (token == "true" || token == "false") {
    out.type = json_value::kind::boolean;
    out.boolean = token == "true";
  } else if (token == "null") {
    out.type = json_value::kind::null;
  } else if (is_number(token)) {
    out.type = json_value::kind::number;
    out.text = token;
  } else {
    return fail("no JSON value", token.data());
  }
  return true;
}

json_document::json_document() : impl_(std::make_unique<impl>()) {
  // nop
}

json_document::~json_document() = default;

json_document::json_document(json_document&&) noexcept = default;

json_document& json_document::operator=(json_document&&) noexcept = default;

std::string json_document::parse(std::string_view bytes) {
  if (impl_->parse(bytes))
    return {};
  // A half-read tree is nobody's business.
  impl_->root = json_value{};
  assert(!impl_->problem.empty());
  return impl_->problem;
}

const json_value& json_document::root() const {
  return impl_->root;
}

// -- writing ------------------------------------------------------------------

namespace {

/// Length of the well-formed UTF-8 sequence at the start of `text`, or 0.
/// Source: Unicode 15, table 3-7.
size_t sequence_length(std::string_view text) {
  auto byte = [&](size_t i) {
    return i < text.size() ? static_cast<uint8_t>(text[i]) : uint8_t{0};
  };
  auto between = [&](size_t i, uint8_t min, uint8_t max) {
    return byte(i) >= min && byte(i) <= max;
  };
  auto tail = [&](size_t i) { return between(i, 0x80, 0xbf); };
  auto lead = byte(0);
  if (lead >= 0xc2 && lead <= 0xdf)
    return tail(1) ? 2 : 0;
  if (lead >= 0xe0 && lead <= 0xef) {
    auto min = static_cast<uint8_t>(lead == 0xe0 ? 0xa0 : 0x80);
    auto max = static_cast<uint8_t>(lead == 0xed ? 0x9f : 0xbf);
    return between(1, min, max) && tail(2) ? 3 : 0;
  }
  if (lead >= 0xf0 && lead <= 0xf4) {
    auto min = static_cast<uint8_t>(lead == 0xf0 ? 0x90 : 0x80);
    auto max = static_cast<uint8_t>(lead == 0xf4 ? 0x8f : 0xbf);
    return between(1, min, max) && tail(2) && tail(3) ? 4 : 0;
  }
  return 0;
}

bool is_plain(char c) {
  auto byte = static_cast<uint8_t>(c);
  return byte >= 0x20 && byte < 0x80 && c != '"' && c != '\\';
}

void append_escaped(std::string& out, char c) {
  switch (c) {
    case '"':
      out += "\\\"";
      break;
    case '\\':
      out += "\\\\";
      break;
    case '\n':
      out += "\\n";
      break;
    case '\r':
      out += "\\r";
      break;
    case '\t':
      out += "\\t";
      break;
    default:
      fmt::format_to(std::back_inserter(out), "\\u{:04x}",
                     static_cast<unsigned>(c));
  }
}

/// Bytes that are no UTF-8 become U+FFFD: what we write is always JSON.
void append_string(std::string& out, std::string_view text) {
  out += '"';
  while (!text.empty()) {
    auto plain = std::find_if_not(text.begin(), text.end(), is_plain);
    auto count = static_cast<size_t>(plain - text.begin());
    out += text.substr(0, count);
    text.remove_prefix(count);
    if (text.empty())
      break;
    count = 1;
    if (static_cast<uint8_t>(text.front()) < 0x80) {
      append_escaped(out, text.front());
    } else if (auto length = sequence_length(text); length > 0) {
      count = length;
      out += text.substr(0, count);
    } else {
      out += "\xef\xbf\xbd";
    }
    text.remove_prefix(count);
  }
  out += '"';
}

} // namespace

void json_writer::separate() {
  if (needs_comma_)
    out_ += ',';
  needs_comma_ = true;
}

json_writer& json_writer::begin_object() {
  separate();
  out_ += '{';
  needs_comma_ = false;
  return *this;
}

json_writer& json_writer::end_object() {
  out_ += '}';
  needs_comma_ = true;
  return *this;
}

json_writer& json_writer::begin_array() {
  separate();
  out_ += '[';
  needs_comma_ = false;
  return *this;
}

json_writer& json_writer::end_array() {
  out_ += ']';
  needs_comma_ = true;
  return *this;
}

json_writer& json_writer::key(std::string_view name) {
  separate();
  append_string(out_, name);
  out_ += ':';
  needs_comma_ = false;
  return *this;
}

json_writer& json_writer::string(std::string_view value) {
  separate();
  append_string(out_, value);
  return *this;
}

json_writer& json_writer::integer(int64_t value) {
  fmt::format_int digits{value};
  return raw({digits.data(), digits.size()});
}

json_writer& json_writer::boolean(bool value) {
  return raw(value ? "true" : "false");
}

json_writer& json_writer::null() {
  return raw("null");
}

json_writer& json_writer::raw(std::string_view json) {
  separate();
  out_ += json;
  return *this;
}

json_writer& json_writer::field(std::string_view name, std::string_view value) {
  return key(name).string(value);
}

json_writer& json_writer::field(std::string_view name, int64_t value) {
  return key(name).integer(value);
}

json_writer& json_writer::field(std::string_view name, bool value) {
  return key(name).boolean(value);
}

} // namespace tillstream
