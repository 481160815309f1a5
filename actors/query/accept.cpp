#include "actors/query/accept.hpp"

#include <algorithm>
#include <cstddef>

namespace tillstream {

namespace {

std::string_view trim(std::string_view x) {
  constexpr std::string_view blanks = " \t";
  auto begin = x.find_first_not_of(blanks);
  if (begin == std::string_view::npos)
    return {};
  return x.substr(begin, x.find_last_not_of(blanks) - begin + 1);
}

/// Cuts the part before `separator` off the front of `rest`.
std::string_view next_part(std::string_view& rest, char separator) {
  auto end = rest.find(separator);
  auto result = rest.substr(0, end);
  rest
    = end == std::string_view::npos ? std::string_view{} : rest.substr(end + 1);
  return trim(result);
}

/// The weight in thousandths; what can't be read counts as 1.
int weight_of(std::string_view parameters) {
  while (!parameters.empty()) {
    auto x = next_part(parameters, ';');
    if (x.size() < 3 || (x[0] != 'q' && x[0] != 'Q') || x[1] != '=')
      continue;
    x.remove_prefix(2);
    if (x.front() != '0')
      return 1000;
    int result = 0;
    for (size_t i = 2; i < 5; ++i)
      result = result * 10
               + (i < x.size() && x[i] >= '0' && x[i] <= '9' ? x[i] - '0' : 0);
    return result;
  }
  return 1000;
}

bool equals_nocase(std::string_view x, std::string_view lower) {
  auto same = [](char a, char b) {
    return (a >= 'A' && a <= 'Z' ? static_cast<char>(a + ('a' - 'A')) : a) == b;
  };
  return std::equal(x.begin(), x.end(), lower.begin(), lower.end(), same);
}

} // namespace

bool prefers_csv(std::string_view accept) {
  // The most precise range that fits gives the weight.
  int csv = 0, json = 0, csv_rank = 0, json_rank = 0;
  auto take = [](int& weight, int& rank, int new_weight, int new_rank) {
    if (new_rank > rank) {
      weight = new_weight;
      rank = new_rank;
    }
  };
  while (!accept.empty()) {
    auto parameters = next_part(accept, ',');
    auto range = next_part(parameters, ';');
    auto weight = weight_of(parameters);
    if (range == "*/*") {
      take(csv, csv_rank, weight, 1);
      take(json, json_rank, weight, 1);
    } else if (equals_nocase(range, "text/*")) {
      take(csv, csv_rank, weight, 2);
    } else if (equals_nocase(range, "application/*")) {
      take(json, json_rank, weight, 2);
    } else if (equals_nocase(range, "text/csv")) {
      take(csv, csv_rank, weight, 3);
    } else if (equals_nocase(range, "application/json")) {
      take(json, json_rank, weight, 3);
    }
  }
  // Browsers send `text/html, */*`: what nobody asked for by name is JSON.
  return csv_rank >= 2 && csv > json;
}

} // namespace tillstream
