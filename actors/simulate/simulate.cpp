#include "actors/simulate/simulate.hpp"

#include "actors/simulate/lane.hpp"
#include "actors/simulate/live.hpp"
#include "actors/simulate/sales_csv.hpp"
#include "actors/simulate/shoppers.hpp"
#include "messages/codec/json.hpp"
#include "messages/core/error.hpp"

#include <fmt/format.h>

#include <sys/ioctl.h>
#include <unistd.h>

#include <condition_variable>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace tillstream::commands {

namespace {

using namespace std::chrono_literals;

using steady_clock = std::chrono::steady_clock;

/// So many sales without any answer, each after all of its retries, mean that
/// no server will come.
constexpr int64_t failures_in_a_row_max = 20;

/// How often the bar moves, and how often a line is written where there is no
/// terminal.
constexpr auto bar_interval = 200ms;
constexpr auto line_interval = 5s;

/// How soon a wish to stop is passed on.
constexpr auto watch_interval = 20ms;

/// Sales a second: one in a quarter of an hour is the least that anybody waits
/// for; the most is far beyond what one process can post.
constexpr double rate_min = 0.001;
constexpr double rate_max = 1'000'000;

/// A page of known customers, and how many pages shoppers begin with.
constexpr size_t customers_page = 100;
constexpr size_t customer_pages_max = 50;

// -- progress -----------------------------------------------------------------

/// Writes progress: a bar that moves in place on a terminal, else a line now
/// and then.
class progress_display {
public:
  explicit progress_display(const simulate_options& options)
    : out_(options.progress ? options.progress_out : nullptr),
      in_place_(out_ == &std::cerr && isatty(STDERR_FILENO) == 1),
      shown_(steady_clock::now()) {
    // nop
  }

  /// Writes if it is time to.
  void update(const scoreboard& board, std::chrono::milliseconds elapsed,
              std::optional<double> share) {
    auto now = steady_clock::now();
    auto interval = in_place_ ? steady_clock::duration{bar_interval}
                              : steady_clock::duration{line_interval};
    if (out_ == nullptr || now - shown_ < interval)
      return;
    shown_ = now;
    auto line = render_progress(board.snapshot(), elapsed, share, in_place_);
    if (in_place_)
      *out_ << '\r' << line.substr(0, columns() - 1) << "\x1b[K" << std::flush;
    else
      *out_ << line << std::endl;
  }

  /// Leaves nothing of the bar behind.
  void clear() {
    if (in_place_)
      *out_ << "\r\x1b[K" << std::flush;
  }

private:
  static size_t columns() {
    winsize size{};
    auto known = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0;
    return known && size.ws_col > 1 ? size.ws_col : 80;
  }

  std::ostream* out_;
  bool in_place_;
  steady_clock::time_point shown_;
};

// -- the run ------------------------------------------------------------------

till_options
to_till_options(const simulate_options& x, const std::atomic<bool>& halt) {
  return {x.host, x.port, x.till_keys, x.chain.currency, x.retry, &halt};
}

/// One run: a pump, the lanes with their tills, and a watcher.
class simulation {
public:
  simulation(const simulate_options& options, sale_source& source)
    : options_(options),
      source_(source),
      till_options_(to_till_options(options, halt_)),
      lanes_(options.tills),
      plan_(options.tills) {
    // nop
  }

  /// Plays the source to its end, or until it is to stop.
  void run() {
    start_ = steady_clock::now();
    std::vector<std::thread> tills;
    for (size_t i = 0; i < lanes_.size(); ++i)
      tills.emplace_back([this, i] { run_till(i); });
    std::thread watcher{[this] { watch(); }};
    pump();
    for (auto& lane : lanes_)
      lane.close();
    for (auto& x : tills)
      x.join();
    finish(watcher);
  }

  tally counts() const {
    return board_.snapshot();
  }

  run_facts facts() const {
    return {elapsed(), plan_.used(), options_.chain.currency};
  }

  bool gave_up() const {
    return gave_up_;
  }

private:
  std::chrono::milliseconds elapsed() const {
    return std::chrono::duration_cast<std::chrono::milliseconds>(
      steady_clock::now() - start_);
  }

  /// Takes sales from the source when they are due and spreads them.
  void pump() {
    std::optional<steady_clock::time_point> due;
    sale next;
    while (wait_for_next(due) && source_.next(next)) {
      if (auto share = source_.share_read())
        share_read_ = *share;
      ++handed_out_;
      auto lane = plan_.lane_of(next);
      if (!lanes_[lane].push({std::move(next), due}, halt_))
        return;
    }
  }

  /// Waits until the next sale is due; with no rate, or in a history, it is due
  /// at once.
  /// @returns false when the run is over.
  bool wait_for_next(std::optional<steady_clock::time_point>& due) {
    if (source_.is_past()) {
      due.reset();
      return !halt_;
    }
    auto now = steady_clock::now();
    began_ = began_.value_or(now);
    if (options_.rate > 0) {
      std::chrono::duration<double> gap{due ? source_.gap() / options_.rate
                                            : 0.0};
      due = due.value_or(now)
            + std::chrono::duration_cast<steady_clock::duration>(gap);
    }
    auto when = due.value_or(now);
    if (options_.duration_s > 0
        && when >= *began_ + std::chrono::seconds{options_.duration_s})
      return false;
    return sleep_until(when, &halt_);
  }

  /// Posts a lane's sales, one by one.
  void run_till(size_t lane) {
    till poster{till_options_, options_.seed + lane};
    while (auto next = lanes_[lane].pop(halt_)) {
      auto begin = next->due.value_or(steady_clock::now());
      auto result = poster.post(next->what);
      auto latency = steady_clock::now() - begin;
      board_.add(next->what.branch_id, result,
                 std::chrono::duration_cast<duration_us>(latency));
      if (!result.new_customer.empty())
        source_.customer(next->what.branch_id, result.new_customer);
    }
  }

  /// Shows progress, passes a wish to stop on, and sees that nobody answers.
  void watch() {
    progress_display display{options_};
    std::unique_lock guard{mutex_};
    while (!done_.wait_for(guard, watch_interval, [this] { return over_; })) {
      if (options_.stop != nullptr && *options_.stop)
        halt_ = true;
      if (board_.failures_in_a_row() >= failures_in_a_row_max)
        gave_up_ = halt_ = true;
      display.update(board_, elapsed(), share_done());
    }
    display.clear();
  }

  /// How much is done: of what was handed out so many sales have an answer.
  std::optional<double> share_done() const {
    if (options_.live)
      return std::nullopt; // A history, and then what happens to come.
    auto handed_out = static_cast<double>(handed_out_.load());
    if (share_read_ >= 0 && handed_out > 0)
      return share_read_ * static_cast<double>(board_.sales()) / handed_out;
    if (options_.duration_s == 0)
      return std::nullopt;
    return static_cast<double>(elapsed().count())
           / (1000.0 * options_.duration_s);
  }

  void finish(std::thread& watcher) {
    {
      std::lock_guard guard{mutex_};
      over_ = true;
    }
    done_.notify_all();
    watcher.join();
  }

  const simulate_options& options_;
  sale_source& source_;
  /// Ends every wait of pump and tills.
  std::atomic<bool> halt_{false};
  till_options till_options_;
  std::vector<sale_lane> lanes_;
  lane_plan plan_;
  scoreboard board_;
  steady_clock::time_point start_;
  /// When the history, if any, was over.
  std::optional<steady_clock::time_point> began_;
  std::atomic<int64_t> handed_out_{0};
  /// Below zero: the source has no end.
  std::atomic<double> share_read_{-1};
  std::atomic<bool> gave_up_{false};

  std::mutex mutex_;
  std::condition_variable done_;
  bool over_ = false;
};

// -- before and after ---------------------------------------------------------

/// @returns what is wrong with the options, or an empty string.
std::string check(const simulate_options& x) {
  if (x.till_keys.empty())
    return "there is no till key";
  if (x.tills < 1 || x.tills > simulate_options::tills_max)
    return fmt::format("tills: 1 to {}", simulate_options::tills_max);
  if (x.rate != 0 && !(x.rate >= rate_min && x.rate <= rate_max))
    return fmt::format("rate: 0, or {} to {} purchases a second", rate_min,
                       rate_max);
  return {};
}

header_list authorization(const simulate_options& x) {
  return {{"Authorization", "Bearer " + x.till_keys.begin()->second}};
}

/// Asks once, without timeout, before dozens of tills retry for long.
/// @returns why the server cannot be used, or an empty string.
std::string probe(const simulate_options& x) {
  http_client client{x.host, x.port};
  auto answer = client.request("GET", "/branches", authorization(x));
  if (!answer)
    return fmt::format("no answer from {}:{}: {}", x.host, x.port,
                       describe(answer.error()));
  if (answer->status == 401 || answer->status == 403)
    return "the server does not accept the till key";
  return {};
}

/// Lets shoppers know those whom the chain knows already. What cannot be read
/// is left out: new customers will come.
void load_customers(const simulate_options& x, customer_book& book) {
  http_client client{x.host, x.port};
  json_document document;
  std::string after;
  for (size_t page = 0; page < customer_pages_max; ++page) {
    auto target = fmt::format("/customers?limit={}{}{}", customers_page,
                              after.empty() ? "" : "&after=", after);
    auto answer = client.request("GET", target, authorization(x));
    if (!answer || answer->status != 200
        || !document.parse(answer->body).empty())
      return;
    const auto* known = document.root().find("customers");
    if (known == nullptr || known->elements.empty())
      return;
    for (const auto& customer : known->elements) {
      const auto* id = customer.find("user_id");
      if (id == nullptr || !parse_uuid(id->text))
        return;
      after = id->text;
      auto home = std::hash<std::string>{}(after) % x.chain.branches.size();
      book.add(x.chain.branches[home].id, after);
    }
  }
}

simulate_outcome fail(const simulate_options& x, simulate_outcome code,
                      const std::string& reason) {
  *x.progress_out << "tillstream: " << reason << std::endl;
  return code;
}

simulate_outcome play(const simulate_options& options, sale_source& source) {
  simulation run{options, source};
  run.run();
  auto counts = run.counts();
  *options.report_out << render_report(counts, run.facts()) << std::flush;
  if (!source.error().empty())
    return fail(options, simulate_outcome::invalid,
                options.csv_path.value_or("") + ": " + source.error());
  if (run.gave_up())
    return fail(options, simulate_outcome::failed,
                "gave up: sale after sale got no answer");
  return counts.total.failed == 0 ? simulate_outcome::done
                                  : simulate_outcome::failed;
}

/// Part of receipts: runs must not use each other's.
std::string make_run() {
  return to_string(uuid_source{}.v4()).substr(0, 8);
}

simulate_outcome
play_live_csv(const simulate_options& options, std::istream& in) {
  auto source = live_csv::make(in, options.chain, wall_clock_now(), make_run());
  if (!source)
    return fail(options, simulate_outcome::invalid,
                *options.csv_path + ": " + describe(source.error()));
  if (auto reason = probe(options); !reason.empty())
    return fail(options, simulate_outcome::failed, reason);
  return play(options, **source);
}

simulate_outcome play_csv(const simulate_options& options) {
  const auto& path = *options.csv_path;
  std::ifstream in{path, std::ios::binary};
  if (!in)
    return fail(options, simulate_outcome::invalid, "cannot read " + path);
  if (options.live)
    return play_live_csv(options, in);
  std::error_code unknown;
  auto bytes = std::filesystem::file_size(path, unknown);
  sales_csv source{in, unknown ? 0 : bytes};
  if (!source.error().empty())
    return fail(options, simulate_outcome::invalid,
                path + ": " + source.error());
  if (auto reason = probe(options); !reason.empty())
    return fail(options, simulate_outcome::failed, reason);
  return play(options, source);
}

simulate_outcome play_live_shoppers(const simulate_options& options) {
  if (auto reason = probe(options); !reason.empty())
    return fail(options, simulate_outcome::failed, reason);
  customer_book known;
  load_customers(options, known);
  auto is_empty = true;
  for (const auto& where : options.chain.branches)
    is_empty = is_empty && known.size(where.id) == 0;
  // A chain with sales of its own has a history.
  auto source = live_shoppers::make(options.chain, {options.seed, make_run()},
                                    wall_clock_now(), is_empty);
  if (!source)
    return fail(options, simulate_outcome::invalid, describe(source.error()));
  load_customers(options, (*source)->customers());
  return play(options, **source);
}

simulate_outcome play_shoppers(const simulate_options& options) {
  if (options.live)
    return play_live_shoppers(options);
  auto source = shoppers::make(options.chain, {options.seed, make_run()});
  if (!source)
    return fail(options, simulate_outcome::invalid, describe(source.error()));
  if (auto reason = probe(options); !reason.empty())
    return fail(options, simulate_outcome::failed, reason);
  load_customers(options, (*source)->customers());
  return play(options, **source);
}

} // namespace

simulate_outcome simulate(const simulate_options& options) {
  if (auto wrong = check(options); !wrong.empty())
    return fail(options, simulate_outcome::invalid, wrong);
  auto x = options;
  if (x.live && x.rate == 0)
    x.rate = simulate_options::live_rate;
  return x.csv_path ? play_csv(x) : play_shoppers(x);
}

} // namespace tillstream::commands
