#include "messages/core/time.hpp"

namespace tillstream {

namespace {

using namespace std::chrono_literals;

using std::chrono::days;
using std::chrono::floor;
using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;
using std::chrono::sys_days;
using std::chrono::year_month_day;

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

/// Takes text from the front, piece by piece.
class scanner {
public:
  explicit scanner(std::string_view text) : rest_(text) {
    // nop
  }

  /// Exactly `count` digits. @returns -1 when there are fewer.
  int digits(size_t count) {
    if (rest_.size() < count)
      return -1;
    int result = 0;
    for (char c : rest_.substr(0, count)) {
      if (!is_digit(c))
        return -1;
      result = result * 10 + (c - '0');
    }
    rest_.remove_prefix(count);
    return result;
  }

  bool take(char c) {
    if (rest_.empty() || rest_.front() != c)
      return false;
    rest_.remove_prefix(1);
    return true;
  }

  bool at_digit() const {
    return !rest_.empty() && is_digit(rest_.front());
  }

  bool at_end() const {
    return rest_.empty();
  }

private:
  std::string_view rest_;
};

bool in_range(int x, int min, int max) {
  return x >= min && x <= max;
}

std::optional<sys_days> scan_date(scanner& in) {
  auto y = in.digits(4);
  if (y < 0 || !in.take('-'))
    return std::nullopt;
  auto m = in.digits(2);
  if (m < 0 || !in.take('-'))
    return std::nullopt;
  auto d = in.digits(2);
  if (d < 0)
    return std::nullopt;
  auto result = year_month_day{std::chrono::year{y},
                               std::chrono::month{static_cast<unsigned>(m)},
                               std::chrono::day{static_cast<unsigned>(d)}};
  if (!result.ok())
    return std::nullopt;
  return sys_days{result};
}

/// `hh:mm:ss`, with 60 as a possible second.
std::optional<seconds> scan_clock(scanner& in) {
  auto h = in.digits(2);
  if (!in_range(h, 0, 23) || !in.take(':'))
    return std::nullopt;
  auto m = in.digits(2);
  if (!in_range(m, 0, 59) || !in.take(':'))
    return std::nullopt;
  auto s = in.digits(2);
  if (!in_range(s, 0, 60))
    return std::nullopt;
  return hours{h} + minutes{m} + seconds{s};
}

/// Optional `.` and digits, cut to milliseconds.
std::optional<milliseconds> scan_fraction(scanner& in) {
  if (!in.take('.'))
    return 0ms;
  if (!in.at_digit())
    return std::nullopt;
  int result = 0;
  for (int weight = 100; in.at_digit(); weight /= 10)
    result += in.digits(1) * weight;
  return milliseconds{result};
}

std::optional<minutes> scan_offset(scanner& in) {
  if (in.take('Z') || in.take('z'))
    return 0min;
  auto sign = 1;
  if (in.take('-'))
    sign = -1;
  else if (!in.take('+'))
    return std::nullopt;
  auto h = in.digits(2);
  if (!in_range(h, 0, 23) || !in.take(':'))
    return std::nullopt;
  auto m = in.digits(2);
  if (!in_range(m, 0, 59))
    return std::nullopt;
  return sign * (hours{h} + minutes{m});
}

void put(std::string& out, unsigned value, size_t digits) {
  char buffer[10];
  for (size_t i = digits; i-- > 0; value /= 10)
    buffer[i] = static_cast<char>('0' + value % 10);
  out.append(buffer, digits);
}

void put_date(std::string& out, calendar_day day) {
  auto date = year_month_day{sys_days{day}};
  put(out, static_cast<unsigned>(static_cast<int>(date.year())), 4);
  out += '-';
  put(out, static_cast<unsigned>(date.month()), 2);
  out += '-';
  put(out, static_cast<unsigned>(date.day()), 2);
}

void put_hours_minutes(std::string& out, minutes x) {
  put(out, static_cast<unsigned>(x / 1h), 2);
  out += ':';
  put(out, static_cast<unsigned>(x % 1h / 1min), 2);
}

/// `YYYY-MM-DDThh:mm:ss`
void put_date_time(std::string& out, timestamp t) {
  auto day = floor<days>(t);
  auto clock = floor<seconds>(t - day);
  put_date(out, day);
  out += 'T';
  put_hours_minutes(out, floor<minutes>(clock));
  out += ':';
  put(out, static_cast<unsigned>(clock % 1min / 1s), 2);
}

} // namespace

std::optional<timestamp> parse_rfc3339(std::string_view text) {
  scanner in{text};
  auto date = scan_date(in);
  if (!date || !(in.take('T') || in.take('t')))
    return std::nullopt;
  auto clock = scan_clock(in);
  if (!clock)
    return std::nullopt;
  auto fraction = scan_fraction(in);
  if (!fraction)
    return std::nullopt;
  auto offset = scan_offset(in);
  if (!offset || !in.at_end())
    return std::nullopt;
  auto result = timestamp{*date} + *clock - *offset;
  // Leap seconds end a day of UTC, nothing else (RFC 3339, 5.7).
  auto is_leap = *clock % 1min == 0s && text.substr(17, 2) == "60";
  if (is_leap && floor<days>(result) != result)
    return std::nullopt;
  return result + *fraction;
}

std::string to_rfc3339(timestamp t) {
  std::string result;
  result.reserve(24);
  put_date_time(result, t);
  result += '.';
  put(result, static_cast<unsigned>((t - floor<seconds>(t)) / 1ms), 3);
  result += 'Z';
  return result;
}

std::string to_rfc3339_local(timestamp t, std::chrono::seconds utc_offset) {
  std::string result;
  result.reserve(25);
  // RFC 3339 has no seconds in an offset: local times before the zones.
  auto offset = std::chrono::duration_cast<minutes>(utc_offset);
  put_date_time(result, t + offset);
  result += offset < 0min ? '-' : '+';
  put_hours_minutes(result, std::chrono::abs(offset));
  return result;
}

std::optional<calendar_day> parse_day(std::string_view text) {
  scanner in{text};
  auto result = scan_date(in);
  if (!result || !in.at_end())
    return std::nullopt;
  auto year = static_cast<int>(year_month_day{*result}.year());
  if (!in_range(year, 1900, 2999))
    return std::nullopt;
  return *result;
}

std::string to_string(calendar_day day) {
  std::string result;
  put_date(result, day);
  return result;
}

int iso_weekday(calendar_day day) {
  auto weekday = std::chrono::weekday{sys_days{day}};
  return static_cast<int>(weekday.iso_encoding());
}

calendar_day week_start(calendar_day day) {
  return day - days{iso_weekday(day) - 1};
}

calendar_day month_start(calendar_day day) {
  auto date = year_month_day{sys_days{day}};
  return sys_days{date.year() / date.month() / 1};
}

calendar_day next_month(calendar_day day) {
  auto date = year_month_day{sys_days{day}};
  return sys_days{(date.year() / date.month() + std::chrono::months{1}) / 1};
}

timestamp wall_clock_now() {
  return floor<milliseconds>(std::chrono::system_clock::now());
}

} // namespace tillstream
