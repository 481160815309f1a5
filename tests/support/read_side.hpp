#pragma once

#include "messages/codec/event_codec.hpp"
#include "messages/core/error.hpp"
#include "messages/core/limits.hpp"
#include "messages/protocol/aggregation.hpp"
#include "messages/protocol/intake.hpp"
#include "messages/protocol/outbox.hpp"
#include "tests/support/late_promise.hpp"
#include "tests/support/table_model.hpp"

#include <caf/event_based_actor.hpp>
#include <caf/typed_actor.hpp>
#include <caf/typed_event_based_actor.hpp>

#include <algorithm>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

/// @file tests/support/read_side.hpp
/// Stand-ins for everybody that an AGGREGATE SHARD talks to. Each follows a
/// script that the test holds, too.

namespace tillstream::test {

// -- STREAM CONSUMER ----------------------------------------------------------

struct stream_script {
  struct opening {
    std::string branch_id;
    uint64_t first_seq = 0;
    uint64_t generation = 0;
  };

  stream_state state;
  bool down = false;
  /// Keeps queries for the stream's state until `release`.
  bool hold = false;
  std::deque<late_promise<stream_state>> held;
  std::vector<opening> opened;
  std::vector<std::string> closed;
  std::vector<std::string> acked;
  /// Asked for since the last opening.
  uint64_t fetched = 0;
  size_t state_queries = 0;
  /// The last message of a branch; without an entry that of the stream.
  std::map<std::string, uint64_t> last_of;
  std::vector<std::string> last_asked;
  std::function<void(const opening&)> on_open;
  std::function<void(const std::string&, uint64_t)> on_fetch;

  void release() {
    for (auto& promise : std::exchange(held, {}))
      promise.deliver(state);
  }
};

using stream_script_ptr = std::shared_ptr<stream_script>;

inline stream_consumer_actor::behavior_type
scripted_consumer(stream_consumer_actor::pointer self,
                  stream_script_ptr script) {
  return {
    [script](atom::open, const std::string& branch_id, uint64_t first_seq,
             uint64_t generation) {
      script->opened.push_back({branch_id, first_seq, generation});
      script->fetched = 0;
      if (script->on_open)
        script->on_open(script->opened.back());
    },
    [script](atom::close, const std::string& branch_id) {
      script->closed.push_back(branch_id);
    },
    [script](atom::fetch, const std::string& branch_id, uint64_t count) {
      script->fetched += count;
      if (script->on_fetch)
        script->on_fetch(branch_id, count);
    },
    [script](atom::ack, const strings_ptr& replies) {
      script->acked.insert(script->acked.end(), replies->begin(),
                           replies->end());
    },
    [self, script](atom::state) -> caf::result<stream_state> {
      ++script->state_queries;
      if (script->hold) {
        late_promise<stream_state> promise{self};
        script->held.push_back(promise);
        return promise.get();
      }
      if (script->down)
        return caf::make_error(errc::unavailable, "told to be down");
      return script->state;
    },
    [script](atom::state,
             const std::string& branch_id) -> caf::result<uint64_t> {
      script->last_asked.push_back(branch_id);
      if (script->down)
        return caf::make_error(errc::unavailable, "told to be down");
      auto i = script->last_of.find(branch_id);
      return i == script->last_of.end() ? script->state.last_seq : i->second;
    },
  };
}

// -- AGGREGATE WRITER ---------------------------------------------------------

struct writer_script {
  table_model_ptr tables;
  /// Keeps requests until `release`.
  bool hold = false;
  errc error = errc::none;
  /// A request that fails was applied all the same.
  bool landed = false;
  std::vector<apply_request_ptr> seen;
  std::deque<std::pair<apply_request_ptr, late_promise<apply_outcome_ptr>>>
    held;

  caf::expected<apply_outcome_ptr> run(const apply_request_ptr& x) {
    auto err = std::exchange(error, errc::none);
    if (err != errc::none) {
      if (landed)
        tables->apply({x});
      return caf::make_error(err, "told to fail");
    }
    return std::make_shared<const apply_outcome>(tables->apply({x}).front());
  }

  void release() {
    for (auto& [what, promise] : std::exchange(held, {})) {
      auto outcome = run(what);
      if (outcome)
        promise.deliver(*outcome);
      else
        promise.deliver(outcome.error());
    }
  }
};

using writer_script_ptr = std::shared_ptr<writer_script>;

inline aggregate_writer_actor::behavior_type
scripted_writer(aggregate_writer_actor::pointer self,
                writer_script_ptr script) {
  return {
    [self, script](atom::apply, const apply_request_ptr& x)
      -> caf::result<apply_outcome_ptr> {
      script->seen.push_back(x);
      if (!script->hold)
        return script->run(x);
      late_promise<apply_outcome_ptr> promise{self};
      script->held.emplace_back(x, promise);
      return promise.get();
    },
    [](atom::ready) {
      return readiness{"writer", true, ""};
    },
  };
}

// -- AGGREGATE READER ---------------------------------------------------------

struct reader_script {
  table_model_ptr tables;
  bool hold = false;
  errc error = errc::none;
  size_t loads = 0;
  std::vector<slice_request> slices;
  std::deque<std::pair<slice_request, late_promise<slice_ptr>>> held;

  caf::expected<slice_ptr> run(const slice_request& x) {
    if (error != errc::none)
      return caf::make_error(error, "told to fail");
    return std::make_shared<const slice>(tables->load_slice(x));
  }

  void release() {
    for (auto& [what, promise] : std::exchange(held, {})) {
      auto x = run(what);
      if (x)
        promise.deliver(*x);
      else
        promise.deliver(x.error());
    }
  }

  size_t count(slice_request::kind what) const {
    return static_cast<size_t>(
      std::count_if(slices.begin(), slices.end(),
                    [what](const auto& x) { return x.what == what; }));
  }
};

using reader_script_ptr = std::shared_ptr<reader_script>;

inline aggregate_reader_actor::behavior_type
scripted_reader(aggregate_reader_actor::pointer self,
                reader_script_ptr script) {
  return {
    [script](atom::load,
             const std::string& branch_id) -> caf::result<branch_state_ptr> {
      ++script->loads;
      if (script->error != errc::none)
        return caf::make_error(script->error, "told to fail");
      return std::make_shared<const branch_state>(
        script->tables->load(branch_id));
    },
    [self, script](atom::load,
                   const slice_request& x) -> caf::result<slice_ptr> {
      script->slices.push_back(x);
      if (!script->hold)
        return script->run(x);
      late_promise<slice_ptr> promise{self};
      script->held.emplace_back(x, promise);
      return promise.get();
    },
    [](atom::ready) {
      return readiness{"reader", true, ""};
    },
  };
}

// -- BACKLOG READER -----------------------------------------------------------

struct outbox_script {
  std::vector<commit_notice> notices;
  bool down = false;
  size_t page = limits::backlog_ids_max;
  std::vector<timestamp> asked;
  /// For how long the events have been SENT; -1: they are NEW.
  int64_t sent_age = 3'600'000;
  std::vector<uuid> sent_asked;
};

using outbox_script_ptr = std::shared_ptr<outbox_script>;

inline backlog_reader_actor::behavior_type
scripted_purchases(backlog_reader_actor::pointer, outbox_script_ptr script) {
  return {
    [script](atom::recent, const std::string& branch_id,
             timestamp since) -> caf::result<commit_notices_ptr> {
      script->asked.push_back(since);
      if (script->down)
        return caf::make_error(errc::unavailable, "told to be down");
      auto result = std::make_shared<std::vector<commit_notice>>();
      for (const auto& x : script->notices)
        if (x.branch_id == branch_id && x.recorded_at >= since
            && result->size() < script->page)
          result->push_back(x);
      return commit_notices_ptr{result};
    },
    [script](atom::state, const std::string&,
             const uuid& event_id) -> caf::result<int64_t> {
      script->sent_asked.push_back(event_id);
      if (script->down)
        return caf::make_error(errc::unavailable, "told to be down");
      return script->sent_age;
    },
  };
}

// -- OUTBOX RELAY -------------------------------------------------------------

struct relay_script {
  bool down = false;
  /// Keeps answers until `release`.
  bool hold = false;
  std::deque<late_promise<int64_t>> held;
  std::vector<std::pair<std::string, int64_t>> asked;
  std::function<void(int64_t)> on_republish;

  void release() {
    for (auto& promise : std::exchange(held, {}))
      promise.deliver(int64_t{1});
  }
};

using relay_script_ptr = std::shared_ptr<relay_script>;

inline outbox_relay_actor::behavior_type
scripted_relay(outbox_relay_actor::pointer self, relay_script_ptr script) {
  return {
    [](atom::committed, const commit_notices_ptr&) {
      // nop
    },
    [self, script](atom::republish, const std::string& branch_id,
                   int64_t after) -> caf::result<int64_t> {
      if (script->down)
        return caf::make_error(errc::unavailable, "told to be down");
      script->asked.emplace_back(branch_id, after);
      if (script->on_republish)
        script->on_republish(after);
      if (script->hold) {
        late_promise<int64_t> promise{self};
        script->held.push_back(promise);
        return promise.get();
      }
      return int64_t{1};
    },
    [](atom::ready) {
      return readiness{"relay", true, ""};
    },
    [](atom::drain) { return true; },
  };
}

// -- what is sent -------------------------------------------------------------

inline commit_notice notice_of(const purchase_event& x) {
  commit_notice result;
  result.branch_id = x.branch_id;
  result.seq = x.outbox_seq;
  result.event_id = x.event_id;
  result.recorded_at = x.recorded_at;
  return result;
}

inline commit_notices_ptr notices_of(const std::vector<purchase_event>& xs) {
  auto result = std::make_shared<std::vector<commit_notice>>();
  for (const auto& x : xs)
    result->push_back(notice_of(x));
  return result;
}

inline delivered_message
message_of(const purchase_event& x, uint64_t stream_seq,
           uint64_t consumer_seq) {
  delivered_message result;
  result.stream_seq = stream_seq;
  result.consumer_seq = consumer_seq;
  result.delivery = 1;
  result.reply = "ack." + std::to_string(stream_seq);
  result.payload = std::make_shared<const std::string>(encode_event(x));
  return result;
}

} // namespace tillstream::test
