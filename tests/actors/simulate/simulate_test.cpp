#include <boost/test/unit_test.hpp>

#include "actors/commands/command_line.hpp"
#include "actors/simulate/lane.hpp"
#include "actors/simulate/live.hpp"
#include "actors/simulate/sales_csv.hpp"
#include "actors/simulate/shoppers.hpp"
#include "actors/simulate/simulate.hpp"
#include "messages/codec/json.hpp"
#include "tests/support/temporary_directory.hpp"

#include <fmt/format.h>

#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <mutex>
#include <set>
#include <sstream>
#include <thread>

using namespace tillstream;
using namespace tillstream::commands;
using namespace std::chrono_literals;

BOOST_TEST_DONT_PRINT_LOG_VALUE(simulate_outcome)

namespace {

// -- a scripted server --------------------------------------------------------

struct posted {
  std::string authorization;
  std::string body;
  /// Which connection it came on.
  int connection = 0;
};

/// What the script wants to be answered; status 0 hangs up instead.
struct scripted {
  int status = 201;
  std::string body;
  std::string headers;
};

std::string
problem_body(const std::string& name, const std::string& pointer = {}) {
  auto errors = pointer.empty() ? std::string{}
                                : R"(,"errors":[{"pointer":")" + pointer
                                    + R"(","detail":"no"}])";
  return R"({"type":"/problems/)" + name + "\"" + errors + "}";
}

std::string
recorded(const std::string& total, const std::string& new_customer = {}) {
  return R"({"total":")" + total + R"(","user_id":")" + new_customer
         + R"(","new_customer":)" + (new_customer.empty() ? "false" : "true")
         + "}";
}

/// Listens on loopback, a thread a connection. Answers `GET` with 200 and `{}`
/// unless told otherwise, and each post as the script says.
class scripted_server {
public:
  using script = std::function<scripted(size_t nth, const posted&)>;

  explicit scripted_server(script answer) : answer_(std::move(answer)) {
    listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address);
    auto* raw = reinterpret_cast<sockaddr*>(&address);
    BOOST_REQUIRE(::bind(listener_, raw, size) == 0);
    BOOST_REQUIRE(::listen(listener_, 64) == 0);
    BOOST_REQUIRE(::getsockname(listener_, raw, &size) == 0);
    port_ = ntohs(address.sin_port);
    acceptor_ = std::thread{[this] { accept_all(); }};
  }

  ~scripted_server() {
    stopping_ = true;
    acceptor_.join();
    for (auto& x : connections_)
      x.join();
    ::close(listener_);
  }

  uint16_t port() const {
    return port_;
  }

  std::vector<posted> posts() const {
    std::lock_guard guard{mutex_};
    return posts_;
  }

  /// Body of `GET /customers`.
  std::string customers = "{}";
  int branches_status = 200;

private:
  bool readable(int fd) const {
    pollfd x{fd, POLLIN, 0};
    while (!stopping_)
      if (::poll(&x, 1, 10) > 0)
        return true;
    return false;
  }

  void accept_all() {
    while (readable(listener_)) {
      auto fd = ::accept(listener_, nullptr, nullptr);
      auto number = static_cast<int>(connections_.size());
      if (fd >= 0)
        connections_.emplace_back([this, fd, number] {
          serve(fd, number);
          ::close(fd);
        });
    }
  }

  void serve(int fd, int number) {
    std::string buffer;
    std::string head;
    std::string body;
    while (read_request(fd, buffer, head, body)) {
      auto reply = answer(head, body, number);
      if (reply.status == 0)
        return;
      auto text = "HTTP/1.1 " + std::to_string(reply.status)
                  + " X\r\nContent-Type: application/json\r\nContent-Length: "
                  + std::to_string(reply.body.size()) + "\r\n" + reply.headers
                  + "\r\n" + reply.body;
      if (::send(fd, text.data(), text.size(), MSG_NOSIGNAL) < 0)
        return;
    }
  }

  bool read_request(int fd, std::string& buffer, std::string& head,
                    std::string& body) const {
    size_t end = 0;
    while ((end = buffer.find("\r\n\r\n")) == std::string::npos)
      if (!read_more(fd, buffer))
        return false;
    head = buffer.substr(0, end);
    auto length = value_of(head, "Content-Length: ");
    auto size = length.empty() ? 0 : std::stoul(length);
    while (buffer.size() < end + 4 + size)
      if (!read_more(fd, buffer))
        return false;
    body = buffer.substr(end + 4, size);
    buffer.erase(0, end + 4 + size);
    return true;
  }

  bool read_more(int fd, std::string& buffer) const {
    char slice[4096];
    if (!readable(fd))
      return false;
    auto n = ::recv(fd, slice, sizeof(slice), 0);
    if (n > 0)
      buffer.append(slice, static_cast<size_t>(n));
    return n > 0;
  }

  static std::string
  value_of(const std::string& head, const std::string& name) {
    auto i = head.find("\r\n" + name);
    if (i == std::string::npos)
      return {};
    i += 2 + name.size();
    return head.substr(i, head.find("\r\n", i) - i);
  }

  scripted
  answer(const std::string& head, const std::string& body, int connection) {
    if (head.rfind("GET /branches ", 0) == 0)
      return {branches_status, "{}", {}};
    if (head.rfind("GET /customers?limit=100 ", 0) == 0)
      return {200, customers, {}};
    if (head.rfind("POST /purchases ", 0) != 0)
      return {404, "{}", {}};
    std::unique_lock guard{mutex_};
    posts_.push_back({value_of(head, "Authorization: "), body, connection});
    auto nth = posts_.size() - 1;
    auto copy = posts_.back();
    guard.unlock();
    return answer_(nth, copy);
  }

  script answer_;
  int listener_ = -1;
  uint16_t port_ = 0;
  std::atomic<bool> stopping_{false};
  std::thread acceptor_;
  std::vector<std::thread> connections_;
  mutable std::mutex mutex_;
  std::vector<posted> posts_;
};

// -- helpers ------------------------------------------------------------------

const std::string header
  = "receipt_id,branch_id,pos_id,cashier_id,user_id,occurred_at,product_id,"
    "name,unit_price,qty\n";

std::string member(const std::string& body, const std::string& name) {
  // No check of Boost's in here: it runs on the server's threads, too.
  json_document document;
  if (!document.parse(body).empty())
    return "(broken)";
  const auto* x = document.root().find(name);
  return x == nullptr ? "(none)" : std::string{x->text};
}

struct outcome {
  simulate_outcome code = simulate_outcome::invalid;
  std::string report;
  std::string progress;

  bool says(const std::string& text) const {
    return report.find(text) != std::string::npos;
  }
};

/// The options of a test: quick retries, three branches.
simulate_options options_for(const scripted_server& server) {
  simulate_options x;
  x.port = server.port();
  x.till_keys = {{"branch-1", "secret-1"}, {"branch-2", "secret-2"}};
  x.chain = default_chain();
  x.tills = 4;
  x.retry = {5, 1ms, 4ms, 2000ms};
  return x;
}

outcome run(simulate_options x) {
  std::ostringstream report;
  std::ostringstream progress;
  x.report_out = &report;
  x.progress_out = &progress;
  outcome result;
  result.code = simulate(x);
  result.report = report.str();
  result.progress = progress.str();
  return result;
}

struct fixture {
  /// Plays `lines` against `server`.
  outcome play(const scripted_server& server, const std::string& lines) {
    return play(options_for(server), lines);
  }

  outcome play(simulate_options x, const std::string& lines) {
    x.csv_path = directory.path() + "/sales.csv";
    std::ofstream{*x.csv_path} << header << lines;
    return run(x);
  }

  test::temporary_directory directory;
};

std::vector<sale_draft> read_all(const std::string& text, std::string& error) {
  std::istringstream in{text};
  sales_csv source{in, text.size()};
  std::vector<sale_draft> result;
  sale_draft next;
  while (source.next_draft(next))
    result.push_back(next);
  error = source.error();
  return result;
}

const std::string one_sale = "r-1,branch-1,pos-1,c-1,,2019-04-01T07:01:20"
                             "-04:00,p-1,Tea,2.50,1\n";

} // namespace

// -- sales of a CSV -----------------------------------------------------------

BOOST_AUTO_TEST_SUITE(simulate_suite)

BOOST_AUTO_TEST_SUITE(sales_of_a_csv)

BOOST_AUTO_TEST_CASE(lines_of_a_receipt_that_stand_together_are_one_sale) {
  std::string error;
  auto found = read_all(header
                          + "r-1,b-1,pos-1,c-1,,t,p-1,Tea,2.50,1\n"
                            "r-1,b-1,pos-1,c-1,,t,p-2,\"Cake, big\",3.00,2\n"
                            "r-1,b-2,pos-1,c-1,,t,p-1,Tea,2.50,1\n"
                            "r-2,b-2,pos-1,c-1,u,t,p-1,Tea,2.50,1\n",
                        error);
  BOOST_TEST(error == "");
  BOOST_REQUIRE(found.size() == 3u);
  BOOST_REQUIRE(found[0].lines.size() == 2u);
  BOOST_TEST(found[0].lines[1].name == "Cake, big");
  BOOST_TEST(found[0].lines[1].quantity == "2");
  BOOST_TEST(!found[0].new_customer);
  BOOST_TEST(found[1].branch_id == "b-2");
  BOOST_TEST(found[2].receipt_id == "r-2");
  BOOST_TEST(found[2].new_customer);
}

BOOST_AUTO_TEST_CASE(a_sale_goes_out_as_it_is) {
  std::istringstream in{header
                        + "r-1,b-1,pos-1,c-1,u-1,t,p-1,\"a \"\"b\"\"\",02.5,2\n"
                          "r-1,b-1,pos-1,c-1,u-1,t,p-1,,1e3,1.5\n"};
  sales_csv source{in, 0};
  sale found;
  BOOST_REQUIRE(source.next(found));
  BOOST_TEST(found.body
             == "{\"branch_id\":\"b-1\",\"cashier_id\":\"c-1\",\"pos_id\":"
                "\"pos-1\",\"receipt_id\":\"r-1\",\"idempotency_key\":\""
                  + to_string(sale_key("b-1", "r-1"))
                  + "\",\"user_id\":\"u-1\",\"new_customer\":true,"
                    "\"occurred_at\":\"t\",\"items\":[{\"product_id\":\"p-1\","
                    "\"name\":\"a \\\"b\\\"\",\"unit_price\":\"02.5\",\"qty\":2"
                    "},{\"product_id\":\"p-1\",\"unit_price\":\"1e3\",\"qty\":"
                    "\"1.5\"}]}");
  BOOST_TEST(!source.next(found));
  BOOST_TEST(source.error() == "");
}

BOOST_AUTO_TEST_CASE(a_purchase_whose_lines_disagree_is_an_error) {
  std::string error;
  auto found = read_all(header
                          + "r-0,b-1,pos-1,c-1,,t,p-1,Tea,2.50,1\n"
                            "r-1,b-1,pos-1,c-1,,t,p-1,Tea,2.50,1\n"
                            "r-1,b-1,pos-2,c-1,,t,p-2,Tea,2.50,1\n",
                        error);
  BOOST_TEST(found.size() == 1u);
  BOOST_TEST(error
             == "line 4: the lines of a purchase must agree in pos_id, "
                "cashier_id, user_id and occurred_at");
}

BOOST_AUTO_TEST_CASE(a_sale_before_a_broken_line_is_not_sent_in_part) {
  std::string error;
  auto found = read_all(header + one_sale + "r-1,branch-1\n", error);
  BOOST_TEST(found.empty());
  BOOST_TEST(error == "line 3: 2 fields where the first line has 10");
}

BOOST_AUTO_TEST_CASE(a_purchase_without_end_does_not_fill_the_memory) {
  std::string error;
  auto text = header;
  while (text.size() < 4'000'000)
    text += one_sale;
  BOOST_TEST(read_all(text, error).empty());
  BOOST_TEST(error.ends_with("the purchase is too long"));
}

BOOST_AUTO_TEST_CASE(a_key_depends_on_branch_and_receipt_and_nothing_else) {
  auto key = sale_key("branch-1", "r-1");
  BOOST_TEST(to_string(key) == to_string(sale_key("branch-1", "r-1")));
  BOOST_TEST(to_string(key) != to_string(sale_key("branch-2", "r-1")));
  BOOST_TEST(to_string(key) != to_string(sale_key("branch-1", "r-2")));
  BOOST_TEST(to_string(sale_key("ab", "c")) != to_string(sale_key("a", "bc")));
  BOOST_TEST((key.bytes[6] >> 4) == 8);
  BOOST_TEST((key.bytes[8] >> 6) == 2);
  // Stable over releases: tills that play an old month again rely on it.
  BOOST_TEST(to_string(key) == "d0d6aa0d-1b1b-80d1-8ee6-3f4594e6c668");
}

// Goal: the month reads as its documentation says, to the cent. Method: count
// what the rules of a purchase accept.
BOOST_AUTO_TEST_CASE(the_real_month_has_39271_sales_of_which_19132_are_valid) {
  namespace fs = std::filesystem;
  fs::path csv = "shared/data/coffee_chain_2019-04.csv";
  auto dir = fs::current_path();
  if (const char* told = std::getenv("TILLSTREAM_SHARED_DIR")) {
    dir = told;
    csv = "data/coffee_chain_2019-04.csv";
  }
  while (!fs::exists(dir / csv) && dir != dir.parent_path())
    dir = dir.parent_path();
  if (!fs::exists(dir / csv)) {
    BOOST_TEST_MESSAGE("skipped: no shared/data above the working directory, "
                       "and TILLSTREAM_SHARED_DIR is not set");
    std::cout << "skipped: the real month is not here" << std::endl;
    return;
  }
  std::ifstream in{dir / csv, std::ios::binary};
  sales_csv source{in, 0};
  sale_draft next;
  int sales = 0;
  int valid = 0;
  minor_units revenue = 0;
  while (source.next_draft(next)) {
    ++sales;
    std::set<std::string> products;
    minor_units total = 0;
    auto fine = std::all_of(
      next.lines.begin(), next.lines.end(), [&](const sale_line& x) {
        minor_units price = 0;
        auto error = parse_money(x.unit_price, {}, 1'000'000, false, price);
        total += price;
        return error == money_error::none && x.quantity == "1"
               && products.insert(x.product_id).second;
      });
    if (!fine)
      continue;
    ++valid;
    revenue += total;
  }
  BOOST_TEST(source.error() == "");
  BOOST_TEST(sales == 39'271);
  BOOST_TEST(valid == 19'132);
  BOOST_TEST(revenue == 81'214'18);
}

BOOST_AUTO_TEST_SUITE_END()

// -- playing ------------------------------------------------------------------

BOOST_FIXTURE_TEST_SUITE(playing, fixture)

BOOST_AUTO_TEST_CASE(every_sale_is_posted_once_with_its_branchs_key) {
  scripted_server server{[](size_t, const posted&) {
    return scripted{201, recorded("2.50"), {}};
  }};
  auto result = play(server, one_sale
                               + "r-1,branch-2,pos-1,c-1,,t,p-1,Tea,2.50,1\n"
                                 "r-9,branch-9,pos-1,c-1,,t,p-1,Tea,2.50,1\n");
  BOOST_TEST(result.code == simulate_outcome::done);
  auto posts = server.posts();
  BOOST_REQUIRE(posts.size() == 3u);
  std::map<std::string, std::string> keys;
  for (const auto& x : posts)
    keys[member(x.body, "branch_id")] = x.authorization;
  BOOST_TEST(keys["branch-1"] == "Bearer secret-1");
  BOOST_TEST(keys["branch-2"] == "Bearer secret-2");
  // Unknown to the chain: any key, so that the server can say just that.
  BOOST_TEST(keys["branch-9"] == "Bearer secret-1");
}

BOOST_AUTO_TEST_CASE(a_503_is_retried_with_the_same_bytes) {
  scripted_server server{[](size_t nth, const posted&) {
    return nth < 3
             ? scripted{503, problem_body("overloaded"), "Retry-After: 0\r\n"}
             : scripted{201, recorded("2.50"), {}};
  }};
  auto result = play(server, one_sale);
  BOOST_TEST(result.code == simulate_outcome::done);
  auto posts = server.posts();
  BOOST_REQUIRE(posts.size() == 4u);
  for (const auto& x : posts)
    BOOST_TEST(x.body == posts.front().body);
  BOOST_TEST(member(posts.front().body, "idempotency_key")
             == to_string(sale_key("branch-1", "r-1")));
  BOOST_TEST(result.says("recorded                1"));
  BOOST_TEST(result.says("retries                 3"));
}

BOOST_AUTO_TEST_CASE(busy_and_in_progress_and_a_cut_connection_are_retried) {
  for (auto first : {scripted{429, problem_body("too-many-requests"), {}},
                     scripted{409, problem_body("request-in-progress"), {}},
                     scripted{500, "oops", {}}, scripted{0, {}, {}}}) {
    scripted_server server{[&first](size_t nth, const posted&) {
      return nth == 0 ? first : scripted{201, recorded("2.50"), {}};
    }};
    auto result = play(server, one_sale);
    BOOST_TEST(result.code == simulate_outcome::done);
    BOOST_TEST(server.posts().size() == 2u);
    BOOST_TEST(server.posts()[0].body == server.posts()[1].body);
  }
}

BOOST_AUTO_TEST_CASE(a_definite_no_is_not_retried_and_is_no_failure) {
  for (auto no :
       {scripted{422, problem_body("validation-failed", "/items/7/qty"), {}},
        scripted{422, problem_body("idempotency-key-reused"), {}},
        scripted{409, problem_body("receipt-already-used"), {}},
        scripted{400, problem_body("malformed-json"), {}},
        scripted{413, problem_body("body-too-large"), {}}}) {
    scripted_server server{[&no](size_t, const posted&) { return no; }};
    auto result = play(server, one_sale);
    BOOST_TEST(result.code == simulate_outcome::done);
    BOOST_TEST(server.posts().size() == 1u);
    BOOST_TEST(result.says("refused                 1"));
    BOOST_TEST(result.says("failed                  0"));
  }
}

BOOST_AUTO_TEST_CASE(a_key_that_is_not_accepted_is_a_failure) {
  for (auto status : {401, 403}) {
    scripted_server server{[=](size_t, const posted&) {
      return scripted{status, "{}", {}};
    }};
    auto result = play(server, one_sale);
    BOOST_TEST(result.code == simulate_outcome::failed);
    BOOST_TEST(server.posts().size() == 1u);
  }
}

BOOST_AUTO_TEST_CASE(retries_end_and_what_is_left_is_a_failure) {
  scripted_server server{[](size_t, const posted&) {
    return scripted{503, problem_body("overloaded"), {}};
  }};
  auto result = play(server, one_sale);
  BOOST_TEST(result.code == simulate_outcome::failed);
  BOOST_TEST(server.posts().size() == 5u);
  BOOST_TEST(result.says("failed                  1"));
  BOOST_TEST(result.says("1  503 overloaded"));
}

BOOST_AUTO_TEST_CASE(retry_after_is_honoured_up_to_a_bound) {
  scripted_server server{[](size_t nth, const posted&) {
    return nth == 0 ? scripted{503, "{}", "Retry-After: 9999\r\n"}
                    : scripted{201, recorded("2.50"), {}};
  }};
  auto options = options_for(server);
  options.retry.retry_after_max = 150ms;
  auto begin = std::chrono::steady_clock::now();
  BOOST_TEST(play(options, one_sale).code == simulate_outcome::done);
  auto took = std::chrono::steady_clock::now() - begin;
  BOOST_TEST((took >= 150ms));
  BOOST_TEST((took < 60s));
}

// Goal: the report's totals are those of the answers. Method: answers that
// depend on the receipt.
BOOST_AUTO_TEST_CASE(the_report_adds_up_what_the_answers_said) {
  std::string lines;
  for (int i = 0; i < 30; ++i)
    for (auto* branch : {"branch-1", "branch-2"})
      lines += "r-" + std::to_string(i) + "," + branch + ",pos-"
               + std::to_string(i % 3) + ",c-1,,t,p-1,Tea,2.50,1\n";
  scripted_server server{[](size_t, const posted& x) {
    auto i = std::stoi(member(x.body, "receipt_id").substr(2));
    if (i < 3)
      return scripted{
        422, problem_body("validation-failed", "/items/10/qty"), {}};
    if (i < 5)
      return scripted{
        422, problem_body("validation-failed", "/items/0/qty"), {}};
    if (i < 6)
      return scripted{422, problem_body("idempotency-key-reused"), {}};
    if (i < 10)
      return scripted{201, recorded("9.99"), "Idempotent-Replayed: true\r\n"};
    return scripted{
      201,
      recorded(member(x.body, "branch_id") == "branch-1" ? "100.05" : "0.10"),
      {}};
  }};
  auto result = play(server, lines);
  BOOST_TEST(result.code == simulate_outcome::done);
  BOOST_TEST(result.says("60 sales in "));
  BOOST_TEST(result.says(" over 4 tills"));
  BOOST_TEST(result.says("recorded               40\n"));
  BOOST_TEST(result.says("replayed                8\n"));
  BOOST_TEST(result.says("refused                12\n"));
  BOOST_TEST(result.says("        10  422 validation-failed /items/*/qty\n"));
  BOOST_TEST(result.says("         2  422 idempotency-key-reused\n"));
  BOOST_TEST(result.says("failed                  0\n"));
  BOOST_TEST(result.says("branch-1                     20         2,001.00   "
                         "       4          6        0\n"));
  BOOST_TEST(result.says("branch-2                     20             2.00   "
                         "       4          6        0\n"));
  BOOST_TEST(result.says("total                        40         2,003.00   "
                         "       8         12        0\n"));
}

BOOST_AUTO_TEST_CASE(a_pos_keeps_its_order) {
  std::string lines;
  for (int i = 0; i < 200; ++i)
    lines += std::to_string(1000 + i) + ",branch-1,pos-" + std::to_string(i % 7)
             + ",c-1,,t,p-1,Tea,2.50,1\n";
  scripted_server server{[](size_t, const posted&) {
    return scripted{201, recorded("1.00"), {}};
  }};
  BOOST_TEST(play(server, lines).code == simulate_outcome::done);
  std::map<std::string, std::string> last;
  for (const auto& x : server.posts()) {
    auto receipt = member(x.body, "receipt_id");
    auto& before = last[member(x.body, "pos_id")];
    BOOST_TEST(before < receipt);
    before = receipt;
  }
  BOOST_TEST(last.size() == 7u);
}

BOOST_AUTO_TEST_CASE(nothing_is_posted_after_stop) {
  std::atomic<bool> stop{false};
  scripted_server server{[&stop](size_t nth, const posted&) {
    if (nth == 20)
      stop = true;
    return scripted{201, recorded("1.00"), {}};
  }};
  auto options = options_for(server);
  options.tills = 1;
  options.rate = 200;
  options.stop = &stop;
  std::string lines;
  for (int i = 0; i < 20'000; ++i)
    lines += std::to_string(i) + one_sale.substr(3);
  auto result = play(options, lines);
  BOOST_TEST(result.code == simulate_outcome::done);
  auto posts = server.posts().size();
  BOOST_TEST(posts > 20u);
  BOOST_TEST(posts < 10'000u);
  BOOST_TEST(result.says(
    fmt::format("recorded {:>16}\n", grouped(std::to_string(posts)))));
}

BOOST_AUTO_TEST_CASE(a_run_without_any_answer_gives_up) {
  scripted_server server{[](size_t, const posted&) {
    return scripted{0, {}, {}};
  }};
  std::string lines;
  for (int i = 0; i < 20'000; ++i)
    lines += std::to_string(i) + one_sale.substr(3);
  auto result = play(server, lines);
  BOOST_TEST(result.code == simulate_outcome::failed);
  BOOST_TEST(server.posts().size() < 20'000u);
  BOOST_TEST((result.progress.find("gave up") != std::string::npos));
}

BOOST_AUTO_TEST_CASE(latency_counts_from_when_a_sale_was_due) {
  // One till, 100 sales a second asked for, and a server that takes 20 ms: the
  // last of 30 sales is due at 290 ms and answered at 600 ms or later.
  scripted_server server{[](size_t, const posted&) {
    std::this_thread::sleep_for(20ms);
    return scripted{201, recorded("1.00"), {}};
  }};
  auto options = options_for(server);
  options.tills = 1;
  options.rate = 100;
  std::string lines;
  for (int i = 0; i < 30; ++i)
    lines += std::to_string(i) + one_sale.substr(3);
  auto result = play(options, lines);
  auto text = result.report.substr(result.report.find("max ") + 4);
  BOOST_TEST(std::stod(text) >= 300.0);
}

BOOST_AUTO_TEST_CASE(a_rate_paces_the_sales) {
  scripted_server server{[](size_t, const posted&) {
    return scripted{201, recorded("1.00"), {}};
  }};
  auto options = options_for(server);
  options.rate = 100;
  std::string lines;
  for (int i = 0; i < 31; ++i)
    lines += std::to_string(i) + one_sale.substr(3);
  auto begin = std::chrono::steady_clock::now();
  BOOST_TEST(play(options, lines).code == simulate_outcome::done);
  BOOST_TEST((std::chrono::steady_clock::now() - begin >= 300ms));
}

BOOST_AUTO_TEST_CASE(what_makes_no_sense_is_wrong_usage_and_posts_nothing) {
  scripted_server server{[](size_t, const posted&) {
    return scripted{201, recorded("1.00"), {}};
  }};
  auto fine = options_for(server);
  auto no_keys = fine;
  no_keys.till_keys.clear();
  BOOST_TEST(play(no_keys, one_sale).code == simulate_outcome::invalid);
  auto no_tills = fine;
  no_tills.tills = 0;
  BOOST_TEST(play(no_tills, one_sale).code == simulate_outcome::invalid);
  for (auto rate : {-1.0, 1e-9, 1e9, std::nan("")}) {
    auto odd = fine;
    odd.rate = rate;
    BOOST_TEST(play(odd, one_sale).code == simulate_outcome::invalid);
  }
  auto nowhere = fine;
  nowhere.csv_path = directory.path() + "/nothing.csv";
  BOOST_TEST(run(nowhere).code == simulate_outcome::invalid);
  BOOST_TEST(play(fine, "too,few\n").code == simulate_outcome::invalid);
  BOOST_TEST(server.posts().empty());
}

BOOST_AUTO_TEST_CASE(
  a_csv_that_breaks_off_is_wrong_usage_after_what_was_whole) {
  scripted_server server{[](size_t, const posted&) {
    return scripted{201, recorded("1.00"), {}};
  }};
  auto result = play(server, one_sale + "r-2" + one_sale.substr(3) + "r-3\n");
  BOOST_TEST(result.code == simulate_outcome::invalid);
  BOOST_TEST(server.posts().size() == 1u);
  BOOST_TEST((result.progress.find("line 4: ") != std::string::npos));
  BOOST_TEST(result.says("recorded                1"));
}

BOOST_AUTO_TEST_CASE(no_server_and_no_valid_key_are_told_at_once) {
  simulate_options nobody;
  {
    scripted_server server{[](size_t, const posted&) { return scripted{}; }};
    nobody = options_for(server);
    server.branches_status = 401;
    auto result = play(server, one_sale);
    BOOST_TEST(result.code == simulate_outcome::failed);
    BOOST_TEST(result.progress
               == "tillstream: the server does not accept the till key\n");
    BOOST_TEST(server.posts().empty());
  }
  auto result = play(nobody, one_sale);
  BOOST_TEST(result.code == simulate_outcome::failed);
  BOOST_TEST(result.progress.starts_with("tillstream: no answer from "));
}

BOOST_AUTO_TEST_CASE(shoppers_shop_for_as_long_as_they_are_told) {
  std::atomic<int> customers{0};
  scripted_server server{[&customers](size_t, const posted& x) {
    if (member(x.body, "user_id") != "(none)")
      return scripted{201, recorded("1.00"), {}};
    // Begins with 0: keeps the card.
    auto id
      = fmt::format("0000000{}-0000-4000-8000-000000000000", customers++ % 10);
    return scripted{201, recorded("1.00", id), {}};
  }};
  auto options = options_for(server);
  options.duration_s = 1;
  options.rate = 300;
  auto result = run(options);
  BOOST_TEST(result.code == simulate_outcome::done);
  auto posts = server.posts();
  BOOST_TEST(posts.size() > 150u);
  BOOST_TEST(posts.size() < 450u);
  auto known = std::count_if(posts.begin(), posts.end(), [](const posted& x) {
    return member(x.body, "user_id").starts_with("0000000");
  });
  BOOST_TEST(known > 30);
}

BOOST_AUTO_TEST_CASE(shoppers_begin_with_customers_whom_the_chain_knows) {
  scripted_server server{[](size_t, const posted&) {
    return scripted{201, recorded("1.00"), {}};
  }};
  server.customers = R"({"customers":[{"user_id":)"
                     R"("9f0bb3a0-51d5-4b22-9d44-1d0a8f0f2f11"}]})";
  auto options = options_for(server);
  options.chain.branches.resize(1);
  options.duration_s = 1;
  options.rate = 200;
  BOOST_TEST(run(options).code == simulate_outcome::done);
  auto posts = server.posts();
  auto known = std::count_if(posts.begin(), posts.end(), [](const posted& x) {
    return member(x.body, "user_id") == "9f0bb3a0-51d5-4b22-9d44-1d0a8f0f2f11";
  });
  BOOST_TEST(known > 20);
}

BOOST_AUTO_TEST_SUITE_END()

// -- shoppers -----------------------------------------------------------------

BOOST_AUTO_TEST_SUITE(made_up_shoppers)

namespace {

std::unique_ptr<shoppers>
make_shoppers(uint64_t seed, const tillstream::chain& chain,
              const std::string& now) {
  auto t = *parse_rfc3339(now);
  auto result = shoppers::make(chain, {seed, "run", [t] { return t; }});
  BOOST_REQUIRE(result);
  return std::move(*result);
}

} // namespace

BOOST_AUTO_TEST_CASE(the_same_seed_makes_the_same_sales) {
  auto bodies = [](uint64_t seed) {
    auto source = make_shoppers(seed, default_chain(), "2024-05-06T09:00:00Z");
    std::string result;
    sale next;
    for (int i = 0; i < 100 && source->next(next); ++i)
      result += next.body;
    return result;
  };
  BOOST_TEST(bodies(7) == bodies(7));
  BOOST_TEST(bodies(7) != bodies(8));
}

BOOST_AUTO_TEST_CASE(baskets_follow_the_rules_of_a_purchase) {
  auto source = make_shoppers(1, default_chain(), "2024-05-06T09:00:00Z");
  std::set<std::string> receipts;
  std::set<std::string> tills;
  std::map<std::string, int> sold;
  for (int i = 0; i < 5000; ++i) {
    auto x = source->next_draft();
    BOOST_TEST(receipts.insert(x.branch_id + "/" + x.receipt_id).second);
    tills.insert(x.branch_id + "/" + x.pos_id);
    BOOST_TEST((!x.lines.empty() && x.lines.size() <= 6));
    std::set<std::string> products;
    for (const auto& line : x.lines) {
      minor_units price = 0;
      BOOST_TEST(products.insert(line.product_id).second);
      BOOST_TEST((parse_money(line.unit_price, {}, 10'000, false, price)
                  == money_error::none));
      BOOST_TEST(line.quantity == "1");
      ++sold[line.product_id];
    }
    BOOST_TEST(x.occurred_at == "");
  }
  BOOST_TEST(tills.size() == 9u);
  BOOST_TEST(sold.size() == 60u);
  // Best sellers sell, slow ones hardly.
  BOOST_TEST(sold["drip-m"] > 10 * sold["french-press"]);
}

BOOST_AUTO_TEST_CASE(a_branch_in_its_morning_sells_more_than_one_at_night) {
  auto chain = default_chain();
  chain.branches[1].time_zone = "Asia/Tokyo";
  auto source = make_shoppers(3, chain, "2024-05-06T08:30:00Z");
  std::map<std::string, int> sales;
  for (int i = 0; i < 3000; ++i)
    ++sales[source->next_draft().branch_id];
  BOOST_TEST(sales["branch-1"] > 2 * sales["branch-2"]);
  auto night = make_shoppers(3, default_chain(), "2024-05-06T03:00:00Z");
  BOOST_TEST(night->next_draft().lines.size() > 0u);
}

BOOST_AUTO_TEST_CASE(known_customers_come_again_and_some_have_no_card) {
  auto source = make_shoppers(5, default_chain(), "2024-05-06T09:00:00Z");
  BOOST_TEST(source->next_draft().user_id == "");
  for (auto* branch : {"branch-1", "branch-2", "branch-3"})
    source->customer(branch, std::string{"1"} + branch);
  source->customer("branch-1", "f takes no card");
  BOOST_TEST(source->customers().size("branch-1") == 1u);
  int known = 0;
  int visits = 0;
  for (int i = 0; i < 2000; ++i) {
    auto x = source->next_draft();
    known += !x.user_id.empty();
    visits += !x.user_id.empty() && x.user_id != "1" + x.branch_id;
    BOOST_TEST(!x.new_customer);
  }
  BOOST_TEST((known > 900 && known < 1300));
  BOOST_TEST((visits > 5 && visits < 100));
}

BOOST_AUTO_TEST_CASE(the_book_of_customers_has_an_end) {
  customer_book book;
  BOOST_TEST(book.pick("b", 0.5) == "");
  for (size_t i = 0; i <= customer_book::branch_customers_max; ++i)
    book.add("b", std::to_string(i));
  BOOST_TEST(book.size("b") == customer_book::branch_customers_max);
  BOOST_TEST(book.pick("b", 0) == "0");
  BOOST_TEST(book.pick("b", 1) == "4999");
}

BOOST_AUTO_TEST_CASE(prices_have_the_digits_of_the_currency) {
  for (auto [code, price] : {std::pair{"JPY", "275"}, {"KWD", "2.750"}}) {
    auto chain = default_chain();
    chain.currency = *find_currency(code);
    auto source = make_shoppers(1, chain, "2024-05-06T09:00:00Z");
    std::string found;
    for (int i = 0; i < 500 && found.empty(); ++i)
      for (const auto& x : source->next_draft().lines)
        if (x.product_id == "drip-m")
          found = x.unit_price;
    BOOST_TEST(found == price);
  }
}

BOOST_AUTO_TEST_CASE(a_chain_without_branches_is_refused) {
  BOOST_TEST(!shoppers::make(chain{}, {}));
}

BOOST_AUTO_TEST_SUITE_END()

// -- lanes and reports --------------------------------------------------------

BOOST_AUTO_TEST_SUITE(lanes_and_reports)

BOOST_AUTO_TEST_CASE(each_pos_has_its_own_lane_while_there_are_lanes) {
  lane_plan plan{3};
  std::set<size_t> lanes;
  for (auto* pos : {"a", "b", "c"})
    lanes.insert(plan.lane_of({"branch-1", pos, {}}));
  BOOST_TEST(lanes.size() == 3u);
  auto shared = plan.lane_of({"branch-1", "d", {}});
  BOOST_TEST(shared < 3u);
  BOOST_TEST(plan.lane_of({"branch-1", "d", {}}) == shared);
  BOOST_TEST(plan.lane_of({"branch-1", "a", {}})
             == plan.lane_of({"branch-1", "a", {}}));
  BOOST_TEST(plan.used() == 3u);
}

BOOST_AUTO_TEST_CASE(a_full_lane_waits_until_stop) {
  sale_lane lane;
  std::atomic<bool> stop{false};
  for (size_t i = 0; i < sale_lane::waiting_max; ++i)
    BOOST_TEST(lane.push({}, stop));
  stop = true;
  BOOST_TEST(!lane.push({}, stop));
  BOOST_TEST(!lane.pop(stop));
}

BOOST_AUTO_TEST_CASE(a_closed_lane_is_emptied_first) {
  sale_lane lane;
  std::atomic<bool> stop{false};
  lane.push({}, stop);
  lane.close();
  BOOST_TEST(lane.pop(stop).has_value());
  BOOST_TEST(!lane.pop(stop).has_value());
}

BOOST_AUTO_TEST_CASE(quantiles_are_within_two_percent) {
  latency_histogram histogram;
  BOOST_TEST(histogram.quantile(0.5).count() == 0);
  for (int64_t i = 1; i <= 100'000; ++i)
    histogram.add(duration_us{i});
  for (auto share : {0.001, 0.01, 0.5, 0.9, 0.99, 0.999}) {
    auto exact = share * 100'000;
    auto found = static_cast<double>(histogram.quantile(share).count());
    BOOST_TEST(found >= exact);
    BOOST_TEST(found <= exact * 1.016);
  }
  BOOST_TEST(histogram.quantile(1).count() == 100'000);
  BOOST_TEST(histogram.max().count() == 100'000);
  histogram.add(duration_us{std::numeric_limits<int64_t>::max()});
  histogram.add(duration_us{-5});
  BOOST_TEST(histogram.count() == 100'002u);
}

BOOST_AUTO_TEST_CASE(names_beyond_the_limit_share_one_line) {
  scoreboard board;
  sale_result x;
  x.what = sale_result::kind::refused;
  for (int i = 0; i < 1000; ++i) {
    x.reason = "reason " + std::to_string(i);
    board.add("b" + std::to_string(i), x, duration_us{1});
  }
  auto counts = board.snapshot();
  BOOST_TEST(counts.branches.size() <= scoreboard::names_max + 1);
  BOOST_TEST(counts.refusals.size() <= scoreboard::names_max + 1);
  BOOST_TEST(counts.refusals["(others)"] == 800);
  BOOST_TEST(counts.total.refused == 1000);
}

BOOST_AUTO_TEST_CASE(any_answer_ends_a_row_of_failures) {
  scoreboard board;
  sale_result x;
  x.reason = "no answer";
  for (int i = 0; i < 3; ++i)
    board.add("b", x, duration_us{1});
  BOOST_TEST(board.failures_in_a_row() == 3);
  x.what = sale_result::kind::refused;
  board.add("b", x, duration_us{1});
  BOOST_TEST(board.failures_in_a_row() == 0);
  auto counts = board.snapshot();
  BOOST_TEST(counts.failures["no answer"] == 3);
  // Only what was answered has a latency.
  BOOST_TEST(counts.latency.count() == 1u);
}

BOOST_AUTO_TEST_CASE(progress_shows_a_bar_on_a_terminal_only) {
  tally counts;
  counts.total.recorded = 1000;
  counts.total.refused = 500;
  BOOST_TEST(render_progress(counts, 10s, 0.5, true)
             == "[############------------]  50 %  1,500 sales, 150/s, 500 "
                "refused, 0:10 left");
  BOOST_TEST(render_progress(counts, 10s, 0.5, false)
             == " 50 %  1,500 sales, 150/s, 500 refused, 0:10 left");
  BOOST_TEST(render_progress(counts, 10s, std::nullopt, true)
             == "1,500 sales, 150/s, 500 refused");
}

BOOST_AUTO_TEST_CASE(text_from_outside_cannot_drive_the_terminal) {
  BOOST_TEST(printable("a\x1b[2Jb\n") == "a?[2Jb?");
  BOOST_TEST(printable(std::string(500, 'x')).size() == 80u);
}

BOOST_AUTO_TEST_CASE(digits_are_grouped_by_thousands) {
  BOOST_TEST(grouped("1") == "1");
  BOOST_TEST(grouped("999") == "999");
  BOOST_TEST(grouped("1000") == "1,000");
  BOOST_TEST(grouped("1234567.891") == "1,234,567.891");
  BOOST_TEST(grouped("-1234.50") == "-1,234.50");
}

BOOST_AUTO_TEST_SUITE_END()

// -- live ---------------------------------------------------------------------

BOOST_AUTO_TEST_SUITE(live_sales)

namespace {

chain new_york() {
  auto result = default_chain();
  for (auto& where : result.branches)
    where.time_zone = "America/New_York";
  return result;
}

/// Sales at these instants, all of one branch.
std::string sales_at(const std::vector<std::string>& times) {
  std::string result = "receipt_id,branch_id,pos_id,cashier_id,user_id,"
                       "occurred_at,product_id,name,unit_price,qty\n";
  for (size_t i = 0; i < times.size(); ++i)
    result += fmt::format("r-{},branch-1,pos-1,anna,,{},espresso,Espresso,"
                          "2.50,1\n",
                          i, times[i]);
  return result;
}

std::vector<std::pair<bool, sale_draft>> play_all(live_csv& source) {
  std::vector<std::pair<bool, sale_draft>> result;
  sale_draft draft;
  for (auto past = source.is_past(); source.next_draft(draft);
       past = source.is_past())
    result.emplace_back(past, draft);
  return result;
}

} // namespace

BOOST_AUTO_TEST_CASE(a_history_keeps_weekdays_and_hours_and_ends_now) {
  // Monday to Friday at eight in the morning, in summer time.
  std::istringstream in{
    sales_at({"2019-04-01T08:00:00-04:00", "2019-04-02T08:00:00-04:00",
              "2019-04-03T08:00:00-04:00", "2019-04-05T08:00:00-04:00"})};
  // A Wednesday in winter, nine in the morning there.
  auto now = *parse_rfc3339("2026-11-25T14:00:00Z");
  auto source = live_csv::make(in, new_york(), now, "run");
  BOOST_REQUIRE(source);
  auto sales = play_all(**source);
  BOOST_REQUIRE(sales.size() == 4u);
  for (size_t i = 0; i < 3; ++i) {
    BOOST_TEST(sales[i].first);
    BOOST_TEST(sales[i].second.receipt_id == "w399-r-" + std::to_string(i));
  }
  BOOST_TEST(sales[0].second.occurred_at == "2026-11-23T13:00:00.000Z");
  BOOST_TEST(sales[2].second.occurred_at == "2026-11-25T13:00:00.000Z");
  BOOST_TEST(!sales[3].first);
  BOOST_TEST(sales[3].second.occurred_at == "");
  BOOST_TEST(sales[3].second.receipt_id == "run-r-3");
}

BOOST_AUTO_TEST_CASE(a_day_at_least_is_kept_for_being_sold_live) {
  std::istringstream in{
    sales_at({"2019-04-01T08:00:00-04:00", "2019-04-07T20:00:00-04:00"})};
  // The last sale of the same week would be an hour from now.
  auto now = *parse_rfc3339("2019-04-07T19:00:00-04:00");
  auto source = live_csv::make(in, new_york(), now, "run");
  BOOST_REQUIRE(source);
  auto sales = play_all(**source);
  BOOST_REQUIRE(sales.size() == 2u);
  BOOST_TEST(!sales[0].first);
  BOOST_TEST(!sales[1].first);
}

BOOST_AUTO_TEST_CASE(lines_out_of_order_still_come_history_first) {
  std::istringstream in{
    sales_at({"2019-04-05T08:00:00-04:00", "2019-04-01T08:00:00-04:00",
              "2019-04-06T08:00:00-04:00"})};
  auto now = *parse_rfc3339("2019-04-03T08:00:00-04:00");
  auto source = live_csv::make(in, new_york(), now, "run");
  BOOST_REQUIRE(source);
  auto sales = play_all(**source);
  BOOST_REQUIRE(sales.size() == 3u);
  BOOST_TEST(sales[0].first);
  BOOST_TEST(sales[0].second.receipt_id == "w0-r-1");
  BOOST_TEST(!sales[1].first);
  BOOST_TEST(sales[1].second.receipt_id == "run-r-0");
}

BOOST_AUTO_TEST_CASE(a_csv_without_times_cannot_be_shifted) {
  std::istringstream in{sales_at({"", ""})};
  auto now = *parse_rfc3339("2019-04-03T08:00:00-04:00");
  BOOST_TEST(!live_csv::make(in, new_york(), now, "run"));
  std::istringstream broken{"no header\n"};
  BOOST_TEST(!live_csv::make(broken, new_york(), now, "run"));
}

BOOST_AUTO_TEST_CASE(an_empty_chain_gets_a_few_made_up_weeks) {
  auto now = *parse_rfc3339("2024-05-06T09:00:00Z");
  auto source = live_shoppers::make(default_chain(),
                                    {1, "run", [=] { return now; }}, now, true);
  BOOST_REQUIRE(source);
  auto& shop = **source;
  size_t past = 0;
  std::set<std::string> days;
  std::string last;
  while (shop.is_past()) {
    auto draft = shop.next_draft();
    BOOST_TEST_REQUIRE(draft.occurred_at >= last);
    last = draft.occurred_at;
    days.insert(last.substr(0, 10));
    ++past;
  }
  BOOST_TEST(past > live_shoppers::history_sales / 3);
  BOOST_TEST(past < live_shoppers::history_sales * 3);
  BOOST_TEST(days.size() == live_shoppers::history_days_max + 1);
  BOOST_TEST(last < "2024-05-06T09:00:00.000Z");
  BOOST_TEST(shop.next_draft().occurred_at == "");
}

BOOST_AUTO_TEST_CASE(a_chain_with_sales_gets_none) {
  auto now = *parse_rfc3339("2024-05-06T09:00:00Z");
  auto source = live_shoppers::make(
    default_chain(), {1, "run", [=] { return now; }}, now, false);
  BOOST_REQUIRE(source);
  BOOST_TEST(!(*source)->is_past());
  BOOST_TEST((*source)->next_draft().occurred_at == "");
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE_END()
