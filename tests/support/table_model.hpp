#pragma once

#include "messages/core/error.hpp"
#include "storage/ports/aggregate_store.hpp"

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

/// @file tests/support/table_model.hpp
/// The analytics tables as a model: it remembers every applied event, and
/// counts from the beginning whenever somebody asks.

namespace tillstream::test {

/// A message that was set aside.
struct quarantined {
  std::string stream_incarnation;
  uint64_t stream_seq = 0;
  std::string reason;

  friend auto operator<=>(const quarantined&, const quarantined&) = default;
};

class table_model {
public:
  /// As the store's call of the same name.
  std::vector<apply_outcome>
  apply(const std::vector<apply_request_ptr>& requests);

  branch_state load(const std::string& branch_id) const;

  slice load_slice(const slice_request& request) const;

  /// Applied events of a branch, in order.
  const std::vector<purchase_event>& applied(const std::string& branch_id) {
    return tables_[branch_id].events;
  }

  const std::set<quarantined>& set_aside(const std::string& branch_id) {
    return tables_[branch_id].set_aside;
  }

  const branch_cursor& cursor(const std::string& branch_id) {
    return tables_[branch_id].cursor;
  }

  void put_cursor(const std::string& branch_id, branch_cursor x) {
    tables_[branch_id].cursor = std::move(x);
  }

  void put_epoch(const std::string& branch_id, int64_t epoch) {
    epochs_[branch_id] = epoch;
  }

private:
  struct tables {
    branch_cursor cursor;
    std::vector<purchase_event> events;
    std::set<quarantined> set_aside;
    std::map<calendar_day, customer_counts> customers;
    std::map<std::pair<calendar_day, int>, std::pair<int64_t, int64_t>> visits;
    first_minutes first;
  };

  apply_outcome apply_one(const apply_request& request);
  void add_event(tables& to, const purchase_event& event, apply_outcome& out);
  void visit(tables& to, first_minutes& set, const purchase_event& event,
             bool of_chain, apply_outcome& out);
  loyalty loyalty_of(const tables& of, const uuid& customer) const;

  std::map<std::string, tables> tables_;
  std::map<std::string, int64_t> epochs_;
  /// Whose each applied event is.
  std::map<uuid, std::string> event_log_;
  first_minutes chain_;
};

using table_model_ptr = std::shared_ptr<table_model>;

/// A store on the model. What it is told to do wrong, it does once.
class model_store : public storage::aggregate_store {
public:
  /// What the next calls do.
  struct mood {
    /// `apply` fails with this code; it did write when `landed`.
    errc apply_error = errc::none;
    bool landed = false;
    errc read_error = errc::none;
    std::vector<size_t> batches;
  };

  model_store(table_model_ptr tables, std::shared_ptr<mood> how)
    : tables_(std::move(tables)),
      how_(std::move(how)) {
    // nop
  }

  caf::expected<std::vector<apply_outcome>>
  apply(const std::vector<apply_request_ptr>& requests) override;
  caf::expected<branch_state> load(const std::string& branch_id) override;
  caf::expected<slice> load_slice(const slice_request& request) override;
  caf::expected<int64_t> prune(int64_t rows_max) override;

private:
  table_model_ptr tables_;
  std::shared_ptr<mood> how_;
};

/// The stream incarnation that `make_requests` and the fakes begin with.
inline const std::string first_incarnation = "2026-01-01T00:00:00Z";

} // namespace tillstream::test
