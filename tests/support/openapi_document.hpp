#pragma once

#include "actors/gateway/documents.hpp"
#include "messages/codec/json.hpp"

#include <algorithm>
#include <stdexcept>
#include <string>
#include <string_view>

namespace tillstream::tests {

/// `docs/openapi.json` as the program carries it.
class openapi_reader {
public:
  openapi_reader() {
    auto wrong = document_.parse(openapi_document());
    if (!wrong.empty())
      throw std::runtime_error("openapi.json: " + wrong);
  }

  const json_value& root() const {
    return document_.root();
  }

  /// @param method In upper case; `HEAD` is read as `GET`.
  /// @returns the operation, or null.
  const json_value*
  operation(std::string_view method, std::string_view pattern) const {
    auto* paths = root().find("paths");
    auto* item = paths ? paths->find(pattern) : nullptr;
    if (item == nullptr)
      return nullptr;
    std::string verb{method == "HEAD" ? "GET" : method};
    for (auto& c : verb)
      c = static_cast<char>(c + 32);
    return item->find(verb);
  }

  /// @returns the response that the operation documents for a status, followed
  ///          if it is a reference, or null.
  const json_value* response(const json_value& operation, int status) const {
    auto* responses = operation.find("responses");
    auto* x = responses ? responses->find(std::to_string(status)) : nullptr;
    return x ? follow(*x) : nullptr;
  }

  /// Follows `$ref`. @returns null when it leads nowhere.
  const json_value* follow(const json_value& x) const {
    auto* reference = x.find("$ref");
    if (reference == nullptr)
      return &x;
    auto path = reference->text;
    if (!path.starts_with("#/"))
      return nullptr;
    path.remove_prefix(2);
    auto* at = &root();
    while (at != nullptr && !path.empty()) {
      auto end = std::min(path.find('/'), path.size());
      at = at->find(path.substr(0, end));
      path.remove_prefix(std::min(end + 1, path.size()));
    }
    return at;
  }

private:
  json_document document_;
};

} // namespace tillstream::tests
