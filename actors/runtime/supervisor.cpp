#include "actors/runtime/supervisor.hpp"

#include "messages/core/log.hpp"

namespace tillstream::detail {

namespace {

constexpr std::string_view log_ended = "actor.ended";
constexpr std::string_view log_gave_up = "supervisor.gave_up";
constexpr std::string_view log_killed = "actor.killed";
constexpr std::string_view metric_restarts = "tillstream_actor_restarts_total";

} // namespace

restart_policy::restart_policy(const supervisor_options& options)
  : restarts_max_(options.restarts_max),
    window_(options.restart_window),
    backoff_(options.seed, options.backoff_min, options.backoff_max) {
  // nop
}

std::optional<caf::timespan> restart_policy::admit(time_point now) {
  while (!recent_.empty() && recent_.front() + window_ < now)
    recent_.pop_front();
  if (recent_.empty())
    backoff_.reset();
  if (recent_.size() == restarts_max_)
    return std::nullopt;
  recent_.push_back(now);
  return backoff_.next();
}

void log_child_end(const std::string& name, const caf::error& reason,
                   std::optional<caf::timespan> restart_in) {
  if (!restart_in) {
    log::error(log_gave_up, {{"actor", name}, {"reason", describe(reason)}});
    return;
  }
  auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(*restart_in);
  log::warning(log_ended, {{"actor", name},
                           {"reason", describe(reason)},
                           {"restart_in_ms", ms.count()}});
}

void log_shutdown_kill(const std::string& name) {
  log::warning(log_killed, {{"actor", name}});
}

counter& restarts_of(const std::string& name) {
  return metrics().get_counter(metric_restarts,
                               "Children that a supervisor replaced.",
                               metric_label("actor", name));
}

} // namespace tillstream::detail
