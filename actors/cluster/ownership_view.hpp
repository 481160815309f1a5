#pragma once

#include "actors/runtime/snapshot_holder.hpp"

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

/// @file actors/cluster/ownership_view.hpp
/// The node's copy of who owns what. A hint: whoever is asked on its strength
/// answers `errc::not_owner` when it is out of date.

namespace tillstream {

/// Branch to the living node that owns it.
using ownership_table = std::map<std::string, std::string, std::less<>>;

using ownership_table_ptr = std::shared_ptr<const ownership_table>;

/// Where the current copy is found, from any thread.
class ownership_view {
public:
  /// Null until the first reading.
  ownership_table_ptr get() const {
    return current_.get();
  }

  void set(ownership_table next) {
    current_.set(std::make_shared<const ownership_table>(std::move(next)));
  }

private:
  snapshot_holder<ownership_table> current_;
};

using ownership_view_ptr = std::shared_ptr<ownership_view>;

} // namespace tillstream
