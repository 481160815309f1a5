#include "messages/codec/event_codec.hpp"
#include "messages/core/error.hpp"
#include "messages/model/apply.hpp"
#include "storage/ports/aggregate_store.hpp"
#include "storage/ports/outbox_store.hpp"
#include "storage/postgres/connection.hpp"
#include "storage/postgres/stores.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <iostream>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

/// @file benchmarks/tools/bare_apply.cpp
/// `bench_bare_apply OLTP_DSN ANALYTICS_DSN BATCH SESSIONS`: how fast the
/// analytics database takes the aggregates at most. Reads and decodes all
/// events of the outbox first; then a bare loop applies BATCH of them a
/// transaction, over SESSIONS sessions of which each has branches of its own.
/// No broker, no actors. Prints events a second.

namespace {

using namespace tillstream;
using clock_type = std::chrono::steady_clock;

template <class T>
T need(caf::expected<T> x) {
  if (!x)
    throw std::runtime_error(describe(x.error()));
  return std::move(*x);
}

using events_by_branch = std::map<std::string, std::vector<stream_event>>;

events_by_branch read_events(const std::string& dsn) {
  constexpr size_t page = 5000;
  auto outbox = need(storage::open_outbox_store(dsn));
  events_by_branch result;
  uint64_t stream_seq = 0;
  for (int64_t from = 0;;) {
    auto notices = need(outbox->page(from, page));
    for (const auto& notice : notices) {
      auto& x = result[notice.branch_id].emplace_back();
      x.stream_seq = ++stream_seq;
      x.event = need(decode_event(*notice.payload, notice.branch_id));
    }
    if (notices.size() < page)
      return result;
    from = notices.back().seq + 1;
  }
}

constexpr int64_t owned_epoch = 1;

/// No node runs: the rows that a transaction locks and compares.
void own(const std::string& dsn, const events_by_branch& events) {
  using namespace storage::postgres;
  constexpr statement add_cursor{"bare_cursor", R"(
    INSERT INTO branch_cursors (branch_id) VALUES ($1))"};
  constexpr statement add_owner{"bare_owner", R"(
    INSERT INTO shard_ownership (branch_id, epoch) VALUES ($1, $2::bigint))"};
  connection db{dsn};
  for (const auto& [branch_id, list] : events) {
    db.exec(add_cursor, branch_id);
    db.exec(add_owner, branch_id, owned_epoch);
  }
}

/// One session with its branches.
class lane {
public:
  lane(const std::string& dsn, size_t batch)
    : store_(need(storage::open_aggregate_store(dsn))),
      batch_(batch) {
    // nop
  }

  void
  add(const std::string& branch_id, const std::vector<stream_event>& events) {
    branches_.push_back({branch_id, &events, 0, {}});
  }

  void run() {
    while (true) {
      std::vector<apply_request_ptr> requests;
      std::vector<branch*> whose;
      for (auto& x : branches_) {
        if (x.done == x.events->size())
          continue;
        requests.push_back(next_of(x));
        whose.push_back(&x);
      }
      if (requests.empty())
        return;
      auto outcomes = need(store_->apply(requests));
      for (size_t i = 0; i < outcomes.size(); ++i) {
        if (!outcomes[i].owned)
          throw std::runtime_error("not the owner");
        whose[i]->before = outcomes[i].cursor;
      }
    }
  }

private:
  struct branch {
    std::string id;
    const std::vector<stream_event>* events;
    size_t done;
    branch_cursor before;
  };

  apply_request_ptr next_of(branch& x) {
    auto share = std::max<size_t>(1, batch_ / branches_.size());
    auto count = std::min(share, x.events->size() - x.done);
    auto first = x.events->begin() + static_cast<std::ptrdiff_t>(x.done);
    auto result = std::make_shared<apply_request>();
    result->branch_id = x.id;
    result->epoch = owned_epoch;
    result->before = x.before;
    result->stream_incarnation = "bench";
    result->events.assign(first, first + static_cast<std::ptrdiff_t>(count));
    x.done += count;
    return result;
  }

  storage::aggregate_store_ptr store_;
  size_t batch_;
  std::vector<branch> branches_;
};

int run(char** argv) {
  auto events = read_events(argv[1]);
  std::vector<std::unique_ptr<lane>> lanes;
  for (size_t i = 0; i < std::stoul(argv[4]); ++i)
    lanes.push_back(std::make_unique<lane>(argv[2], std::stoul(argv[3])));
  size_t count = 0;
  size_t next = 0;
  for (const auto& [branch_id, list] : events) {
    lanes[next++ % lanes.size()]->add(branch_id, list);
    count += list.size();
  }
  own(argv[2], events);
  std::atomic<bool> failed{false};
  auto began = clock_type::now();
  std::vector<std::thread> threads;
  for (auto& x : lanes)
    threads.emplace_back([&] {
      try {
        x->run();
      } catch (const std::exception& error) {
        std::cerr << "bench_bare_apply: " << error.what() << std::endl;
        failed = true;
      }
    });
  for (auto& x : threads)
    x.join();
  std::chrono::duration<double> took = clock_type::now() - began;
  std::cout << fmt::format("{:.1f}", static_cast<double>(count) / took.count())
            << std::endl;
  return failed ? 1 : 0;
}

} // namespace

int main(int argc, char** argv) {
  if (argc != 5) {
    std::cerr << "usage: bench_bare_apply OLTP_DSN ANALYTICS_DSN BATCH SESSIONS"
              << std::endl;
    return 2;
  }
  try {
    return run(argv);
  } catch (const std::exception& x) {
    std::cerr << "bench_bare_apply: " << x.what() << std::endl;
    return 1;
  }
}
