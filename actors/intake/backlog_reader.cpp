#include "actors/intake/backlog_reader.hpp"

#include "actors/intake/ask_store.hpp"
#include "actors/runtime/fault_point.hpp"
#include "actors/runtime/system_config.hpp"
#include "messages/core/error.hpp"
#include "messages/core/limits.hpp"

#include <caf/stateful_actor.hpp>

#include <cassert>
#include <memory>
#include <utility>

namespace tillstream {

namespace {

using self_pointer
  = backlog_reader_actor::stateful_pointer<backlog_reader_state>;

constexpr std::string_view log_lost = "backlog_reader.session_lost";

caf::result<commit_notices_ptr>
recent(self_pointer self, const std::string& branch_id, timestamp since) {
  fault_point("backlog-reader.recent");
  auto query = [&](storage::backlog_store& outbox) {
    return outbox.recent(branch_id, since, limits::backlog_ids_max);
  };
  auto result = ask_store(self, self->state.store, log_lost, query);
  if (!result)
    return result.error();
  return commit_notices_ptr{
    std::make_shared<const std::vector<commit_notice>>(std::move(*result))};
}

caf::result<int64_t> sent_age(self_pointer self, const std::string& branch_id,
                              const uuid& event_id) {
  fault_point("backlog-reader.state");
  auto query = [&](storage::backlog_store& outbox) {
    return outbox.sent_age(branch_id, event_id);
  };
  auto result = ask_store(self, self->state.store, log_lost, query);
  if (!result)
    return result.error();
  if (!*result)
    return caf::make_error(errc::not_found, "event of " + branch_id);
  return **result;
}

} // namespace

backlog_reader_actor::behavior_type
backlog_reader(self_pointer self, backlog_reader_options options) {
  assert(options.open_store);
  install_handlers(self);
  self->state.store
    = {std::move(options.open_store), options.seed + self->id()};
  return {
    [self](atom::recent, const std::string& branch_id, timestamp since) {
      return recent(self, branch_id, since);
    },
    [self](atom::state, const std::string& branch_id, const uuid& event_id) {
      return sent_age(self, branch_id, event_id);
    },
  };
}

} // namespace tillstream
