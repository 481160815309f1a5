#include "messages/core/error.hpp"
#include "messages/core/log.hpp"
#include "storage/nats/jetstream_api.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <utility>

namespace tillstream::storage {

namespace {

using namespace jetstream;
using namespace std::chrono_literals;
using std::chrono::nanoseconds;

/// Log events.
constexpr const char* smaller_stream = "stream.smaller_than_asked";

/// How long the server recognises a `Nats-Msg-Id`: longer than any publish
/// that is tried again without a new one.
constexpr auto duplicate_window = 2min;

/// Below this a stream is no use: 64 MiB are some 60,000 events.
constexpr int64_t bytes_floor = int64_t{64} << 20;

/// Two nodes may create the stream at once; each reads it again then.
constexpr int attempts_max = 3;

/// A stream's configuration: member to JSON value.
using config = std::map<std::string, std::string>;

std::string as_json(std::string_view text) {
  std::string result;
  json_writer{result}.string(text);
  return result;
}

/// Where a cluster may put the stream. @pre there is a wish
std::string placement(const stream_settings& settings) {
  std::string result;
  json_writer out{result};
  out.begin_object();
  if (!settings.placement_cluster.empty())
    out.field("cluster", settings.placement_cluster);
  if (!settings.placement_tags.empty()) {
    out.key("tags").begin_array();
    for (const auto& tag : settings.placement_tags)
      out.string(tag);
    out.end_array();
  }
  out.end_object();
  return result;
}

config desired_config(const stream_settings& settings) {
  auto age = nanoseconds{24h} * settings.age_max_days;
  config result{
    {"name", as_json(settings.name)},
    {"subjects", fmt::format("[{}]", as_json(settings.subjects))},
    {"retention", as_json("limits")},
    {"storage", as_json("file")},
    // Full: an error to who publishes, whose outbox waits. 'Old' would drop
    // what a shard has not read yet.
    {"discard", as_json("new")},
    {"max_age", std::to_string(age.count())},
    {"max_bytes", std::to_string(settings.bytes_max)},
    {"num_replicas", std::to_string(settings.replicas)},
    {"duplicate_window", std::to_string(nanoseconds{duplicate_window}.count())},
    // Costs nothing, and shows the version of the server: 2.9 has it.
    {"allow_direct", "true"},
  };
  if (!settings.placement_cluster.empty() || !settings.placement_tags.empty())
    result["placement"] = placement(settings);
  return result;
}

void render(json_writer& out, const json_value& value) {
  switch (value.type) {
    case json_value::kind::null:
      out.null();
      break;
    case json_value::kind::boolean:
      out.boolean(value.boolean);
      break;
    case json_value::kind::number:
      out.raw(value.text);
      break;
    case json_value::kind::string:
      out.string(value.text);
      break;
    case json_value::kind::array:
      out.begin_array();
      for (const auto& x : value.elements)
        render(out, x);
      out.end_array();
      break;
    case json_value::kind::object:
      out.begin_object();
      for (const auto& [name, x] : value.members) {
        out.key(name);
        render(out, x);
      }
      out.end_object();
      break;
  }
}

config read_config(const json_value& info) {
  config result;
  const auto* stored = info.find("config");
  if (stored == nullptr)
    return result;
  for (const auto& [name, value] : stored->members) {
    auto& text = result[std::string{name}];
    json_writer out{text};
    render(out, value);
  }
  return result;
}

std::string to_json(const config& wanted) {
  std::string result;
  json_writer out{result};
  out.begin_object();
  for (const auto& [name, value] : wanted)
    out.key(name).raw(value);
  out.end_object();
  return result;
}

bool exceeds_resources(const api_answer& answer) {
  return answer.code == api_code::account_resources_exceeded
         || answer.code == api_code::memory_resources_exceeded
         || answer.code == api_code::storage_resources_exceeded;
}

/// Sends a configuration, with half the size as long as that is the trouble:
/// a small machine may lack the space that a stream is promised.
caf::expected<api_answer>
submit(broker_link& link, const std::string& request, config wanted,
       int64_t bytes_max, int64_t bytes_min) {
  auto bytes = bytes_max;
  for (;;) {
    wanted["max_bytes"] = std::to_string(bytes);
    auto answer = ask(link, request, to_json(wanted));
    if (!answer || !exceeds_resources(*answer) || bytes <= bytes_min) {
      if (bytes < bytes_max)
        log::warning(smaller_stream, {{"asked", bytes_max}, {"got", bytes}});
      return answer;
    }
    bytes = std::max(bytes / 2, bytes_min);
  }
}

bool is_as_wanted(const config& stored, const config& wanted) {
  return std::all_of(wanted.begin(), wanted.end(), [&](const auto& member) {
    auto found = stored.find(member.first);
    return found != stored.end() && found->second == member.second;
  });
}

caf::expected<void> check_settings(const stream_settings& settings) {
  if (!is_plain_name(settings.name))
    return caf::make_error(errc::invalid, "not a stream name");
  if (settings.age_max_days < 1 || settings.bytes_max < 1
      || settings.replicas < 1)
    return caf::make_error(errc::invalid,
                           "a stream's age, size and replicas must be at "
                           "least 1");
  return {};
}

caf::expected<stream_state>
conclude(const caf::expected<api_answer>& answer, const std::string& name) {
  if (!answer)
    return answer.error();
  if (!answer->error.empty())
    return to_error(*answer, "stream " + name);
  const auto* stored = answer->root().find("config");
  if (stored == nullptr || stored->find("allow_direct") == nullptr)
    return caf::make_error(errc::invalid, "this nats-server is older than 2.9");
  return read_stream_state(answer->root());
}

/// Changes what differs and leaves what an operator added.
caf::expected<stream_state>
update(broker_link& link, const stream_settings& settings,
       const caf::expected<api_answer>& info) {
  auto stored = read_config(info->root());
  auto wanted = desired_config(settings);
  if (is_as_wanted(stored, wanted))
    return conclude(info, settings.name);
  auto bytes = number(*info->root().find("config"), "max_bytes");
  for (const auto& [name, value] : wanted)
    stored[name] = value;
  // What it was promised before, it keeps.
  auto bytes_min = bytes > 0 ? std::min(bytes, settings.bytes_max)
                             : std::min(bytes_floor, settings.bytes_max);
  return conclude(submit(link, "STREAM.UPDATE." + settings.name, stored,
                         settings.bytes_max, bytes_min),
                  settings.name);
}

} // namespace

caf::expected<stream_state> ensure_stream(const nats_settings& settings) {
  const auto& stream = settings.stream;
  if (auto valid = check_settings(stream); !valid)
    return valid.error();
  auto link = broker_link::open(settings);
  if (!link)
    return link.error();
  for (int attempt = 1;; ++attempt) {
    auto info = ask(**link, "STREAM.INFO." + stream.name);
    if (!info)
      return info.error();
    if (info->error.empty())
      return update(**link, stream, info);
    if (info->code != api_code::stream_not_found)
      return to_error(*info, "stream " + stream.name);
    auto made
      = submit(**link, "STREAM.CREATE." + stream.name, desired_config(stream),
               stream.bytes_max, std::min(bytes_floor, stream.bytes_max));
    if (!made || made->code != api_code::stream_name_in_use
        || attempt == attempts_max)
      return conclude(made, stream.name);
  }
}

} // namespace tillstream::storage
