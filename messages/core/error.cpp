#include "messages/core/error.hpp"

#include <caf/atom.hpp>
#include <caf/message.hpp>
#include <caf/sec.hpp>

namespace tillstream {

std::string to_string(errc code) {
  switch (code) {
    case errc::none:
      return "none";
    case errc::invalid:
      return "invalid";
    case errc::not_found:
      return "not-found";
    case errc::overloaded:
      return "overloaded";
    case errc::unavailable:
      return "unavailable";
    case errc::in_doubt:
      return "in-doubt";
    case errc::timeout:
      return "timeout";
    case errc::shutting_down:
      return "shutting-down";
    case errc::not_owner:
      return "not-owner";
    case errc::internal:
      return "internal";
    case errc::in_progress:
      return "in-progress";
  }
  return "unknown";
}

errc code_of(const caf::error& err) {
  return err.category() == caf::atom("tillstream")
           ? static_cast<errc>(err.code())
           : errc::unavailable;
}

std::string describe(const caf::error& err) {
  if (!err)
    return "no error";
  if (err.category() != caf::atom("tillstream"))
    return caf::to_string(err);
  auto result = to_string(static_cast<errc>(err.code()));
  const auto& context = err.context();
  for (size_t i = 0; i < context.size(); ++i) {
    result += i == 0 ? ": " : " ";
    if (context.match_element<std::string>(i))
      result += context.get_as<std::string>(i);
    else
      result += context.stringify(i);
  }
  return result;
}

} // namespace tillstream
