#include "actors/node/settings.hpp"

#include "messages/core/error.hpp"
#include "storage/ports/event_stream.hpp"

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

storage::nats_settings nats_settings_of(const settings& x) {
  storage::nats_settings result;
  result.url = x.nats_url;
  result.stream.replicas = x.stream_replicas;
  result.stream.placement_cluster = x.stream_placement_cluster;
  result.stream.placement_tags = split_list(x.stream_placement_tags);
  result.stream.bytes_max = x.stream_bytes_max;
  // At least the outbox's retention, so that what is still there can be read
  // from either.
  result.stream.age_max_days = x.retention_days + 1;
  return result;
}

} // namespace tillstream
