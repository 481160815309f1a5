#include "storage/nats/pull_consumer.hpp"

#include "storage/nats/consumer_config.hpp"

#include <algorithm>
#include <utility>

namespace tillstream::storage::jetstream {

namespace {

using namespace std::chrono_literals;

/// An answer of the server that does not come.
constexpr auto answer_max = 10s;
/// A request that is neither filled nor ended so long after it expired has no
/// consumer any more: a 2.9 server does not say so, later ones do at once.
constexpr auto pull_grace = 5s;
/// Before a request that the server refused is made again.
constexpr auto refused_wait = 200ms;

} // namespace

pull_end classify(const pull_status& status) {
  auto says = [&](std::string_view text) {
    return status.description.find(text) != std::string::npos;
  };
  switch (status.code) {
    case 100: // heartbeat
      return pull_end::none;
    case 404: // nothing there
    case 408: // expired
      return pull_end::renew;
    case 409:
      return says("Deleted") || says("not found") || says("push based")
               ? pull_end::lost
               : pull_end::refused;
    default: // 503: nobody listens there
      return pull_end::lost;
  }
}

void pull_consumer::request(std::string what, std::string payload,
                            uint64_t token, time_point now,
                            source_actions& out) {
  token_ = token;
  waiting_ = true;
  deadline_ = now + answer_max;
  out.requests.push_back({std::move(what), token, std::move(payload)});
}

void pull_consumer::create(std::string name, const std::string& stream,
                           std::string config, uint64_t token, time_point now,
                           source_actions& out) {
  adopt(std::move(name));
  request(consumer_operation("DURABLE.CREATE", stream, name_),
          std::move(config), token, now, out);
}

void pull_consumer::adopt(std::string name) {
  name_ = std::move(name);
  waiting_ = false;
  expected_ = 0;
}

void pull_consumer::remove(const std::string& stream, source_actions& out) {
  // Nobody waits for the answer; the server removes idle ones anyway.
  if (exists())
    out.requests.push_back(
      {consumer_operation("DELETE", stream, name_), 0, {}});
  adopt({});
}

void pull_consumer::pull(const std::string& stream, size_t count,
                         std::chrono::nanoseconds expires, uint64_t token,
                         time_point now, source_actions& out) {
  request(consumer_operation("MSG.NEXT", stream, name_),
          pull_request(count, expires), token, now, out);
  expected_ = count;
  deadline_ = now + expires + pull_grace;
}

void pull_consumer::received() {
  if (expected_ > 0 && --expected_ == 0)
    waiting_ = false;
}

pull_end pull_consumer::take_status(const pull_status& status, time_point now) {
  auto end = classify(status);
  if (end == pull_end::none)
    return end;
  waiting_ = false;
  expected_ = 0;
  if (end == pull_end::refused)
    not_before_ = now + refused_wait;
  return end;
}

} // namespace tillstream::storage::jetstream
