#include "storage/nats/jetstream_api.hpp"

#include "messages/core/error.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>

namespace tillstream::storage::jetstream {

namespace {

template <class T>
bool parse_number(std::string_view text, T& result) {
  auto end = text.data() + text.size();
  auto [position, error] = std::from_chars(text.data(), end, result);
  return error == std::errc{} && position == end;
}

uint64_t unsigned_number(const json_value& object, std::string_view key) {
  uint64_t result = 0;
  const auto* value = object.find(key);
  if (value != nullptr && value->is(json_value::kind::number))
    parse_number(value->text, result);
  return result;
}

std::string_view text_of(const json_value& object, std::string_view key) {
  const auto* value = object.find(key);
  return value != nullptr && value->is(json_value::kind::string)
           ? value->text
           : std::string_view{};
}

void read_api_error(api_answer& answer) {
  const auto* error = answer.root().find("error");
  if (error == nullptr)
    return;
  answer.code = static_cast<api_code>(number(*error, "err_code"));
  answer.error = fmt::format("{} ({})", text_of(*error, "description"),
                             number(*error, "err_code"));
}

} // namespace

caf::expected<api_answer>
ask(broker_link& link, const std::string& what, std::string_view payload,
    std::chrono::milliseconds timeout) {
  auto reply = link.request("$JS.API." + what, payload, timeout);
  if (!reply) {
    if (reply.error() == errc::not_found)
      return caf::make_error(errc::unavailable,
                             "JetStream does not answer; is it enabled on this "
                             "nats-server, and for this account?");
    return reply.error();
  }
  return read_answer(what, *reply);
}

caf::expected<api_answer>
read_answer(const std::string& what, std::string_view text) {
  api_answer result;
  auto problem = result.document.parse(text);
  if (problem.empty() && !result.root().is(json_value::kind::object))
    problem = "no object";
  if (!problem.empty())
    return caf::make_error(
      errc::internal,
      fmt::format("JetStream's answer to {}: {}", what, problem));
  read_api_error(result);
  return result;
}

caf::expected<uint64_t> read_last_seq(const api_answer& answer) {
  if (answer.code == api_code::no_message_found)
    return uint64_t{0};
  if (!answer.error.empty())
    return to_error(answer, "the last message of a branch");
  const auto* message = answer.root().find("message");
  if (message == nullptr)
    return caf::make_error(errc::internal, "JetStream answers without message");
  return unsigned_number(*message, "seq");
}

caf::error to_error(const api_answer& answer, std::string_view what) {
  auto missing = answer.code == api_code::stream_not_found
                 || answer.code == api_code::consumer_not_found;
  return caf::make_error(missing ? errc::not_found : errc::unavailable,
                         fmt::format("{}: {}", what, answer.error));
}

int64_t number(const json_value& object, std::string_view key) {
  int64_t result = 0;
  const auto* value = object.find(key);
  if (value != nullptr && value->is(json_value::kind::number))
    parse_number(value->text, result);
  return result;
}

caf::expected<stream_state> read_stream_state(const json_value& info) {
  const auto* state = info.find("state");
  const auto* config = info.find("config");
  auto created = text_of(info, "created");
  if (state == nullptr || config == nullptr || created.empty())
    return caf::make_error(errc::internal,
                           "JetStream describes a stream without its state");
  stream_state result;
  result.incarnation = std::string{created};
  result.first_seq = unsigned_number(*state, "first_seq");
  result.last_seq = unsigned_number(*state, "last_seq");
  result.messages = unsigned_number(*state, "messages");
  result.bytes = unsigned_number(*state, "bytes");
  result.bytes_max = number(*config, "max_bytes");
  return result;
}

caf::expected<stream_state>
ask_stream_state(broker_link& link, const std::string& name) {
  auto answer = ask(link, "STREAM.INFO." + name);
  if (!answer)
    return answer.error();
  if (!answer->error.empty())
    return to_error(*answer, "stream " + name);
  return read_stream_state(answer->root());
}

bool is_plain_name(std::string_view text) {
  auto plain = [](unsigned char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')
           || (c >= '0' && c <= '9') || c == '_' || c == '-';
  };
  return !text.empty() && text.size() <= 64
         && std::all_of(text.begin(), text.end(), plain);
}

std::optional<ack_subject> parse_ack_subject(std::string_view subject) {
  std::array<std::string_view, 12> tokens;
  size_t count = 0;
  for (;;) {
    if (count == tokens.size())
      return std::nullopt;
    auto end = std::min(subject.find('.'), subject.size());
    tokens[count++] = subject.substr(0, end);
    if (end == subject.size())
      break;
    subject.remove_prefix(end + 1);
  }
  // The long form has domain and account in front, and may have a random token
  // at the end.
  if (count != 9 && count != 11 && count != 12)
    return std::nullopt;
  const auto* fields = tokens.data() + (count == 9 ? 2 : 4);
  ack_subject result;
  result.stream = fields[0];
  result.consumer = fields[1];
  if (tokens[0] != "$JS" || tokens[1] != "ACK"
      || !parse_number(fields[2], result.delivery)
      || !parse_number(fields[3], result.stream_seq)
      || !parse_number(fields[4], result.consumer_seq)
      || !parse_number(fields[6], result.pending))
    return std::nullopt;
  return result;
}

pull_status read_status(natsMsg* msg) {
  pull_status result;
  const char* text = nullptr;
  if (natsMsgHeader_Get(msg, "Status", &text) == NATS_OK && text != nullptr)
    parse_number(std::string_view{text}, result.code);
  text = nullptr;
  if (natsMsgHeader_Get(msg, "Description", &text) == NATS_OK
      && text != nullptr)
    result.description = text;
  return result;
}

publish_ack read_publish_ack(uint64_t token, natsMsg* msg) {
  publish_ack result;
  result.token = token;
  if (natsMsg_IsNoResponders(msg)) {
    result.error = "no stream takes this subject";
    return result;
  }
  api_answer answer;
  result.error = answer.document.parse(
    {natsMsg_GetData(msg), static_cast<size_t>(natsMsg_GetDataLength(msg))});
  if (!result.error.empty())
    return result;
  read_api_error(answer);
  result.error = answer.error;
  result.stream_seq = unsigned_number(answer.root(), "seq");
  const auto* duplicate = answer.root().find("duplicate");
  result.duplicate = duplicate != nullptr && duplicate->boolean;
  if (result.error.empty() && result.stream_seq == 0)
    result.error = "an acknowledgement without a sequence";
  return result;
}

} // namespace tillstream::storage::jetstream
