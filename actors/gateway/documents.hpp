#pragma once

#include <string_view>

namespace tillstream {

/// `docs/openapi.json`, carried inside the program.
std::string_view openapi_document();

/// `docs/asyncapi.json`, carried inside the program.
std::string_view asyncapi_document();

} // namespace tillstream
