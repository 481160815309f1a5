#include "actors/aggregation/aggregate_reader.hpp"
#include "actors/aggregation/aggregate_shard.hpp"
#include "actors/aggregation/aggregate_writer.hpp"

#include "messages/core/metrics.hpp"
#include "messages/model/queries.hpp"
#include "tests/support/actor_fixture.hpp"
#include "tests/support/made_up_events.hpp"
#include "tests/support/read_side.hpp"

#include <boost/test/unit_test.hpp>

#include <map>
#include <random>

using namespace tillstream;
using namespace std::chrono_literals;

namespace {

const std::vector<std::string> ids{"branch-1", "branch-2"};

/// A store that fails as the seed decides: before it wrote, or behind.
class moody_store : public test::model_store {
public:
  moody_store(test::table_model_ptr tables, std::mt19937& prng,
              const bool& calm)
    : model_store(tables, std::make_shared<mood>()),
      tables_(tables),
      prng_(prng),
      calm_(calm) {
    // nop
  }

  caf::expected<std::vector<apply_outcome>>
  apply(const std::vector<apply_request_ptr>& requests) override {
    if (!calm_ && prng_() % 6 == 0)
      return caf::make_error(errc::unavailable, "moody");
    auto result = tables_->apply(requests);
    if (!calm_ && prng_() % 8 == 0)
      return caf::make_error(errc::in_doubt, "moody");
    return result;
  }

  caf::expected<branch_state> load(const std::string& branch_id) override {
    if (!calm_ && prng_() % 6 == 0)
      return caf::make_error(errc::unavailable, "moody");
    return tables_->load(branch_id);
  }

  caf::expected<slice> load_slice(const slice_request& request) override {
    if (!calm_ && prng_() % 10 == 0)
      return caf::make_error(errc::unavailable, "moody");
    return tables_->load_slice(request);
  }

private:
  test::table_model_ptr tables_;
  std::mt19937& prng_;
  const bool& calm_;
};

/// A stream that drops, repeats and turns round what it delivers.
class moody_stream {
public:
  moody_stream(std::mt19937& prng, const bool& calm)
    : prng_(prng),
      calm_(calm) {
    script->state.incarnation = test::first_incarnation;
    for (const auto& id : ids)
      script->last_of[id] = 0;
    script->on_open = [this](const auto& x) {
      auto& opened = pulls_[x.branch_id];
      opened = {};
      opened.generation = x.generation;
      opened.next = x.first_seq;
    };
    script->on_fetch = [this](const std::string& branch_id, uint64_t count) {
      pulls_[branch_id].credit += count;
    };
  }

  void publish(const purchase_event& x) {
    log_[++script->state.last_seq] = x;
    script->last_of[x.branch_id] = script->state.last_seq;
  }

  /// The broker comes back without its disk.
  void forget() {
    log_.clear();
    script->state.incarnation += "+";
    script->state.last_seq = 0;
    for (const auto& id : ids)
      script->last_of[id] = 0;
    for (const auto& id : ids)
      lose(id);
  }

  void lose(const std::string& branch_id) {
    delivery x = begin(branch_id);
    x.lost = "lost";
    pulls_[branch_id].credit = 0;
    send(std::move(x));
  }

  /// Delivers something to a branch, or loses it.
  void step(const std::string& branch_id) {
    auto& source = pulls_[branch_id];
    auto x = begin(branch_id);
    while (source.credit > 0 && x.messages.size() < 3) {
      auto i = log_.lower_bound(source.next);
      while (i != log_.end() && i->second.branch_id != branch_id)
        ++i;
      if (i == log_.end())
        break;
      source.next = i->first + 1;
      --source.credit;
      auto message
        = test::message_of(i->second, i->first, ++source.consumer_seq);
      if (moody(15)) // it comes again, ahead of what is new
        source.next = i->first;
      if (source.next == i->first)
        message.delivery = prng_() % 2 == 0 ? 1 : 2;
      x.messages.push_back(message);
    }
    if (x.messages.empty() || moody(12))
      return; // lost on the way
    if (moody(12) && held_.empty()) {
      held_.push_back(std::move(x)); // overtaken by the next
      return;
    }
    send(std::move(x));
    for (auto& late : std::exchange(held_, {}))
      send(std::move(late));
  }

  test::stream_script_ptr script = std::make_shared<test::stream_script>();
  std::map<std::string, aggregate_shard_actor> shards;

private:
  struct position {
    uint64_t generation = 0;
    uint64_t next = 1;
    uint64_t consumer_seq = 0;
    uint64_t credit = 0;
  };

  bool moody(unsigned n) {
    return !calm_ && prng_() % n == 0;
  }

  delivery begin(const std::string& branch_id) {
    delivery x;
    x.branch_id = branch_id;
    x.generation = pulls_[branch_id].generation;
    return x;
  }

  void send(delivery x) {
    auto to = shards.find(x.branch_id);
    if (to != shards.end())
      caf::anon_send(to->second, atom::deliver_v,
                     std::make_shared<const delivery>(std::move(x)));
  }

  std::mt19937& prng_;
  const bool& calm_;
  std::map<uint64_t, purchase_event> log_;
  std::map<std::string, position> pulls_;
  std::vector<delivery> held_;
};

struct world : tests::actor_fixture {
  explicit world(unsigned seed)
    : prng(seed),
      stream(prng, calm),
      maker(seed, {8, 4, 3, start}) {
    relay->on_republish = [this](int64_t after) { publish_again(after); };
    consumer = sys.spawn(test::scripted_consumer, stream.script);
    purchases = sys.spawn(test::scripted_purchases, outbox);
    relay_actor = sys.spawn(test::scripted_relay, relay);
    aggregate_writer_options writing;
    writing.open_store = [this] { return open_store(); };
    writing.batch_max = 6;
    writing.seed = seed;
    writer = sys.spawn(aggregate_writer, writing);
    aggregate_reader_options reading;
    reading.open_store = [this] { return open_store(); };
    reading.seed = seed;
    reader = sys.spawn(aggregate_reader, reading);
    for (const auto& id : ids) {
      tables->put_epoch(id, 1);
      start_shard(id);
    }
  }

  ~world() {
    for (auto& [id, shard] : stream.shards)
      end(shard);
    end(consumer);
    end(purchases);
    end(relay_actor);
    end(writer);
    end(reader);
  }

  caf::expected<storage::aggregate_store_ptr> open_store() {
    return storage::aggregate_store_ptr{
      std::make_unique<moody_store>(tables, prng, calm)};
  }

  void start_shard(const std::string& id) {
    aggregate_shard_options options;
    options.branch_id = id;
    options.epoch = 1;
    options.clock = *branch_clock::make(*test::made_up_chain().find(id));
    options.generation = uint64_t{++starts} << 32;
    options.consumer = consumer;
    options.writers = pool_of(writer);
    options.reader = reader;
    options.purchases = purchases;
    options.relay = relay_actor;
    options.now = [this] { return start + 60s + elapsed; };
    options.fetch_max = 10;
    options.batch_max = 4;
    options.slice_rows_max = 40;
    options.pending = {6, 12};
    options.seed = starts;
    stream.shards[id] = sys.spawn(aggregate_shard, options);
  }

  /// A sale: committed, noted and published, in some order.
  void sell() {
    auto x = maker.make(ids[prng() % ids.size()]);
    sold[x.branch_id].push_back(x);
    outbox->notices.push_back(test::notice_of(x));
    auto notice = [&] {
      caf::anon_send(stream.shards[x.branch_id], atom::committed_v,
                     test::notices_of({x}));
    };
    auto first = prng() % 2 == 0;
    if (first)
      notice();
    stream.publish(x);
    if (!first)
      notice();
  }

  void publish_again(int64_t after) {
    // Whoever asked gets more than he needs, and the others, too.
    for (auto& [id, events] : sold)
      for (const auto& x : events)
        if (x.outbox_seq > after)
          stream.publish(x);
  }

  void ask_something() {
    shard_query x;
    x.what = static_cast<shard_query::kind>(prng() % 8);
    x.from = *parse_day("2026-03-08");
    x.to = *parse_day("2026-03-10");
    x.previous_from = *parse_day("2026-03-09");
    x.previous_to = x.previous_from;
    x.minute_max = 800;
    x.limit = 5;
    ++asked;
    auto to = stream.shards[ids[prng() % ids.size()]];
    sys.spawn([this, to, x](caf::event_based_actor* client) {
      client
        ->request(to, caf::infinite, atom::ask_v,
                  std::make_shared<const shard_query>(x))
        .then([this](const shard_answer_ptr&) { ++answered; },
              [this](caf::error&) { ++answered; });
    });
  }

  void wait_for_something() {
    const auto& id = ids[prng() % ids.size()];
    auto& events = sold[id];
    if (events.empty())
      return;
    ++asked;
    auto event_id = events[prng() % events.size()].event_id;
    auto to = stream.shards[id];
    sys.spawn([this, to, event_id, id](caf::event_based_actor* client) {
      client->request(to, caf::infinite, atom::after_v, event_id)
        .then(
          [this, event_id, id](bool applied) {
            ++answered;
            if (!applied)
              return;
            const auto& done = tables->applied(id);
            auto is_it = [&](const auto& x) { return x.event_id == event_id; };
            if (std::none_of(done.begin(), done.end(), is_it))
              ++lies;
          },
          [this](caf::error&) { ++answered; });
    });
  }

  void act() {
    auto n = prng() % 100;
    if (n < 25)
      sell();
    else if (n < 60)
      stream.step(ids[prng() % ids.size()]);
    else if (n < 63)
      stream.lose(ids[prng() % ids.size()]);
    else if (n < 75)
      ask_something();
    else if (n < 80)
      wait_for_something();
    else if (n < 81)
      restart(ids[prng() % ids.size()]);
    else if (n < 83)
      pass(10ms * (1 + prng() % 200));
    else
      for (auto i = prng() % 20; i > 0; --i)
        run_one_at_random(prng);
  }

  void restart(const std::string& id) {
    caf::anon_send_exit(stream.shards[id], caf::exit_reason::kill);
    start_shard(id);
  }

  void pass(std::chrono::milliseconds time) {
    elapsed += time;
    sched.advance_time(time);
  }

  bool all_applied() {
    for (const auto& id : ids)
      if (tables->applied(id).size() < sold[id].size())
        return false;
    return true;
  }

  /// No failures any more: everything must come to its end.
  void heal() {
    calm = true;
    // Long enough for the longest wait for pending events that do not come.
    for (int i = 0; i < 4000 && !all_applied(); ++i) {
      for (const auto& id : ids)
        stream.step(id);
      settle_in_random_order(prng);
      pass(100ms);
    }
    for (int i = 0; i < 400; ++i) {
      settle_in_random_order(prng);
      pass(100ms);
    }
    settle();
  }

  shard_answer_ptr ask_now(const std::string& id, shard_query::kind what) {
    shard_query x;
    x.what = what;
    x.from = *parse_day("2026-03-01");
    x.to = *parse_day("2026-03-30");
    x.limit = 50;
    auto result = ask<shard_answer_ptr>(stream.shards[id], atom::ask_v,
                                        std::make_shared<const shard_query>(x));
    BOOST_REQUIRE(result.has_value());
    BOOST_REQUIRE(static_cast<bool>(*result));
    return **result;
  }

  void check(const std::string& id) {
    std::map<uuid, int> times;
    for (const auto& x : tables->applied(id))
      ++times[x.event_id];
    BOOST_TEST(times.size() == sold[id].size());
    for (const auto& x : sold[id])
      BOOST_TEST(times[x.event_id] == 1);
    auto state = tables->load(id);
    auto days = ask_now(id, shard_query::kind::days);
    BOOST_TEST(days->pending_events == 0);
    BOOST_TEST(days->lag_ms.value_or(-1) == 0);
    BOOST_REQUIRE(days->days.size() == state.days.size());
    for (const auto& [day, totals] : days->days)
      BOOST_TEST((totals == state.days[day]));
    slice_request request;
    request.what = slice_request::kind::loyal;
    request.branch_id = id;
    auto loyal = tables->load_slice(request).by_purchases;
    auto customers = ask_now(id, shard_query::kind::loyal)->customers;
    BOOST_REQUIRE(loyal.size() == customers.size());
    for (size_t i = 0; i < loyal.size(); ++i)
      BOOST_TEST((loyal[i].totals == customers[i].totals));
  }

  const timestamp start = *parse_rfc3339("2026-03-10T12:00:00Z");
  std::mt19937 prng;
  bool calm = false;
  std::chrono::milliseconds elapsed{0};
  moody_stream stream;
  test::event_maker maker;
  test::table_model_ptr tables = std::make_shared<test::table_model>();
  test::outbox_script_ptr outbox = std::make_shared<test::outbox_script>();
  test::relay_script_ptr relay = std::make_shared<test::relay_script>();
  stream_consumer_actor consumer;
  backlog_reader_actor purchases;
  outbox_relay_actor relay_actor;
  aggregate_writer_actor writer;
  aggregate_reader_actor reader;
  std::map<std::string, std::vector<purchase_event>> sold;
  unsigned starts = 0;
  size_t asked = 0;
  size_t answered = 0;
  size_t lies = 0;
};

uint64_t count_of(const char* name, const std::string& labels = {}) {
  return metrics().get_counter(name, "", labels).value();
}

} // namespace

BOOST_AUTO_TEST_SUITE(shard_simulation_suite)

// Goal: whatever the stream does to its deliveries and the database to its
// commits, every event is applied exactly once, memory equals the tables, and
// each query is answered once. Method: a seed draws sales, deliveries that
// are lost, repeated or turned round, commits that fail before or behind,
// killed shards, a broker that forgets, and the next actor to run; then
// nothing fails any more.
BOOST_AUTO_TEST_CASE(every_event_is_applied_exactly_once) {
  for (unsigned seed = 0; seed < 300; ++seed) {
    BOOST_TEST_CONTEXT("seed " << seed) {
      world w{seed};
      for (int i = 0; i < 250; ++i)
        w.act();
      if (seed % 3 == 0)
        w.stream.forget();
      for (int i = 0; i < 150; ++i)
        w.act();
      w.heal();
      for (const auto& id : ids)
        w.check(id);
      BOOST_TEST(w.answered == w.asked);
      BOOST_TEST(w.lies == 0u);
    }
  }
  // Else it did not happen.
  BOOST_TEST(count_of("tillstream_duplicates_dropped_total") > 0u);
  BOOST_TEST(count_of("tillstream_apply_in_doubt_total") > 0u);
  BOOST_TEST(count_of("tillstream_stream_data_loss_total") > 0u);
  BOOST_TEST(count_of("tillstream_shard_stalls_total") > 0u);
  for (const auto* reason : {"gap", "redelivered", "lost"})
    BOOST_TEST(
      count_of("tillstream_shard_reopens_total", metric_label("reason", reason))
      > 0u);
}

BOOST_AUTO_TEST_SUITE_END()
