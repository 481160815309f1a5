#pragma once

#include "tests/system/running_program.hpp"

#include <atomic>
#include <map>
#include <mutex>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <vector>

/// @file tests/system/ledger.hpp
/// Tills that write down each attempt before they send it, so that what the
/// databases say can be held against what was promised (ARCHITECTURE,
/// 'Testing').

namespace tillstream::test {

/// What became of each sale, by idempotency key.
class ledger {
public:
  enum class fate { unknown, accepted, refused };

  void attempt(const std::string& key) {
    std::lock_guard guard{mutex_};
    fates_.emplace(key, fate::unknown);
  }

  void settle(const std::string& key, int status) {
    std::lock_guard guard{mutex_};
    if (status == 201)
      fates_[key] = fate::accepted;
    else if (status == 422 || status == 400)
      fates_[key] = fate::refused;
  }

  std::map<std::string, fate> fates() const {
    std::lock_guard guard{mutex_};
    return fates_;
  }

  size_t accepted() const {
    std::lock_guard guard{mutex_};
    size_t result = 0;
    for (const auto& [key, x] : fates_)
      result += x == fate::accepted;
    return result;
  }

private:
  mutable std::mutex mutex_;
  std::map<std::string, fate> fates_;
};

/// Tills that sell until they are told to stop. Each retries its sale under
/// the same key until it is answered for good, so faults make duplicates.
class selling_tills {
public:
  /// @param where Asked before each attempt: the node may move.
  /// @param seed  Printed by the test; makes prices and mistakes.
  selling_tills(ledger& book, std::function<commands::endpoints()> where,
                size_t tills, unsigned seed);
  ~selling_tills();

  /// Each till finishes what it has begun (bounded tries), then ends.
  void stop();

private:
  void run(unsigned seed);

  ledger& book_;
  std::function<commands::endpoints()> where_;
  std::atomic<bool> stopping_{false};
  std::vector<std::thread> threads_;
};

/// Holds the ledger against the purchases' database: A ⊆ O, each once;
/// O ⊆ A ∪ U; O ∩ R = ∅. Reports through Boost.Test.
void check_ledger(const ledger& book, const std::string& oltp_dsn);

} // namespace tillstream::test
