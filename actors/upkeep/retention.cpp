#include "actors/upkeep/retention.hpp"

namespace tillstream {

namespace {

caf::expected<void> prune_aggregates(const retention_options& options) {
  auto store = options.open_aggregates();
  if (!store)
    return store.error();
  for (int i = 0; i < options.deletes_max; ++i) {
    auto rows = (*store)->prune(options.rows_max);
    if (!rows)
      return rows.error();
    if (*rows < options.rows_max)
      break;
  }
  return caf::unit;
}

} // namespace

caf::expected<std::vector<std::string>>
apply_retention(const retention_options& options, const std::string& schema) {
  if (schema == "analytics")
    if (auto pruned = prune_aggregates(options); !pruned)
      return pruned.error();
  return options.maintain_partitions(schema);
}

} // namespace tillstream
