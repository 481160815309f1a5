#include <boost/test/unit_test.hpp>

#include "actors/directory/api_key.hpp"
#include "actors/directory/refresher.hpp"
#include "actors/directory/view.hpp"
#include "actors/runtime/spawn.hpp"
#include "messages/core/error.hpp"
#include "tests/support/actor_fixture.hpp"

#include <caf/actor_cast.hpp>

#include <set>
#include <utility>

using namespace tillstream;
using namespace std::chrono_literals;

namespace {

/// The database as the fake stores see it; outlives the actor.
struct database {
  storage::directory_snapshot content;
  std::optional<sha256_digest> link;
  uuid link_key;
  bool away = false;
  std::chrono::milliseconds clock_ahead{0};
  /// Attempts to open a session, and those that worked.
  int attempts = 0;
  int opened = 0;
  int loads = 0;
};

class fake_store : public storage::directory_store {
public:
  explicit fake_store(database& db) : db_(db) {
    ++db.opened;
  }

  caf::expected<timestamp> now() override {
    if (auto err = reach())
      return err;
    return wall_clock_now() + db_.clock_ahead;
  }

  caf::expected<int64_t> version() override {
    if (auto err = reach())
      return err;
    return db_.content.version;
  }

  caf::expected<storage::directory_snapshot> load() override {
    if (auto err = reach())
      return err;
    ++db_.loads;
    return db_.content;
  }

  caf::expected<void> save_chain(const chain&) override {
    return caf::make_error(errc::internal);
  }

  caf::expected<void> add_key(const storage::api_key&) override {
    return caf::make_error(errc::internal);
  }

  caf::expected<std::vector<storage::api_key>> list_keys() override {
    return caf::make_error(errc::internal);
  }

  caf::expected<void> revoke_key(const uuid&) override {
    return caf::make_error(errc::internal);
  }

  caf::expected<void>
  add_sign_in_link(const sha256_digest&, const uuid&, timestamp) override {
    return caf::make_error(errc::internal);
  }

  caf::expected<uuid> take_sign_in_link(const sha256_digest& digest) override {
    if (auto err = reach())
      return err;
    if (db_.link != digest)
      return caf::make_error(errc::not_found);
    db_.link.reset();
    return db_.link_key;
  }

  caf::expected<void> end_page_session(const uuid& id, timestamp) override {
    if (auto err = reach())
      return err;
    db_.content.ended_sessions.push_back(id);
    ++db_.content.version;
    return caf::unit;
  }

  caf::expected<int64_t>
  import_catalog(const std::vector<storage::catalog_product>&) override {
    return caf::make_error(errc::internal);
  }

private:
  /// A session that broke stays broken, as the real one does.
  caf::error reach() {
    if (db_.away)
      broken_ = true;
    if (broken_)
      return caf::make_error(errc::unavailable, "no route");
    return caf::none;
  }

  database& db_;
  bool broken_ = false;
};

storage::api_key key_for(std::string_view secret, storage::key_role role,
                         std::string branch_id = "") {
  storage::api_key result;
  result.key_id = uuid_source{}.v4();
  result.digest = secret_digest(secret);
  result.role = role;
  result.branch_id = std::move(branch_id);
  return result;
}

struct fixture : tests::actor_fixture {
  fixture() : view(std::make_shared<directory_view>()) {
    db.content.chain = default_chain();
    db.content.version = 1;
    db.content.keys.push_back(
      key_for("one", storage::key_role::till, "branch-1"));
  }

  ~fixture() {
    if (refresher)
      end(refresher);
  }

  void start() {
    directory_refresher_options options;
    options.open_store
      = [this]() -> caf::expected<storage::directory_store_ptr> {
      ++db.attempts;
      if (db.away)
        return caf::make_error(errc::unavailable, "connection refused");
      return storage::directory_store_ptr{std::make_unique<fake_store>(db)};
    };
    options.view = view;
    options.on_change = [this](const directory& x) {
      // By now everybody else sees the new copy, too.
      BOOST_TEST((view->get().get() == &x));
      ++changes;
    };
    refresher = spawn_actor(sys, directory_refresher, std::move(options));
    settle();
  }

  readiness state() {
    auto answer = ask<readiness>(refresher, atom::ready_v);
    BOOST_REQUIRE((answer && *answer));
    return **answer;
  }

  /// Lets one interval pass.
  void next_round() {
    advance(limits::key_refresh_interval);
  }

  database db;
  directory_view_ptr view;
  int changes = 0;
  directory_actor refresher;
};

} // namespace

BOOST_FIXTURE_TEST_SUITE(refresher_suite, fixture)

// -- the copy -----------------------------------------------------------------

BOOST_AUTO_TEST_CASE(a_key_opens_what_it_is_for_and_nothing_else_does) {
  db.content.keys.push_back(key_for("two", storage::key_role::owner));
  auto revoked = key_for("three", storage::key_role::operator_);
  revoked.revoked_at = timestamp{};
  db.content.keys.push_back(revoked);
  directory copy{db.content};
  auto till = copy.authenticate("one");
  BOOST_REQUIRE(till);
  BOOST_TEST((till->role == storage::key_role::till));
  BOOST_TEST(till->branch_id == "branch-1");
  BOOST_TEST((till->key_id == db.content.keys[0].key_id));
  BOOST_TEST((copy.authenticate("two")->role == storage::key_role::owner));
  for (auto wrong : {"", "three", "One", "one ", "on", "onee"})
    BOOST_TEST(!copy.authenticate(wrong), wrong);
  BOOST_TEST(!copy.authenticate(std::string(1'000'000, 'x')));
}

// Goal: the first eight bytes of a digest only say where to look. Method: two
// keys that share them.
BOOST_AUTO_TEST_CASE(the_whole_digest_decides) {
  auto twin = db.content.keys[0];
  twin.digest.back() ^= 1;
  twin.branch_id = "branch-2";
  db.content.keys = {twin};
  BOOST_TEST(!directory{db.content}.authenticate("one"));
  db.content.keys.push_back(
    key_for("one", storage::key_role::till, "branch-1"));
  auto found = directory{db.content}.authenticate("one");
  BOOST_REQUIRE(found);
  BOOST_TEST(found->branch_id == "branch-1");
}

BOOST_AUTO_TEST_CASE(every_branch_has_its_clock) {
  db.content.chain.branches[1].time_zone = "America/New_York";
  db.content.chain.branches[2].time_zone = "Atlantis/Capital";
  directory copy{db.content};
  BOOST_REQUIRE(copy.clock("branch-2") != nullptr);
  auto winter = parse_rfc3339("2026-01-15T12:00:00Z").value();
  BOOST_TEST((copy.clock("branch-2")->utc_offset(winter) == -5h));
  BOOST_TEST(copy.clock("branch-3") == nullptr);
  BOOST_TEST(copy.clock("branch-9") == nullptr);
}

BOOST_AUTO_TEST_CASE(secrets_are_of_the_agreed_form_and_never_the_same) {
  std::set<std::string> seen;
  for (auto role : {storage::key_role::till, storage::key_role::owner,
                    storage::key_role::operator_}) {
    auto prefix = "tsk_" + to_string(role) + "_";
    for (int i = 0; i < 100; ++i) {
      auto secret = make_secret(role);
      BOOST_TEST(secret.starts_with(prefix));
      auto random = secret.substr(prefix.size());
      BOOST_TEST(random.size() == 43u);
      BOOST_TEST(random.find_first_not_of(
                   "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                   "0123456789-_")
                 == std::string::npos);
      BOOST_TEST(secret.size() <= limits::api_key_bytes_max);
      seen.insert(random);
    }
  }
  BOOST_TEST(seen.size() == 300u);
}

// -- the actor ----------------------------------------------------------------

BOOST_AUTO_TEST_CASE(the_first_reading_fills_the_view) {
  BOOST_TEST((view->get() == nullptr));
  start();
  BOOST_REQUIRE((view->get() != nullptr));
  BOOST_TEST(view->get()->version() == 1);
  BOOST_TEST(view->get()->chain()->branches.size() == 3u);
  BOOST_TEST(state().ready);
  BOOST_TEST(changes == 1);
}

BOOST_AUTO_TEST_CASE(only_a_new_version_is_read_again) {
  start();
  for (int i = 0; i < 5; ++i)
    next_round();
  BOOST_TEST(db.loads == 1);
  BOOST_TEST(db.opened == 1);
  db.content.version = 2;
  next_round();
  BOOST_TEST(db.loads == 2);
  BOOST_TEST(view->get()->version() == 2);
}

BOOST_AUTO_TEST_CASE(a_revoked_key_stops_working_within_five_seconds) {
  start();
  BOOST_TEST(view->get()->authenticate("one").has_value());
  db.content.keys.clear();
  db.content.version = 2;
  advance_in_steps(5s);
  BOOST_TEST(!view->get()->authenticate("one").has_value());
}

BOOST_AUTO_TEST_CASE(only_changed_branches_are_announced) {
  start();
  db.content.keys.clear();
  db.content.version = 2;
  next_round();
  BOOST_TEST(changes == 1);
  db.content.chain.branches.push_back({"branch-4", "Four", "UTC", 0});
  db.content.version = 3;
  next_round();
  BOOST_TEST(changes == 2);
}

BOOST_AUTO_TEST_CASE(without_the_database_the_last_copy_stays_in_force) {
  start();
  db.away = true;
  next_round();
  auto now = state();
  BOOST_TEST(!now.ready);
  BOOST_TEST(now.part == "directory");
  BOOST_TEST((now.reason.find("no route") != std::string::npos));
  BOOST_TEST(view->get()->authenticate("one").has_value());
  // It comes back on a session of its own: the old one is broken.
  db.away = false;
  db.content.version = 2;
  next_round();
  BOOST_TEST(state().ready);
  BOOST_TEST(db.opened == 2);
  BOOST_TEST(view->get()->version() == 2);
}

BOOST_AUTO_TEST_CASE(a_database_that_is_away_at_the_start_is_awaited) {
  db.away = true;
  start();
  BOOST_TEST(!state().ready);
  BOOST_TEST((view->get() == nullptr));
  db.away = false;
  next_round();
  BOOST_TEST(state().ready);
  BOOST_TEST((view->get() != nullptr));
}

BOOST_AUTO_TEST_CASE(a_database_that_is_away_is_not_hammered) {
  db.away = true;
  start();
  // What is asked meanwhile is refused with the reason, without an attempt.
  for (int i = 0; i < 20; ++i) {
    auto done = ask<bool>(refresher, atom::close_v, session_end{});
    BOOST_REQUIRE((done && !*done));
    BOOST_TEST((done->error() == errc::unavailable));
  }
  BOOST_TEST(db.attempts == 1);
  // The wait grows: no more than one attempt in `backoff_max / 2` in the end.
  advance_in_steps(20s);
  auto before = db.attempts;
  advance_in_steps(60s);
  BOOST_TEST(db.attempts - before <= 24);
  db.away = false;
  advance_in_steps(limits::backoff_max);
  BOOST_TEST(state().ready);
}

BOOST_AUTO_TEST_CASE(a_stray_error_does_not_end_the_actor) {
  start();
  caf::anon_send(caf::actor_cast<caf::actor>(refresher),
                 caf::make_error(errc::internal, "a stray answer"));
  settle();
  BOOST_TEST(state().ready);
}

BOOST_AUTO_TEST_CASE(the_view_has_the_time_of_the_database) {
  db.clock_ahead = 1h;
  start();
  auto error = view->now() - (wall_clock_now() + 1h);
  BOOST_TEST((error > -1min && error < 1min));
  // A clock that was set is followed, although not at once by a worse
  // measurement than the last.
  db.clock_ahead = -1h;
  for (int i = 0; i < 40; ++i)
    next_round();
  error = view->now() - (wall_clock_now() - 1h);
  BOOST_TEST((error > -1min && error < 1min));
}

// -- signing in to the page ---------------------------------------------------

BOOST_AUTO_TEST_CASE(a_link_is_good_once) {
  db.link = secret_digest("tsl_a");
  db.link_key = uuid_source{1}.v4();
  start();
  auto wrong
    = ask<uuid>(refresher, atom::open_v, sign_in_link{secret_digest("tsl_b")});
  BOOST_REQUIRE((wrong && !*wrong));
  BOOST_TEST((wrong->error() == errc::not_found));
  auto taken
    = ask<uuid>(refresher, atom::open_v, sign_in_link{secret_digest("tsl_a")});
  BOOST_REQUIRE((taken && *taken));
  BOOST_TEST((**taken == db.link_key));
  auto again
    = ask<uuid>(refresher, atom::open_v, sign_in_link{secret_digest("tsl_a")});
  BOOST_TEST((again->error() == errc::not_found));
  // What is not there is no reason to open another session.
  BOOST_TEST(db.opened == 1);
}

BOOST_AUTO_TEST_CASE(an_ended_session_is_known_here_at_once) {
  start();
  page_session x{uuid_source{1}.v4(), db.content.keys[0].key_id,
                 view->now() + 1h};
  auto token = view->get()->seal(x);
  BOOST_TEST(view->get()->authenticate_session(token, view->now()).has_value());
  auto done = ask<bool>(refresher, atom::close_v,
                        session_end{x.session_id, x.expires_at});
  BOOST_REQUIRE((done && *done));
  BOOST_TEST(!view->get()->authenticate_session(token, view->now()));
}

BOOST_AUTO_TEST_CASE(without_the_database_sessions_cannot_be_ended) {
  start();
  db.away = true;
  auto done = ask<bool>(refresher, atom::close_v, session_end{});
  BOOST_REQUIRE((done && !*done));
  BOOST_TEST((done->error() == errc::unavailable));
  db.away = false;
  next_round();
  BOOST_TEST((ask<bool>(refresher, atom::close_v, session_end{})->engaged()));
}

BOOST_AUTO_TEST_SUITE_END()
