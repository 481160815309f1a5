#pragma once

#include "messages/model/apply.hpp"
#include "messages/model/chain.hpp"
#include "messages/model/queries.hpp"

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

/// @file actors/aggregation/branch_cache.hpp
/// What a shard holds of its branch in memory. No actor: a plain class.

namespace tillstream {

/// The applied state of one branch, as far as somebody asked for it.
///
/// The totals of all days are always there. Everything else are slices: hours
/// by month, products by period, one product by year, minutes by day, the
/// rankings of customers. They are loaded when a query needs them, follow
/// each commit, and go, least recently used first, when together they have
/// more than `rows_max` rows.
///
/// Cache and tables are equal whenever no apply is in flight.
class branch_cache {
public:
  /// @param where Tells the local hour of an instant.
  branch_cache(std::string branch_id, const branch_clock& where,
               size_t rows_max);

  /// Starts anew from the tables.
  void reset(const branch_state& state);

  const branch_cursor& cursor() const {
    return cursor_;
  }

  /// What must be added next before `query` can be answered; nothing when
  /// all is there.
  std::optional<slice_request> missing(const shard_query& query);

  /// Takes a slice of the tables.
  /// @returns false when it does not belong to the cursor's `apply_no`.
  bool add(const slice_request& request, const slice& loaded);

  /// Follows a commit.
  void apply(const apply_outcome& outcome);

  /// Answers what the tables know; the shard adds what it knows of the
  /// backlog.
  /// @pre `!missing(query)`
  shard_answer answer(const shard_query& query);

  /// Drops the slices that nobody asked for since the last call.
  void drop_idle();

  /// Rows of all slices.
  size_t rows() const;

private:
  /// A slice and when it was asked for last.
  template <class T>
  struct cached {
    T value;
    uint64_t used = 0;
  };

  template <class Key, class T>
  using cache = std::map<Key, cached<T>>;

  struct hour_row {
    hour_sales sales;
    /// Where the hour counts in a heat map.
    size_t cell = 0;
  };

  /// Ordered by day and hour.
  using hours_of_month = std::vector<hour_row>;

  struct products_of_period {
    std::shared_ptr<std::vector<product_sums>> rows;
    /// An answer holds `rows` too, as a snapshot: they are copied before they
    /// change.
    bool is_shared = false;
  };

  struct product_of_year {
    std::map<calendar_day, product_totals> days;
    product_label label;
  };

  using minutes_of_day = std::map<int, minute_totals>;

  struct rankings {
    std::vector<loyal_customer> by_purchases;
    std::vector<loyal_customer> by_revenue;
  };

  using period = std::pair<calendar_day, calendar_day>;
  using product_year = std::pair<std::string, calendar_day>;

  // Each finds the next slice that a kind of query needs.
  std::optional<slice_request> missing_hours(const shard_query& query);
  std::optional<slice_request> missing_products(const shard_query& query);
  std::optional<slice_request> missing_product_days(const shard_query& query);
  std::optional<slice_request> missing_minutes(const shard_query& query);
  std::optional<slice_request> missing_loyal();
  slice_request
  request(slice_request::kind what, calendar_day from, calendar_day to) const;

  void add_hours(const slice_request& request, const slice& loaded);
  void add_products(const slice_request& request, const slice& loaded);
  void add_product_days(const slice_request& request, const slice& loaded);
  hour_row make_hour(const std::pair<calendar_day, timestamp>& when) const;

  void apply_days(const apply_outcome& outcome);
  void apply_hours(const branch_delta& added);
  void apply_products(const branch_delta& added, int64_t seq_before);
  /// @returns false when the period must be loaded again.
  bool apply_to_period(products_of_period& x, const period& days,
                       const branch_delta& added, int64_t seq_before);
  void relabel(products_of_period& x, const branch_delta& added);
  std::vector<product_sums>& writable(products_of_period& x);
  void apply_product_days(const branch_delta& added);
  void apply_minutes(const apply_outcome& outcome);
  void apply_loyal(const apply_outcome& outcome);

  void answer_days(const shard_query& query, shard_answer& out) const;
  void answer_summary(const shard_query& query, shard_answer& out) const;
  void answer_heat(const shard_query& query, shard_answer& out) const;
  void answer_product_days(const shard_query& query, shard_answer& out) const;
  void answer_loyal(const shard_query& query, shard_answer& out) const;
  /// @returns the rows of a period, as a shared snapshot.
  product_sums_ptr share(const period& days);
  template <class Visit>
  void visit_hours(calendar_day from, calendar_day to, Visit visit) const;

  static calendar_day year_start(calendar_day day);
  static calendar_day next_year(calendar_day first);
  day_totals day(calendar_day x) const;
  bool has_sales(calendar_day from, calendar_day to) const;
  /// Cuts a range to the days between first and last sale; nothing when the
  /// range has no sale.
  std::optional<period>
  clamp_to_sales(calendar_day from, calendar_day to) const;
  /// Marks a slice as used. @returns whether it is there.
  template <class Key, class T>
  bool touch(cache<Key, T>& xs, const Key& key);
  template <class F>
  void for_each_cache(F f);
  template <class F>
  void for_each_cache(F f) const;
  static size_t row_count(const rankings& x);
  static size_t row_count(const products_of_period& x);
  static size_t row_count(const product_of_year& x);
  template <class T>
  static size_t row_count(const T& xs);
  uint64_t oldest_use() const;
  void drop_unused_since(uint64_t use);
  void evict();

  std::string branch_id_;
  branch_clock clock_;
  size_t rows_max_;
  branch_cursor cursor_;
  std::map<calendar_day, day_totals> days_;
  /// By first day of the month.
  cache<calendar_day, hours_of_month> hours_;
  cache<period, products_of_period> products_;
  cache<product_year, product_of_year> product_days_;
  cache<calendar_day, minutes_of_day> minutes_;
  cache<int, rankings> loyal_;
  /// Counts queries: the clock of `cached::used`.
  uint64_t now_ = 0;
  uint64_t idle_mark_ = 0;
};

} // namespace tillstream
