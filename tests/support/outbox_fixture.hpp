#pragma once

#include "messages/model/purchase.hpp"
#include "storage/postgres/stores.hpp"
#include "tests/support/made_up_purchases.hpp"
#include "tests/support/postgres_fixture.hpp"

#include <boost/test/unit_test.hpp>

#include <cstdint>
#include <string>
#include <vector>

/// @file tests/support/outbox_fixture.hpp
/// Purchases in a database, and what the relay does with their outbox rows.

namespace tillstream::test {

/// A database with a writer, a relay's store and psql.
struct outbox_fixture {
  std::string dsn = fresh_database("oltp");
  storage::purchase_store_ptr writer = open_purchases(dsn);
  storage::outbox_store_ptr outbox = must(storage::open_outbox_store(dsn));
  storage::postgres::connection_ptr psql = open_psql(dsn);
  purchase_maker make;

  std::vector<commit_notice>
  sell(size_t count, const std::string& branch = "branch-1") {
    std::vector<purchase_ptr> batch;
    for (size_t i = 0; i < count; ++i)
      batch.push_back(make.make([&](purchase& x) { x.branch_id = branch; }));
    return must(writer->record(batch)).committed;
  }

  /// The broker has these: they become SENT.
  void confirm(const std::vector<commit_notice>& notices) {
    std::vector<storage::sent_row> sent;
    for (const auto& x : notices)
      sent.push_back({x.seq, x.event_id});
    must(outbox->confirm_sent(sent));
  }

  /// Waits until whoever sells next does so later than these.
  void pass_millisecond_of(const std::vector<commit_notice>& sold) {
    BOOST_REQUIRE(eventually([&] {
      return number(*psql, "SELECT floor(extract(epoch FROM "
                           "clock_timestamp()) * 1000)::bigint")
             > to_ms(sold.back().recorded_at);
    }));
  }
};

inline std::vector<int64_t> seqs(const std::vector<commit_notice>& notices) {
  std::vector<int64_t> result;
  for (const auto& x : notices)
    result.push_back(x.seq);
  return result;
}

} // namespace tillstream::test
