#include <boost/test/unit_test.hpp>

#include "tests/system/running_program.hpp"

#include <signal.h>

#include <filesystem>
#include <fstream>

/// `tillstream up`, from its start to whatever end.

using namespace tillstream;
using namespace tillstream::test;
using namespace std::chrono_literals;

namespace {

namespace fs = std::filesystem;

/// Processes whose command line names the directory.
size_t processes_of(const std::string& dir) {
  size_t result = 0;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator("/proc", ignored)) {
    std::ifstream in{entry.path() / "cmdline"};
    std::string words{std::istreambuf_iterator<char>{in}, {}};
    if (words.find(dir) != std::string::npos)
      ++result;
  }
  return result;
}

/// What an operator can count on at `/metrics`.
constexpr const char* required_metrics[] = {
  "tillstream_purchases_total",
  "tillstream_write_batch_size",
  "tillstream_commit_latency_seconds",
  "tillstream_outbox_backlog_rows",
  "tillstream_outbox_oldest_age_milliseconds",
  "tillstream_publish_latency_seconds",
  "tillstream_events_applied_total",
  "tillstream_duplicates_dropped_total",
  "tillstream_events_quarantined_total",
  "tillstream_end_to_end_lag_seconds",
  "tillstream_branch_lag_ms",
  "tillstream_write_queue_depth",
  "tillstream_relay_queue_depth",
  "tillstream_apply_queue_depth",
  "tillstream_purchases_in_flight",
  "tillstream_actor_restarts_total",
};

} // namespace

BOOST_AUTO_TEST_SUITE(lifecycle_suite)

BOOST_AUTO_TEST_CASE(sigterm_ends_everything_with_code_0_and_up_goes_on) {
  temporary_directory directory;
  auto dir = directory.path() + "/data";
  auto program = running_program::up(dir);
  auto mode = fs::status(dir + "/endpoints.json").permissions();
  BOOST_TEST(static_cast<unsigned>(mode & fs::perms::mask) == 0600u);
  sale x;
  auto body = x.body();
  auto first = program->post("branch-1", body);
  BOOST_TEST(first.status == 201, first.body);
  auto keys = program->where();
  BOOST_TEST(program->stop().value_or(-1) == 0);
  BOOST_TEST(eventually([&] { return processes_of(dir) == 0; }, 5s));
  auto next = running_program::up(dir);
  BOOST_TEST(next->where().owner_key == keys.owner_key);
  BOOST_TEST(next->where().till_keys == keys.till_keys);
  auto replay = next->post("branch-1", body);
  BOOST_TEST(replay.status == 201);
  BOOST_TEST(replay.body == first.body);
  BOOST_TEST(replay.header("idempotent-replayed") == "true");
}

BOOST_AUTO_TEST_CASE(ctrl_c_is_as_good_as_sigterm) {
  temporary_directory directory;
  auto dir = directory.path() + "/data";
  auto program = running_program::up(dir);
  program->signal(SIGINT);
  BOOST_TEST(program->wait().value_or(-1) == 0);
  BOOST_TEST(eventually([&] { return processes_of(dir) == 0; }, 5s));
}

BOOST_AUTO_TEST_CASE(after_kill_9_a_second_up_goes_on_with_all_data) {
  temporary_directory directory;
  auto dir = directory.path() + "/data";
  auto program = running_program::up(dir);
  auto made = program->post("branch-2", [] {
    sale x;
    x.branch_id = "branch-2";
    return x.body();
  }());
  BOOST_TEST(made.status == 201, made.body);
  program->signal(SIGKILL);
  BOOST_TEST(program->wait().value_or(-1) == 128 + SIGKILL);
  auto next = running_program::up(dir);
  auto seen = next->ask("/analytics/summary?branch_id=branch-2&after="
                        + made.at("event_id"));
  BOOST_TEST(seen.header("applied-after") == "true");
  BOOST_TEST(seen.at("branches.0.revenue") == "2.50");
  auto verified = run_command({"verify", "--data-dir", dir});
  BOOST_TEST(verified.code == 0, verified.output << verified.errors);
}

BOOST_AUTO_TEST_CASE(a_second_up_on_a_living_directory_is_refused) {
  temporary_directory directory;
  auto dir = directory.path() + "/data";
  auto program = running_program::up(dir);
  auto second = run_command({"up", "--data-dir", dir, "--port", "0"}, 30s);
  BOOST_TEST(second.code == 1, second.output << second.errors);
  BOOST_TEST(program->ask("/analytics/summary").status == 200);
}

BOOST_AUTO_TEST_CASE(wrong_words_are_exit_code_2_and_say_why) {
  for (const auto& words : std::vector<std::vector<std::string>>{
         {},
         {"dance"},
         {"up", "--port", "99999"},
         {"up", "--no-such-flag"},
         {"serve", "--config", "/nonexistent"},
         {"simulate", "--data-dir", "/nonexistent"},
         {"key", "paint"}}) {
    auto got = run_command(words, 10s);
    BOOST_TEST(got.code == 2, got.output << got.errors);
    BOOST_TEST(!got.errors.empty());
  }
  BOOST_TEST(run_command({"serve", "--help"}).code == 0);
}

/// Each waits for nothing: it ends well within the time that it is given.
BOOST_AUTO_TEST_CASE(a_start_that_fails_says_why_and_ends_with_code_1) {
  temporary_directory directory;
  auto dir = directory.path() + "/data";
  auto file = directory.path() + "/file";
  std::ofstream{file} << "not a directory";
  auto program = running_program::up(dir);
  struct attempt {
    std::string flag;
    std::string value;
    std::string reason;
  };
  for (const auto& x : {
         attempt{"web-dir", "/nonexistent", "/nonexistent"},
         attempt{"port", std::to_string(program->port()), "cannot listen on"},
         attempt{"listen", "nowhere", "nowhere"},
         attempt{"fault-points", "nonsense", "nonsense"},
         attempt{"lake-dir", file, file},
         attempt{"lake-dir", "/proc/lake", "/proc/lake"},
         attempt{"oltp-dsn", "host=127.0.0.1 port=1", "127.0.0.1"},
         attempt{"analytics-dsn", "host=127.0.0.1 port=1", "127.0.0.1"},
         attempt{"analytics-dsn", program->where().oltp_dsn, "not safe to use"},
       }) {
    std::vector<std::string> words{"serve", "--data-dir", dir};
    if (x.flag != "port")
      words.insert(words.end(), {"--port", "0"});
    words.insert(words.end(), {"--" + x.flag, x.value});
    auto got = run_command(words, 15s);
    BOOST_TEST_CONTEXT(x.flag << " " << x.value << "\n"
                              << got.output << got.errors) {
      BOOST_TEST(got.code == 1);
      BOOST_TEST(got.errors.find("tillstream: ") != std::string::npos);
      BOOST_TEST(got.errors.find(x.reason) != std::string::npos);
      BOOST_TEST(got.output.find("ready") == std::string::npos);
    }
  }
  auto nodes = run_command({"nodes", "--data-dir", dir});
  BOOST_TEST(nodes.code == 0, nodes.errors);
  BOOST_TEST(program->post("branch-1", sale{}.body()).status == 201);
}

BOOST_AUTO_TEST_CASE(the_curl_line_of_up_records_a_first_sale) {
  temporary_directory directory;
  auto program = running_program::up(directory.path() + "/data");
  auto text = program->output();
  auto begin = text.find("curl -sS");
  BOOST_REQUIRE(begin != std::string::npos);
  auto line = text.substr(begin, text.find('\n', begin) - begin);
  auto file = directory.path() + "/answer";
  BOOST_TEST(std::system((line + " > " + file).c_str()) == 0);
  std::ifstream in{file};
  std::string body{std::istreambuf_iterator<char>{in}, {}};
  BOOST_TEST(body.find("\"total\":\"2.50\"") != std::string::npos, body);
}

BOOST_AUTO_TEST_CASE(health_readiness_metrics_and_documents_are_there) {
  temporary_directory directory;
  auto program = running_program::up(directory.path() + "/data");
  BOOST_TEST(program->request("GET", "/healthz", {}).status == 200);
  BOOST_TEST(eventually(
    [&] { return program->request("GET", "/readyz", {}).status == 200; }));
  auto sold = program->post("branch-1", sale{}.body());
  program->ask("/analytics/summary?after=" + sold.at("event_id"));
  auto metrics = program->request("GET", "/metrics", {});
  BOOST_TEST(metrics.status == 200);
  for (const char* name : required_metrics)
    BOOST_TEST(metrics.body.find(std::string{"# TYPE "} + name)
                 != std::string::npos,
               name);
  BOOST_TEST(program->request("GET", "/openapi.json", {}).at("openapi")
             == "3.1.0");
  BOOST_TEST(program->request("GET", "/asyncapi.json", {}).at("asyncapi")
             == "3.0.0");
  BOOST_TEST(program->request("GET", "/", {}).status == 200);
}

BOOST_AUTO_TEST_SUITE_END()
