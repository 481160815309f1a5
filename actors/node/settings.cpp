#include "actors/node/settings.hpp"

#include "messages/core/error.hpp"

#include <sstream>

namespace tillstream {

caf::expected<node_roles> parse_roles(const std::string& text) {
  node_roles result{false, false, false};
  std::istringstream in{text};
  std::string word;
  while (std::getline(in, word, ',')) {
    if (word == "intake")
      result.intake = true;
    else if (word == "shards")
      result.shards = true;
    else if (word == "query")
      result.query = true;
    else
      return caf::make_error(errc::invalid, "there is no role '" + word
                                              + "': intake, shards, query");
  }
  if (!result.intake && !result.shards && !result.query)
    return caf::make_error(errc::invalid, std::string{"a node needs a role"});
  return result;
}

std::vector<std::string> split_list(const std::string& text) {
  std::vector<std::string> result;
  std::istringstream in{text};
  for (std::string word; std::getline(in, word, ',');)
    if (!word.empty())
      result.push_back(word);
  return result;
}

std::string to_string(const node_roles& x) {
  std::string result;
  auto add = [&result](bool has, const char* role) {
    if (has)
      result += (result.empty() ? "" : ",") + std::string{role};
  };
  add(x.intake, "intake");
  add(x.shards, "shards");
  add(x.query, "query");
  return result;
}

} // namespace tillstream
