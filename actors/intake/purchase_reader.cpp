#include "actors/intake/purchase_reader.hpp"

#include "actors/runtime/fault_point.hpp"
#include "actors/runtime/system_config.hpp"
#include "messages/core/error.hpp"
#include "messages/core/limits.hpp"
#include "messages/core/log.hpp"

#include <caf/stateful_actor.hpp>

#include <algorithm>
#include <cassert>
#include <memory>
#include <utility>

namespace tillstream {

namespace {

using self_pointer
  = purchase_reader_actor::stateful_pointer<purchase_reader_state>;

constexpr std::string_view log_lost = "reader-session-lost";

/// Asks the store; once more if its session turns out to be broken and a new
/// one can be had at once.
template <class Store, class Query>
auto ask(self_pointer self, session<Store>& store, Query query)
  -> decltype(query(*store)) {
  while (store.open(self->clock().now())) {
    auto result = query(*store);
    if (result || result.error() == errc::in_progress)
      return result;
    log::warning(log_lost, {{"error", describe(result.error())}});
    store.drop(self->clock().now(), result.error());
  }
  return store.error();
}

using found = caf::expected<std::optional<purchase_details>>;

found find_by_key(storage::purchase_lookup_store& reader,
                  const purchase_lookup& what) {
  for (auto& branch_id : what.branches) {
    auto result = reader.find_by_key(branch_id, *what.idempotency_key);
    if (!result || *result)
      return result;
  }
  return std::optional<purchase_details>{};
}

caf::result<purchase_details_ptr>
find(self_pointer self, const purchase_lookup& what) {
  fault_point("purchase-reader.find");
  assert(what.purchase_id.has_value() != what.idempotency_key.has_value());
  auto query = [&](storage::purchase_lookup_store& reader) -> found {
    if (what.purchase_id)
      return reader.find(what.branches, *what.purchase_id);
    return find_by_key(reader, what);
  };
  auto result = ask(self, self->state.reader, query);
  if (!result)
    return result.error();
  purchase_details_ptr answer;
  if (*result)
    answer = std::make_shared<const purchase_details>(std::move(**result));
  return answer;
}

caf::result<customer_page_ptr>
list(self_pointer self, const customer_page_request& what) {
  fault_point("purchase-reader.list");
  auto limit = std::clamp<size_t>(what.limit, 1, limits::customers_page_max);
  auto query = [&](storage::purchase_lookup_store& reader) {
    return reader.customers(what.after, limit);
  };
  auto result = ask(self, self->state.reader, query);
  if (!result)
    return result.error();
  std::vector<known_customer> page;
  for (auto& x : *result)
    page.push_back({x.user_id, x.since});
  return customer_page_ptr{
    std::make_shared<const std::vector<known_customer>>(std::move(page))};
}

caf::result<commit_notices_ptr>
recent(self_pointer self, const std::string& branch_id, timestamp since) {
  fault_point("purchase-reader.recent");
  auto query = [&](storage::backlog_store& backlog) {
    return backlog.recent(branch_id, since, limits::backlog_ids_max);
  };
  auto result = ask(self, self->state.backlog, query);
  if (!result)
    return result.error();
  return commit_notices_ptr{
    std::make_shared<const std::vector<commit_notice>>(std::move(*result))};
}

caf::result<int64_t> sent_age(self_pointer self, const std::string& branch_id,
                              const uuid& event_id) {
  fault_point("purchase-reader.state");
  auto query = [&](storage::backlog_store& backlog) {
    return backlog.sent_age(branch_id, event_id);
  };
  auto result = ask(self, self->state.backlog, query);
  if (!result)
    return result.error();
  if (!*result)
    return caf::make_error(errc::not_found, "event of " + branch_id);
  return **result;
}

} // namespace

purchase_reader_actor::behavior_type
purchase_reader(self_pointer self, purchase_reader_options options) {
  assert(options.open_reader && options.open_backlog);
  install_handlers(self);
  auto& state = self->state;
  std::mt19937_64 seeds{options.seed + self->id()};
  state.reader = {std::move(options.open_reader), seeds()};
  state.backlog = {std::move(options.open_backlog), seeds()};
  return {
    [self](atom::find, const purchase_lookup& x) { return find(self, x); },
    [self](atom::list, const customer_page_request& x) {
      return list(self, x);
    },
    [self](atom::recent, const std::string& branch_id, timestamp since) {
      return recent(self, branch_id, since);
    },
    [self](atom::state, const std::string& branch_id, const uuid& event_id) {
      return sent_age(self, branch_id, event_id);
    },
  };
}

} // namespace tillstream
