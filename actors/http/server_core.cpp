#include "actors/http/server_core.hpp"

#include <fmt/format.h>

#include <ctime>

namespace tillstream {

namespace {

/// `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110, 5.6.7), whatever the locale.
std::string http_date(std::time_t t) {
  constexpr const char* days[]
    = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  constexpr const char* months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                    "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  std::tm x{};
  gmtime_r(&t, &x);
  return fmt::format("{}, {:02} {} {} {:02}:{:02}:{:02} GMT", days[x.tm_wday],
                     x.tm_mday, months[x.tm_mon], x.tm_year + 1900, x.tm_hour,
                     x.tm_min, x.tm_sec);
}

} // namespace

const std::string& server_core::date() {
  using std::chrono::seconds;
  auto now = std::chrono::floor<seconds>(std::chrono::system_clock::now());
  if (date_.empty() || now != date_second_) {
    date_ = http_date(std::chrono::system_clock::to_time_t(now));
    date_second_ = now;
  }
  return date_;
}

} // namespace tillstream
