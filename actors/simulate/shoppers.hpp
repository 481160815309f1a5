#pragma once

#include "actors/simulate/sale.hpp"
#include "messages/model/chain.hpp"

#include <caf/expected.hpp>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <vector>

namespace tillstream::commands {

/// Customers who may come again, per branch, regulars first. Thread-safe.
class customer_book {
public:
  /// Customers remembered per branch; more regulars than a branch has. Beyond
  /// it nobody is added.
  static constexpr size_t branch_customers_max = 5000;

  void add(const std::string& branch_id, const std::string& user_id);

  /// Picks a known customer of the branch, empty when there is none.
  /// @param share 0 to 1: uniform over customers; the book makes early ones
  ///              come more often.
  std::string pick(const std::string& branch_id, double share) const;

  size_t size(const std::string& branch_id) const;

private:
  mutable std::mutex mutex_;
  std::map<std::string, std::vector<std::string>, std::less<>> customers_;
};

/// What the shoppers depend on besides the chain.
struct shoppers_options {
  /// The same seed gives the same sales, as far as customers do not depend on
  /// what the server answered.
  uint64_t seed = 1;

  /// Part of each receipt's id: runs must not use each other's receipts.
  std::string run;

  /// Which hour it is in the chain.
  std::function<timestamp()> now = wall_clock_now;
};

/// Made-up sales of coffee chain: a few products sell most, baskets are small,
/// a branch is busy in its morning, regulars come back, and now and then one
/// of them goes to another branch. `occurred_at` is absent: it happens now.
class shoppers : public sale_source {
public:
  /// @returns `errc::invalid` when the chain has no branch, or one whose zone
  ///          is unknown to this machine.
  static caf::expected<std::unique_ptr<shoppers>>
  make(const tillstream::chain& chain, shoppers_options opts);

  bool next(sale& out) override;

  /// The same, not yet rendered.
  sale_draft next_draft();

  /// How busy all chain together are now; a middling one is 1 at its busiest.
  double crowd() const;

  /// Exponential: shoppers come independently of each other.
  double gap() override;

  /// Some of those who got an id keep their card and come again.
  void
  customer(const std::string& branch_id, const std::string& user_id) override;

  /// Who is known already.
  customer_book& customers() {
    return customers_;
  }

private:
  struct branch_book {
    std::string branch_id;
    branch_clock clock;
    /// How large it is, beside the others.
    double size = 1;
    uint64_t receipts = 0;
  };

  shoppers(const tillstream::chain& chain, shoppers_options opts);

  double uniform();
  size_t pick(const std::vector<double>& weights);
  branch_book& pick_branch(timestamp now);
  std::string pick_customer(const branch_book& where);
  std::vector<sale_line> fill_basket();

  shoppers_options options_;
  currency unit_;
  std::mt19937_64 prng_;
  /// How often each product is bought.
  std::vector<double> popularity_;
  std::vector<branch_book> branches_;
  customer_book customers_;
};

} // namespace tillstream::commands
