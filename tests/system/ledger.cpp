#include "tests/system/ledger.hpp"

#include <boost/test/unit_test.hpp>

#include <pqxx/pqxx>

namespace tillstream::test {

using namespace std::chrono_literals;

namespace {

constexpr const char* branches[] = {"branch-1", "branch-2", "branch-3"};

/// Tries for one sale; the waits between them add up to about a minute.
constexpr int tries_max = 300;

std::pair<std::string, uint16_t> host_and_port(const std::string& url) {
  auto begin = url.find("//") + 2;
  auto colon = url.rfind(':');
  return {url.substr(begin, colon - begin),
          static_cast<uint16_t>(std::stoul(url.substr(colon + 1)))};
}

} // namespace

selling_tills::selling_tills(ledger& book,
                             std::function<commands::endpoints()> where,
                             size_t tills, unsigned seed)
  : book_(book),
    where_(std::move(where)) {
  for (size_t i = 0; i < tills; ++i)
    threads_.emplace_back([this, seed, i] { run(seed * 1000 + i); });
}

selling_tills::~selling_tills() {
  stop();
}

void selling_tills::stop() {
  stopping_ = true;
  for (auto& thread : threads_)
    if (thread.joinable())
      thread.join();
}

void selling_tills::run(unsigned seed) {
  std::mt19937 prng{seed};
  http_client_options timeout;
  timeout.answer_max = 4s;
  while (!stopping_) {
    sale x;
    x.branch_id = branches[prng() % 3];
    x.items = {{"p" + std::to_string(prng() % 20),
                std::to_string(1 + prng() % 9) + ".25", "Thing"}};
    // One in twenty is a mistake that must never be recorded.
    if (prng() % 20 == 0)
      x.items[0].unit_price = "1.001";
    auto body = x.body();
    book_.attempt(x.idempotency_key);
    for (int i = 0; i < tries_max; ++i) {
      auto now = where_();
      auto [host, port] = host_and_port(now.http);
      http_client client{host, port, timeout};
      auto got = client.request(
        "POST", "/purchases",
        {{"Authorization", "Bearer " + now.till_keys[x.branch_id]},
         {"Content-Type", "application/json"}},
        body);
      auto status = got ? got->status : 0;
      book_.settle(x.idempotency_key, status);
      if (status == 201 || status == 422 || status == 400)
        break;
      std::this_thread::sleep_for(200ms);
    }
  }
}

void check_ledger(const ledger& book, const std::string& oltp_dsn) {
  pqxx::connection session{oltp_dsn};
  pqxx::work work{session};
  std::map<std::string, int> recorded;
  for (auto row : work.exec("SELECT idempotency_key::text FROM purchases"))
    ++recorded[row[0].as<std::string>()];
  auto fates = book.fates();
  size_t lost = 0;
  size_t refused_yet_there = 0;
  for (const auto& [key, fate] : fates) {
    auto count = recorded.count(key) > 0 ? recorded.at(key) : 0;
    lost += fate == ledger::fate::accepted && count != 1;
    refused_yet_there += fate == ledger::fate::refused && count > 0;
  }
  size_t unheard_of = 0;
  for (const auto& [key, count] : recorded)
    unheard_of += fates.count(key) == 0;
  BOOST_TEST(lost == 0u);
  BOOST_TEST(refused_yet_there == 0u);
  BOOST_TEST(unheard_of == 0u);
}

} // namespace tillstream::test
