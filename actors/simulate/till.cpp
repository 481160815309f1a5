#include "actors/simulate/till.hpp"

#include "messages/core/error.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <limits>
#include <thread>

namespace tillstream::commands {

namespace {

using namespace std::chrono_literals;

using kind = sale_result::kind;

/// How long a wait may overlook that somebody wants to stop.
constexpr auto stop_poll_interval = 20ms;

/// Reads `Retry-After` in seconds; its form as a date is ignored, which the
/// backoff makes up for.
std::chrono::milliseconds
retry_after(const http_response& answer, std::chrono::milliseconds max) {
  auto text = answer.header("retry-after").value_or("");
  unsigned value = 0;
  auto end = text.data() + text.size();
  if (auto [rest, error] = std::from_chars(text.data(), end, value);
      error != std::errc{} || rest != end)
    return 0ms;
  return std::min(max, std::chrono::milliseconds{std::chrono::seconds{value}});
}

std::string text_of(const json_value& object, std::string_view name) {
  const auto* x = object.find(name);
  return x != nullptr && x->is(json_value::kind::string) ? std::string{x->text}
                                                         : std::string{};
}

/// `/problems/validation-failed` is `validation-failed`.
std::string problem_name(const json_value& problem) {
  auto type = text_of(problem, "type");
  return type.substr(type.rfind('/') + 1);
}

/// The first pointer, its indexes as `*`: `/items/7/qty` and `/items/1/qty`
/// are one reason.
std::string first_pointer(const json_value& problem) {
  const auto* errors = problem.find("errors");
  if (errors == nullptr || errors->elements.empty())
    return {};
  std::string result;
  for (auto c : text_of(errors->elements.front(), "pointer")) {
    auto digit = c >= '0' && c <= '9';
    if (digit && (result.ends_with('/') || result.ends_with("/*"))) {
      if (result.ends_with('/'))
        result += '*';
      continue;
    }
    result += c;
  }
  return result;
}

/// A no to this sale, not to this till or to all sales: those say that the
/// simulation is set up wrongly.
bool refuses_sale(int status) {
  return status == 400 || status == 409 || status == 413 || status == 422;
}

bool asks_again(int status, const std::string& problem) {
  return status >= 500 || status == 429
         || (status == 409 && problem == "request-in-progress");
}

} // namespace

till::till(const till_options& options, uint64_t seed)
  : options_(options),
    client_(options.host, options.port),
    prng_(seed) {
  // nop
}

sale_result till::post(const sale& what) {
  unsigned resent = 0;
  for (unsigned attempt = 1;; ++attempt) {
    auto last = post_once(what);
    resent += last.result.attempts - 1;
    last.result.attempts = attempt + resent;
    if (!last.again || attempt == options_.retry.attempts_max)
      return last.result;
    auto next = std::chrono::steady_clock::now() + pause_after(attempt, last);
    if (!sleep_until(next, options_.stop)) {
      last.result.reason = "stopped before there was an answer";
      return last.result;
    }
  }
}

till::reading till::post_once(const sale& what) {
  auto answer
    = client_.request("POST", "/purchases",
                      {{"Authorization", "Bearer " + key_of(what.branch_id)},
                       {"Content-Type", "application/json"}},
                      what.body);
  if (!answer) {
    reading result;
    result.again = true;
    result.result.reason = describe(answer.error());
    return result;
  }
  auto result
    = answer->status == 201 ? read_recorded(*answer) : read_problem(*answer);
  // The client posts again itself when a connection had ended unnoticed.
  result.result.attempts = answer->resent ? 2 : 1;
  return result;
}

till::reading till::read_recorded(const http_response& answer) {
  reading result;
  auto& x = result.result;
  auto total_max = std::numeric_limits<minor_units>::max();
  if (!document_.parse(answer.body).empty()
      || parse_money(text_of(document_.root(), "total"), options_.currency,
                     total_max, false, x.total)
           != money_error::none) {
    x.reason = "a 201 that cannot be understood";
    return result;
  }
  x.what
    = answer.header("idempotent-replayed") ? kind::replayed : kind::recorded;
  const auto* fresh = document_.root().find("new_customer");
  if (fresh != nullptr && fresh->is(json_value::kind::boolean)
      && fresh->boolean)
    x.new_customer = text_of(document_.root(), "user_id");
  return result;
}

till::reading till::read_problem(const http_response& answer) {
  reading result;
  std::string name;
  std::string pointer;
  if (document_.parse(answer.body).empty()) {
    name = problem_name(document_.root());
    pointer = first_pointer(document_.root());
  }
  result.again = asks_again(answer.status, name);
  result.retry_after = retry_after(answer, options_.retry.retry_after_max);
  result.result.what = !result.again && refuses_sale(answer.status)
                         ? kind::refused
                         : kind::failed;
  result.result.reason = fmt::format("{} {}{}{}", answer.status,
                                     name.empty() ? "without a reason" : name,
                                     pointer.empty() ? "" : " ", pointer);
  return result;
}

const std::string& till::key_of(const std::string& branch_id) const {
  // A sale of a branch that the chain lacks goes out with any key: the server
  // says that the branch is unknown before it says whose key it is.
  auto i = options_.keys.find(branch_id);
  return i != options_.keys.end() ? i->second : options_.keys.begin()->second;
}

std::chrono::milliseconds
till::pause_after(unsigned attempt, const reading& last) {
  auto backoff = options_.retry.backoff_min.count();
  for (unsigned i = 1; i < attempt; ++i)
    backoff = std::min(2 * backoff, options_.retry.backoff_max.count());
  auto half = backoff / 2;
  auto jitter = static_cast<int64_t>(
    prng_() % (static_cast<uint64_t>(backoff - half) + 1));
  // Not before the server wants, and not all at the same moment after.
  return std::max(std::chrono::milliseconds{half}, last.retry_after)
         + std::chrono::milliseconds{jitter};
}

bool sleep_until(std::chrono::steady_clock::time_point when,
                 const std::atomic<bool>* stop) {
  for (;;) {
    if (stop != nullptr && *stop)
      return false;
    auto now = std::chrono::steady_clock::now();
    if (now >= when)
      return true;
    std::this_thread::sleep_until(
      stop == nullptr ? when : std::min(when, now + stop_poll_interval));
  }
}

} // namespace tillstream::commands
