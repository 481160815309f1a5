#include "actors/query/accept.hpp"

#include "messages/core/text.hpp"

#include <algorithm>
#include <cstddef>

namespace tillstream {

namespace {

/// The weight in thousandths; what can't be read counts as 1.
int weight_of(std::string_view parameters) {
  while (!parameters.empty()) {
    auto x = trim(next_part(parameters, ';'));
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
    auto range = trim(next_part(parameters, ';'));
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
