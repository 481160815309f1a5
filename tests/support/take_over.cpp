#include "tests/support/take_over.hpp"

#include "messages/core/error.hpp"
#include "storage/postgres/stores.hpp"
#include "tests/support/must.hpp"

#include <chrono>
#include <stdexcept>
#include <utility>

namespace tillstream::test {

std::vector<ownership>
take_over(const std::string& analytics_dsn, const std::string& node,
          const std::vector<std::string>& branch_ids) {
  auto store = must(storage::open_ownership_store(analytics_dsn));
  for (const auto& x : must(store->nodes()))
    if (auto left = store->leave(x.name, x.incarnation); !left)
      throw std::runtime_error{describe(left.error())};
  storage::node_identity who;
  who.name = node;
  who.roles = "shards";
  auto incarnation = must(store->join(who, std::chrono::hours{1}, true));
  std::vector<ownership> result;
  for (const auto& x : must(store->acquire(node, incarnation, branch_ids)))
    result.push_back({x.branch_id, node, x.epoch});
  return result;
}

} // namespace tillstream::test
