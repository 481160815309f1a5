#include "actors/commands/commands.hpp"
#include "actors/commands/endpoints.hpp"
#include "actors/commands/preparation.hpp"

#include "messages/codec/event_codec.hpp"
#include "messages/codec/json.hpp"
#include "messages/core/error.hpp"
#include "storage/ports/event_stream.hpp"
#include "storage/verify/verifier.hpp"

#include <chrono>
#include <iostream>
#include <thread>

namespace tillstream::commands {

namespace {

namespace po = boost::program_options;

command_options verify_options() {
  command_options result{"verify"};
  auto add = result.flags.add_options();
  add("wait", po::value<std::string>()->default_value("30s"),
      "how long to wait until nothing is pending");
  add("differences-max", po::value<size_t>()->default_value(100),
      "how many differences to print");
  return result;
}

/// The event id of a message, or nothing for what is no event.
std::optional<uuid>
event_id_of(json_document& document, std::string_view payload) {
  if (!document.parse(payload).empty())
    return std::nullopt;
  const auto* id = document.root().find("id");
  if (id == nullptr || !id->is(json_value::kind::string))
    return std::nullopt;
  return parse_uuid(id->text);
}

/// Asks a broker that may be starting, or choosing a new leader, until it
/// answers, at most for `timeout`.
template <class F>
auto retry_while_unavailable(std::chrono::milliseconds timeout, F ask) {
  auto give_up_at = std::chrono::steady_clock::now() + timeout;
  for (;;) {
    auto answer = ask();
    if (answer
        || (answer.error() != errc::unavailable
            && answer.error() != errc::timeout)
        || std::chrono::steady_clock::now() > give_up_at)
      return answer;
    std::this_thread::sleep_for(std::chrono::milliseconds{100});
  }
}

storage::stream_scanner make_scanner(const storage::nats_settings& broker,
                                     std::chrono::milliseconds timeout) {
  return [broker, timeout](
           const storage::stream_visitor& visit) -> caf::expected<void> {
    json_document document;
    bool begun = false;
    caf::error broken_off;
    auto scanned
      = retry_while_unavailable(timeout, [&]() -> caf::expected<void> {
          auto result = storage::scan_stream(
            broker, [&](std::string_view, uint64_t, std::string_view payload) {
              begun = true;
              if (auto id = event_id_of(document, payload))
                visit(*id, payload);
            });
          // What was visited would be counted twice.
          if (!result && begun) {
            broken_off = std::move(result.error());
            return caf::unit;
          }
          return result;
        });
    if (broken_off)
      return broken_off;
    return scanned;
  };
}

void print(const storage::verify_report& x) {
  std::cout << "purchases " << x.purchases << ", items " << x.items
            << ", outbox rows " << x.outbox_rows << ", events in the stream "
            << x.stream_events << ", logged " << x.logged_events
            << ", aggregate rows " << x.aggregate_rows << ", late " << x.late
            << ", quarantined " << x.quarantined << std::endl;
  for (const auto& difference : x.differences)
    std::cout << "DIFFERENT: " << difference << std::endl;
  auto shown = static_cast<int64_t>(x.differences.size());
  if (x.differences_count > shown)
    std::cout << "and " << x.differences_count - shown << " more" << std::endl;
  std::cout << (x.equal() ? "all is equal" : "NOT equal") << std::endl;
}

int verify(const parsed_command& command) {
  auto node_settings = command.node;
  locate_servers(command, node_settings);
  auto broker = nats_settings_of(node_settings);
  storage::verify_options options;
  options.wait_max
    = std::chrono::seconds{parse_duration(command.get<std::string>("wait"))};
  auto stream = retry_while_unavailable(
    options.wait_max, [&broker] { return storage::ensure_stream(broker); });
  if (!stream)
    return report(stream.error());
  options.difference_max = command.get<size_t>("differences-max");
  options.progress
    = [](const std::string& step) { std::cout << step << std::endl; };
  options.scan_stream = make_scanner(broker, options.wait_max);
  if (auto created = parse_rfc3339(stream->incarnation))
    options.stream_since = *created;
  auto result = storage::verify(node_settings.oltp_dsn,
                                node_settings.analytics_dsn, options);
  if (!result)
    return report(result.error());
  print(*result);
  return result->equal() ? done : failed;
}

} // namespace

command verify_command() {
  return {"verify", "[--wait T]",
          "compare everything that is kept; exit 0 only if all is equal",
          verify_options, verify};
}

} // namespace tillstream::commands
