#include "storage/postgres/values.hpp"

#include <charconv>
#include <stdexcept>

namespace tillstream::storage::postgres {

uuid as_uuid(const value_view& x) {
  auto result = parse_uuid(x.text());
  if (!result)
    throw std::runtime_error("not a UUID in column " + std::string{x.column});
  return *result;
}

timestamp as_timestamp(const value_view& x) {
  return from_ms(as_int(x));
}

calendar_day as_day(const value_view& x) {
  auto result = parse_day(x.text());
  if (!result)
    throw std::runtime_error("not a day in column " + std::string{x.column});
  return *result;
}

int64_t as_int(const value_view& x) {
  int64_t result = 0;
  const auto* end = x.data + x.size;
  auto [rest, error] = std::from_chars(x.data, end, result);
  if (x.is_null || error != std::errc{} || rest != end)
    throw std::runtime_error("not an integer in column "
                             + std::string{x.column});
  return result;
}

bool as_bool(const value_view& x) {
  return !x.is_null && x.data[0] == 't';
}

std::string as_text(const value_view& x) {
  return x.is_null ? std::string{} : std::string{x.text()};
}

} // namespace tillstream::storage::postgres
