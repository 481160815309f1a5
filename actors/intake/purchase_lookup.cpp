#include "actors/intake/purchase_lookup.hpp"

#include "actors/intake/ask_store.hpp"
#include "actors/runtime/fault_point.hpp"
#include "actors/runtime/system_config.hpp"
#include "messages/core/error.hpp"
#include "messages/core/limits.hpp"

#include <caf/stateful_actor.hpp>

#include <algorithm>
#include <cassert>
#include <memory>
#include <utility>

namespace tillstream {

namespace {

using self_pointer
  = purchase_lookup_actor::stateful_pointer<purchase_lookup_state>;

constexpr std::string_view log_lost = "purchase_lookup.session_lost";

using found = caf::expected<std::optional<purchase_details>>;

found find_by_key(storage::purchase_lookup_store& reader, const purchase_key& what) {
  for (auto& branch_id : what.branches) {
    auto result = reader.find_by_key(branch_id, *what.idempotency_key);
    if (!result || *result)
      return result;
  }
  return std::optional<purchase_details>{};
}

caf::result<purchase_details_ptr>
find(self_pointer self, const purchase_key& what) {
  fault_point("purchase-lookup.find");
  assert(what.purchase_id.has_value() != what.idempotency_key.has_value());
  auto query = [&](storage::purchase_lookup_store& reader) -> found {
    if (what.purchase_id)
      return reader.find(what.branches, *what.purchase_id);
    return find_by_key(reader, what);
  };
  auto result = ask_store(self, self->state.store, log_lost, query);
  if (!result)
    return result.error();
  purchase_details_ptr answer;
  if (*result)
    answer = std::make_shared<const purchase_details>(std::move(**result));
  return answer;
}

caf::result<customer_page_ptr>
list(self_pointer self, const customer_page_request& what) {
  fault_point("purchase-lookup.list");
  auto limit = std::clamp<size_t>(what.limit, 1, limits::customers_page_max);
  auto query = [&](storage::purchase_lookup_store& reader) {
    return reader.customers(what.after, limit);
  };
  auto result = ask_store(self, self->state.store, log_lost, query);
  if (!result)
    return result.error();
  std::vector<known_customer> page;
  for (auto& x : *result)
    page.push_back({x.user_id, x.since});
  return customer_page_ptr{
    std::make_shared<const std::vector<known_customer>>(std::move(page))};
}

} // namespace

purchase_lookup_actor::behavior_type
purchase_lookup(self_pointer self, purchase_lookup_options options) {
  assert(options.open_store);
  install_handlers(self);
  self->state.store
    = {std::move(options.open_store), options.seed + self->id()};
  return {
    [self](atom::find, const purchase_key& x) { return find(self, x); },
    [self](atom::list, const customer_page_request& x) {
      return list(self, x);
    },
  };
}

} // namespace tillstream
