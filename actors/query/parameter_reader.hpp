#pragma once

#include "actors/query/buckets.hpp"
#include "messages/core/time.hpp"
#include "messages/model/http.hpp"

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace tillstream {

/// Takes parameters out of a query and keeps the first thing that is wrong.
class parameter_reader {
public:
  /// A parameter and what is wrong with it.
  using complaint = std::pair<std::string, std::string>;

  explicit parameter_reader(const http_request& request);

  void refuse(std::string_view name, std::string detail);

  const std::optional<complaint>& wrong() const {
    return wrong_;
  }

  /// Whether a name is still there to be taken.
  bool has(std::string_view name) const;

  /// Takes all values of a name.
  std::vector<std::string> take_all(std::string_view name);

  std::optional<std::string> take(std::string_view name);

  std::optional<calendar_day> take_day(std::string_view name);

  /// `limit`, or its default.
  size_t take_limit();

  /// Takes one of two words. @returns whether it is `yes`.
  bool take_choice(std::string_view name, std::string_view yes,
                   std::string_view no, bool preset);

  /// Takes a size, a day by default.
  bucket_size take_size(std::string_view name, bucket_size smallest);

  /// What nobody took is unknown.
  void finish();

private:
  header_list rest_;
  std::optional<complaint> wrong_;
};

} // namespace tillstream
