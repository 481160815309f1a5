#include "actors/query/parameter_reader.hpp"

#include "messages/core/limits.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

namespace tillstream {

namespace {

constexpr size_t limit_default = 10;

} // namespace

parameter_reader::parameter_reader(const http_request& request)
  : rest_(request.query) {
  if (request.garbled_parameter)
    refuse(*request.garbled_parameter,
           "must be percent-encoded UTF-8 without U+0000");
}

void parameter_reader::refuse(std::string_view name, std::string detail) {
  if (!wrong_)
    wrong_.emplace(std::string{name}, std::move(detail));
}

bool parameter_reader::has(std::string_view name) const {
  auto is_it = [&](const auto& x) { return x.first == name; };
  return std::any_of(rest_.begin(), rest_.end(), is_it);
}

std::vector<std::string> parameter_reader::take_all(std::string_view name) {
  std::vector<std::string> result;
  std::erase_if(rest_, [&](auto& x) {
    if (x.first != name)
      return false;
    result.push_back(std::move(x.second));
    return true;
  });
  return result;
}

std::optional<std::string> parameter_reader::take(std::string_view name) {
  auto xs = take_all(name);
  if (xs.size() > 1)
    refuse(name, "may be given once only");
  if (xs.empty())
    return std::nullopt;
  return std::move(xs.front());
}

std::optional<calendar_day> parameter_reader::take_day(std::string_view name) {
  auto text = take(name);
  if (!text)
    return std::nullopt;
  auto result = parse_day(*text);
  if (!result)
    refuse(name, "must be a date YYYY-MM-DD");
  return result;
}

size_t parameter_reader::take_limit() {
  auto text = take("limit");
  if (!text)
    return limit_default;
  size_t result = 0;
  auto end = text->data() + text->size();
  auto [last, err] = std::from_chars(text->data(), end, result);
  if (err != std::errc{} || last != end || result < 1
      || result > limits::rank_max)
    refuse("limit",
           fmt::format("must be a number from 1 to {}", limits::rank_max));
  return result;
}

bool parameter_reader::take_choice(std::string_view name, std::string_view yes,
                                   std::string_view no, bool preset) {
  auto text = take(name);
  if (!text)
    return preset;
  if (*text != yes && *text != no)
    refuse(name, fmt::format("must be {} or {}", yes, no));
  return *text == yes;
}

bucket_size
parameter_reader::take_size(std::string_view name, bucket_size smallest) {
  auto text = take(name);
  if (!text)
    return bucket_size::day;
  if (auto size = find_bucket_size(*text); size && *size >= smallest)
    return *size;
  refuse(name, smallest == bucket_size::hour
                 ? "must be hour, day, week or month"
                 : "must be day, week or month");
  return bucket_size::day;
}

void parameter_reader::finish() {
  if (!rest_.empty())
    refuse(rest_.front().first, "is not a parameter of this question");
}

} // namespace tillstream
