#include <boost/test/unit_test.hpp>

#include "actors/directory/page_session.hpp"
#include "actors/directory/view.hpp"

#include <set>

using namespace tillstream;
using namespace std::chrono_literals;

namespace {

const sha256_digest secret = sha256("what the nodes share");
const auto now = from_ms(1'556'000'000'000);

page_session make_session(const uuid& key_id = uuid_source{1}.v4()) {
  return {uuid_source{2}.v4(), key_id, now + 1h};
}

/// A directory with one owner's key.
storage::directory_snapshot snapshot_with(const uuid& key_id) {
  storage::directory_snapshot result;
  result.chain = default_chain();
  result.session_secret = secret;
  storage::api_key key;
  key.key_id = key_id;
  key.role = storage::key_role::owner;
  result.keys.push_back(key);
  return result;
}

} // namespace

// -- the cookie ---------------------------------------------------------------

BOOST_AUTO_TEST_SUITE(page_session_suite)

BOOST_AUTO_TEST_CASE(a_session_comes_back_as_it_was_sealed) {
  auto x = make_session();
  auto back = open_session_token(seal_session(x, secret), secret);
  BOOST_REQUIRE(back);
  BOOST_TEST((back->session_id == x.session_id));
  BOOST_TEST((back->key_id == x.key_id));
  BOOST_TEST((back->expires_at == x.expires_at));
}

BOOST_AUTO_TEST_CASE(a_token_with_any_character_changed_is_nothing) {
  auto token = seal_session(make_session(), secret);
  for (size_t i = 0; i < token.size(); ++i) {
    auto changed = token;
    changed[i] = changed[i] == '0' ? '1' : '0';
    BOOST_TEST(!open_session_token(changed, secret), changed);
    BOOST_TEST(!open_session_token(token.substr(0, i), secret));
  }
  BOOST_TEST(!open_session_token(token + "0", secret));
  BOOST_TEST(!open_session_token(token, sha256("another secret")));
}

BOOST_AUTO_TEST_CASE(link_secrets_are_long_and_differ) {
  std::set<std::string> seen;
  for (int i = 0; i < 100; ++i) {
    auto x = make_link_secret();
    BOOST_TEST(x.size() == 47u);
    BOOST_TEST(seen.insert(x).second);
  }
}

// -- in the directory ---------------------------------------------------------

BOOST_AUTO_TEST_CASE(any_node_that_has_the_secret_accepts_a_session) {
  auto x = make_session();
  directory one{snapshot_with(x.key_id)};
  directory other{snapshot_with(x.key_id)};
  auto who = other.authenticate_session(one.seal(x), now);
  BOOST_REQUIRE(who);
  BOOST_TEST((who->role == storage::key_role::owner));
  BOOST_TEST((who->key_id == x.key_id));
  BOOST_TEST(other.still_allows(*who, now));
}

BOOST_AUTO_TEST_CASE(a_session_ends_with_its_time_its_key_or_by_signing_out) {
  auto x = make_session();
  auto content = snapshot_with(x.key_id);
  directory before{content};
  auto token = before.seal(x);
  auto who = before.authenticate_session(token, now);
  BOOST_REQUIRE(who);
  BOOST_TEST(!before.authenticate_session(token, x.expires_at));
  BOOST_TEST(!before.still_allows(*who, x.expires_at));

  auto signed_out = content;
  signed_out.ended_sessions.push_back(x.session_id);
  BOOST_TEST(!directory{signed_out}.authenticate_session(token, now));
  BOOST_TEST(!directory{signed_out}.still_allows(*who, now));

  auto revoked = content;
  revoked.keys.clear();
  BOOST_TEST(!directory{revoked}.authenticate_session(token, now));
  BOOST_TEST(!directory{revoked}.still_allows(*who, now));
  BOOST_TEST(!directory{revoked}.holder(x.key_id));
}

BOOST_AUTO_TEST_SUITE_END()
