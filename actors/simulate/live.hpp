#pragma once

#include "actors/simulate/sales_csv.hpp"
#include "actors/simulate/shoppers.hpp"
#include "messages/model/chain.hpp"

#include <caf/expected.hpp>

#include <cstdint>
#include <functional>
#include <istream>
#include <map>
#include <memory>
#include <optional>
#include <string>

/// @file actors/simulate/live.hpp
/// Sales to watch on the owner's page: a history that ends now, posted at once,
/// and then sales that happen now, at a pace.

namespace tillstream::commands {

/// A CSV's sales as if they happened now: all times are shifted by the same
/// whole number of weeks, so that weekdays and hours of the local clock stay,
/// and so that now falls within the file's last days. What lies behind now is
/// posted as history; the rest is sold live, one by one.
///
/// The history's receipts name the shift: played again in the same week it is
/// known already. The live ones name the run.
class live_csv : public sale_source {
public:
  /// How much of the file is kept for being sold live, at least.
  static constexpr std::chrono::hours reserve_min{24};

  /// Reads the file once for its last sale.
  /// @param in  Seekable; must outlive the source.
  /// @param now When the history ends.
  /// @returns `errc::invalid` with what is wrong with the file.
  static caf::expected<std::unique_ptr<live_csv>>
  make(std::istream& in, const tillstream::chain& chain, timestamp now,
       std::string run);

  bool next(sale& out) override;

  /// The same, not yet rendered.
  bool next_draft(sale_draft& out);

  bool is_past() override;

  std::string error() const override;

private:
  live_csv(std::istream& in, const tillstream::chain& chain, timestamp now,
           std::string run);

  void rewind();
  std::optional<timestamp> shifted(const sale_draft& draft) const;
  void fetch();

  std::istream& in_;
  std::map<std::string, branch_clock> clocks_;
  timestamp now_;
  std::string run_;
  int64_t weeks_ = 0;
  std::unique_ptr<sales_csv> source_;
  /// The first pass over the file takes what is past, the second what remains.
  bool is_history_ = true;
  /// The sale that comes next.
  std::optional<sale_draft> ahead_;
};

/// Shoppers with, if wanted, a made-up history of a few weeks.
class live_shoppers : public sale_source {
public:
  /// Sales of the whole history, about, and its days at most.
  static constexpr size_t history_sales = 20'000;
  static constexpr int history_days_max = 28;

  /// @param now When the history ends.
  /// @param with_history Whether there is one.
  static caf::expected<std::unique_ptr<live_shoppers>>
  make(const tillstream::chain& chain, shoppers_options opts, timestamp now,
       bool with_history);

  bool next(sale& out) override;

  /// The same, not yet rendered.
  sale_draft next_draft();

  bool is_past() override;

  double gap() override;

  void
  customer(const std::string& branch_id, const std::string& user_id) override;

  customer_book& customers() {
    return shoppers_->customers();
  }

private:
  live_shoppers() = default;

  std::unique_ptr<shoppers> shoppers_;
  timestamp now_;
  /// Where the history has come to; `now_` or later: it is over.
  timestamp clock_;
};

} // namespace tillstream::commands
