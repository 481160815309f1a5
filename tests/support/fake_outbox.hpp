#pragma once

#include "messages/codec/event_codec.hpp"
#include "messages/core/error.hpp"
#include "messages/core/uuid.hpp"
#include "messages/model/purchase.hpp"
#include "storage/ports/backlog_store.hpp"
#include "storage/ports/event_stream.hpp"
#include "storage/ports/outbox_store.hpp"

#include <algorithm>
#include <cassert>
#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace tillstream::tests {

/// `outbox_events` in memory. Outlives the stores that are opened on it.
struct fake_outbox {
  struct row {
    commit_notice notice;
    bool sent = false;
  };

  std::map<int64_t, row> rows;

  /// Sequence numbers taken by transactions that did not commit yet.
  std::set<int64_t> open;

  /// The stored floor, which survives the relay, and its generation.
  int64_t stored_floor = 0;
  int64_t generation = 1;

  /// No connection can be opened, and those that are open fail.
  bool down = false;

  /// Rows of each UPDATE.
  std::vector<size_t> updates;
  /// How often a page was read.
  size_t polls = 0;

  /// Commits an event.
  commit_notice commit(const std::string& branch_id, int64_t seq) {
    commit_notice notice;
    notice.branch_id = branch_id;
    notice.seq = seq;
    for (size_t i = 0; i < 8; ++i)
      notice.event_id.bytes[15 - i] = static_cast<uint8_t>(seq >> (8 * i));
    notice.payload = std::make_shared<const std::string>(branch_id + "#"
                                                         + std::to_string(seq));
    open.erase(seq);
    rows.emplace(seq, row{notice});
    return notice;
  }

  size_t unsent() const {
    return static_cast<size_t>(std::count_if(
      rows.begin(), rows.end(), [](auto& x) { return !x.second.sent; }));
  }

  row* find(const uuid& event_id) {
    for (auto& [seq, x] : rows)
      if (x.notice.event_id == event_id)
        return &x;
    return nullptr;
  }
};

inline caf::error outbox_down() {
  return caf::make_error(errc::unavailable, "fake outbox is down");
}

class fake_outbox_store : public storage::outbox_store {
public:
  explicit fake_outbox_store(fake_outbox& table) : table_(table) {
    // nop
  }

  caf::expected<std::vector<commit_notice>>
  poll(storage::outbox_floor& floor, size_t limit) override {
    if (table_.down)
      return outbox_down();
    if (floor.generation != table_.generation)
      floor = {table_.stored_floor, 0, 0, table_.generation};
    auto result = page(floor.seq, limit);
    move(floor);
    return result;
  }

  caf::expected<std::vector<commit_notice>>
  page(int64_t from_seq, size_t limit) override {
    if (table_.down)
      return outbox_down();
    ++table_.polls;
    std::vector<commit_notice> result;
    auto i = table_.rows.lower_bound(from_seq);
    for (; i != table_.rows.end() && result.size() < limit; ++i)
      if (!i->second.sent)
        result.push_back(i->second.notice);
    return result;
  }

  caf::expected<void>
  confirm_sent(const std::vector<storage::sent_row>& events) override {
    if (table_.down)
      return outbox_down();
    table_.updates.push_back(events.size());
    for (auto& event : events)
      if (auto x = table_.find(event.event_id))
        x->sent = true;
    return caf::unit;
  }

  caf::expected<storage::outbox_backlog>
  backlog(const storage::outbox_floor&) override {
    if (table_.down)
      return outbox_down();
    return storage::outbox_backlog{static_cast<int64_t>(table_.unsent()), 0};
  }

  caf::expected<int64_t>
  republish(const std::string& branch_id, int64_t after_seq) override {
    if (table_.down)
      return outbox_down();
    table_.stored_floor = std::min(table_.stored_floor, after_seq + 1);
    ++table_.generation;
    int64_t count = 0;
    for (auto i = table_.rows.upper_bound(after_seq); i != table_.rows.end();
         ++i)
      if (auto& x = i->second; x.sent && x.notice.branch_id == branch_id) {
        x.sent = false;
        ++x.notice.publish_round;
        ++count;
      }
    return count;
  }

  caf::expected<std::vector<std::string>>
  payloads(const std::string&, const std::vector<uuid>& event_ids) override {
    if (table_.down)
      return outbox_down();
    std::vector<std::string> result;
    for (auto& id : event_ids) {
      auto x = table_.find(id);
      result.push_back(x ? *x->notice.payload : std::string{});
    }
    return result;
  }

private:
  /// Up to the first row that is NEW, or may still become one.
  void move(storage::outbox_floor& floor) {
    auto next = table_.rows.empty() ? 0 : table_.rows.rbegin()->first + 1;
    for (auto& [seq, x] : table_.rows)
      if (!x.sent) {
        next = seq;
        break;
      }
    if (!table_.open.empty())
      next = std::min(next, *table_.open.begin());
    // A floor above a row that is NEW was made up by somebody.
    assert(floor.seq <= next);
    floor.seq = next;
    table_.stored_floor = next;
  }

  fake_outbox& table_;
};

inline caf::expected<storage::outbox_store_ptr>
open_fake_outbox(fake_outbox& table) {
  if (table.down)
    return outbox_down();
  return storage::outbox_store_ptr{std::make_unique<fake_outbox_store>(table)};
}

/// The backlog as the same table has it.
class fake_backlog_store : public storage::backlog_store {
public:
  explicit fake_backlog_store(fake_outbox& table) : table_(table) {
    // nop
  }

  caf::expected<std::vector<commit_notice>>
  recent(const std::string& branch_id, timestamp, size_t limit) override {
    if (table_.down)
      return outbox_down();
    std::vector<commit_notice> result;
    for (auto& [seq, x] : table_.rows)
      if (x.notice.branch_id == branch_id && result.size() < limit)
        result.push_back(x.notice);
    return result;
  }

  caf::expected<std::optional<int64_t>>
  sent_age(const std::string&, const uuid& event_id) override {
    if (table_.down)
      return outbox_down();
    auto x = table_.find(event_id);
    if (x == nullptr)
      return std::optional<int64_t>{};
    return std::optional<int64_t>{x->sent ? 0 : -1};
  }

private:
  fake_outbox& table_;
};

inline caf::expected<storage::backlog_store_ptr>
open_fake_backlog(fake_outbox& table) {
  if (table.down)
    return outbox_down();
  return storage::backlog_store_ptr{
    std::make_unique<fake_backlog_store>(table)};
}

/// A broker in memory. Outlives the publishers that are connected to it.
struct fake_broker {
  struct message {
    uint64_t token = 0;
    std::string subject;
    std::string id;
    std::string payload;
  };

  /// What it was handed, in order, duplicates too.
  std::vector<message> stream;

  /// Published, and not acknowledged yet.
  std::vector<message> in_flight;

  /// No connection; what is published is not sent.
  bool away = false;

  /// Subjects that it refuses when it acknowledges.
  std::set<std::string> refused;

  /// Most that were in flight at once.
  size_t most_in_flight = 0;

  size_t connections = 0;

  storage::event_publisher::ack_handler on_ack;

  /// Acknowledges the first `count` messages in flight.
  void acknowledge(size_t count = SIZE_MAX) {
    count = std::min(count, in_flight.size());
    std::vector<publish_ack> acks;
    for (size_t i = 0; i < count; ++i) {
      auto& x = in_flight[i];
      publish_ack ack;
      ack.token = x.token;
      if (refused.contains(x.subject))
        ack.error = "refused";
      else
        stream.push_back(x);
      acks.push_back(ack);
    }
    in_flight.erase(in_flight.begin(),
                    in_flight.begin() + static_cast<std::ptrdiff_t>(count));
    if (on_ack && !acks.empty())
      on_ack(std::move(acks));
  }

  /// The payloads of a branch in the stream, in order.
  std::vector<std::string> of(const std::string& branch_id) const {
    std::vector<std::string> result;
    for (auto& x : stream)
      if (x.subject == event_subject(branch_id))
        result.push_back(x.payload);
    return result;
  }
};

class fake_publisher : public storage::event_publisher {
public:
  fake_publisher(fake_broker& broker, ack_handler on_ack) : broker_(broker) {
    ++broker_.connections;
    broker_.on_ack = std::move(on_ack);
  }

  ~fake_publisher() override {
    broker_.on_ack = nullptr;
    broker_.in_flight.clear();
  }

  caf::expected<void>
  publish(uint64_t token, const std::string& subject,
          const std::string& message_id, std::string_view payload) override {
    if (broker_.away)
      return caf::make_error(errc::unavailable, "fake broker is away");
    broker_.in_flight.push_back(
      {token, subject, message_id, std::string{payload}});
    broker_.most_in_flight
      = std::max(broker_.most_in_flight, broker_.in_flight.size());
    return caf::unit;
  }

  bool connected() const override {
    return !broker_.away;
  }

private:
  fake_broker& broker_;
};

inline caf::expected<storage::event_publisher_ptr>
connect_fake_broker(fake_broker& broker,
                    storage::event_publisher::ack_handler on_ack) {
  if (broker.away)
    return caf::make_error(errc::unavailable, "fake broker is away");
  return storage::event_publisher_ptr{
    std::make_unique<fake_publisher>(broker, std::move(on_ack))};
}

} // namespace tillstream::tests
