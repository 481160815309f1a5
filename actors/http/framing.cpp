#include "actors/http/framing.hpp"

#include "messages/core/text.hpp"

#include <algorithm>
#include <charconv>

namespace tillstream {

namespace {

using verdict = request_framing::verdict;

constexpr std::string_view crlf = "\r\n";

request_framing malformed(std::string_view reason) {
  request_framing result;
  result.outcome = verdict::malformed;
  result.reason = reason;
  return result;
}

bool is_control(char c) {
  auto x = static_cast<unsigned char>(c);
  return (x < 0x20 && c != '\t') || x == 0x7f;
}

/// Plain digits only: no sign, no list, nothing that overflows.
bool parse_length(std::string_view text, uint64_t& out) {
  auto last = text.data() + text.size();
  if (text.empty() || text.front() < '0' || text.front() > '9')
    return false;
  auto [end, err] = std::from_chars(text.data(), last, out);
  return err == std::errc{} && end == last;
}

/// Collects what the fields say while it reads them.
class field_scanner {
public:
  /// @returns why the line is refused, or nothing.
  std::string_view take(std::string_view line) {
    if (line.front() == ' ' || line.front() == '\t')
      return "folded header lines are not accepted";
    auto colon = line.find(':');
    if (colon == std::string_view::npos || colon == 0)
      return "a header line has no name";
    auto name = line.substr(0, colon);
    if (!std::all_of(name.begin(), name.end(), is_token_char))
      return "a header name is not a token";
    return take_field(name, trim(line.substr(colon + 1)));
  }

  bool transfer_encoding = false;
  uint64_t length = 0;

private:
  std::string_view take_field(std::string_view name, std::string_view value) {
    if (equals_nocase(name, "transfer-encoding")) {
      transfer_encoding = true;
    } else if (equals_nocase(name, "content-length")) {
      if (++lengths_ > 1)
        return "more than one Content-Length";
      if (!parse_length(value, length))
        return "Content-Length is not a number";
    } else if (equals_nocase(name, "host")) {
      if (++hosts_ > 1)
        return "more than one Host";
    }
    return {};
  }

  int lengths_ = 0;
  int hosts_ = 0;
};

/// @returns why the bytes cannot be the beginning of a header section.
std::string_view check_bytes(std::string_view bytes) {
  for (size_t i = 0; i < bytes.size(); ++i) {
    if (bytes[i] == '\r') {
      if (i + 1 < bytes.size() && bytes[i + 1] != '\n')
        return "a line ends in CR alone";
    } else if (bytes[i] == '\n') {
      if (i == 0 || bytes[i - 1] != '\r')
        return "a line ends in LF alone";
    } else if (is_control(bytes[i])) {
      return "a control character in the header section";
    }
  }
  return {};
}

/// @param lines The section without its empty line.
request_framing scan_fields(std::string_view lines, size_t header_bytes) {
  field_scanner fields;
  // The request line is left to the parser behind us.
  for (auto at = lines.find(crlf); at < lines.size();) {
    at += crlf.size();
    auto end = std::min(lines.find(crlf, at), lines.size());
    if (at == end)
      break;
    if (auto reason = fields.take(lines.substr(at, end - at)); !reason.empty())
      return malformed(reason);
    at = end;
  }
  request_framing result;
  result.outcome
    = fields.transfer_encoding ? verdict::transfer_encoding : verdict::complete;
  result.header_bytes = header_bytes;
  result.body_bytes = fields.length;
  return result;
}

} // namespace

bool is_token_char(char c) {
  constexpr std::string_view marks = "!#$%&'*+-.^_`|~";
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')
         || (c >= '0' && c <= '9')
         || (c != '\0' && marks.find(c) != std::string_view::npos);
}

request_framing scan_request(std::string_view bytes) {
  auto end = bytes.find("\r\n\r\n");
  auto section = end == std::string_view::npos ? bytes : bytes.substr(0, end);
  // Refused at once, although the section's end may never come.
  if (auto reason = check_bytes(section); !reason.empty())
    return malformed(reason);
  if (end == std::string_view::npos)
    return {};
  return scan_fields(section, end + 4);
}

} // namespace tillstream
