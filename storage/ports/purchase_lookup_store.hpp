#pragma once

#include "messages/model/purchase.hpp"

#include <caf/expected.hpp>

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace tillstream::storage {

/// Finds purchases and customers. Calls block; one thread, one store.
/// `errc::unavailable` means: dead, replace it.
class purchase_lookup_store {
public:
  virtual ~purchase_lookup_store() = default;

  /// @param branches Where to look: the till's branch, or all for the owner.
  /// @returns nothing inside when there is no such purchase.
  virtual caf::expected<std::optional<purchase_details>>
  find(const std::vector<std::string>& branches, const uuid& purchase_id) = 0;

  /// @returns nothing inside when there is no such purchase and nobody is
  ///          writing one; `errc::in_progress` while a writer holds the key,
  ///          after which the store lives on.
  virtual caf::expected<std::optional<purchase_details>>
  find_by_key(const std::string& branch_id, const uuid& idempotency_key) = 0;

  struct customer {
    uuid user_id;
    /// When it became known.
    timestamp since;
  };

  /// Known customers in id order.
  /// @param after Exclusive; nothing: from the start.
  /// @param limit 1..1000
  virtual caf::expected<std::vector<customer>>
  customers(const std::optional<uuid>& after, size_t limit) = 0;
};

using purchase_lookup_store_ptr = std::unique_ptr<purchase_lookup_store>;

} // namespace tillstream::storage
