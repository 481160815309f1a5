#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <deque>
#include <fstream>
#include <iostream>
#include <map>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

/// @file benchmarks/tools/load.cpp
/// `bench_load`: tills that keep their connections alive and sell unique
/// purchases of three items. One thread, epoll, requests patched in place: it
/// shares the machine with what it measures, so it must cost little.
///
/// Closed loop: each connection sends its next purchase when the last one is
/// answered; latency is counted from the sending. Open loop (`--rate`):
/// purchases are due at fixed times whatever the server does, and latency is
/// counted from when each was due, so a stall is charged to all that it
/// delays.
///
/// `--get TARGET --key KEY` asks one query again and again instead.

namespace {

using clock_type = std::chrono::steady_clock;
using time_point = clock_type::time_point;
using std::chrono::duration;
using std::chrono::microseconds;

struct load_options {
  std::string host = "127.0.0.1";
  uint16_t port = 0;
  /// Lines of `branch key`.
  std::string keys_file;
  /// What to GET instead of selling, and under which key.
  std::string get;
  std::string get_key;
  size_t connections = 64;
  double seconds = 10;
  /// Left out of all figures.
  double warmup = 0;
  /// Purchases a second; 0: closed loop.
  double rate = 0;
  uint64_t seed = std::random_device{}();
  size_t products = 200;
  /// Purchases to send; 0: as many as fit in the time.
  uint64_t count = 0;
};

struct till_key {
  std::string branch;
  std::string secret;
};

[[noreturn]] void die(const std::string& why) {
  std::cerr << "bench_load: " << why << std::endl;
  std::exit(1);
}

/// SplitMix64. Source: Steele, Lea, Flood, OOPSLA 2014.
class random_bits {
public:
  explicit random_bits(uint64_t seed) : state_(seed) {
    // nop
  }

  uint64_t operator()() {
    auto x = state_ += 0x9e3779b97f4a7c15;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
    x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
    return x ^ (x >> 31);
  }

private:
  uint64_t state_;
};

// -- requests -----------------------------------------------------------------

constexpr std::string_view key_blank = "00000000-0000-4000-8000-000000000000";
constexpr std::string_view receipt_blank = "r-0000000000000000";
constexpr std::string_view product_blank = "product-000000";

/// The bytes of a purchase; `fill` makes them another one's.
class request_text {
public:
  explicit request_text(const till_key& till) {
    auto item = fmt::format("{{\"product_id\":\"{0}\",\"name\":\"{0}\","
                            "\"unit_price\":\"2.50\",\"qty\":1}}",
                            product_blank);
    auto body
      = fmt::format("{{\"branch_id\":\"{}\",\"cashier_id\":\"cashier-1\","
                    "\"pos_id\":\"pos-1\",\"receipt_id\":\"{}\","
                    "\"idempotency_key\":\"{}\",\"items\":[{},{},{}]}}",
                    till.branch, receipt_blank, key_blank, item, item, item);
    text_ = fmt::format("POST /purchases HTTP/1.1\r\nHost: tillstream\r\n"
                        "Authorization: Bearer {}\r\n"
                        "Content-Type: application/json\r\n"
                        "Content-Length: {}\r\n\r\n{}",
                        till.secret, body.size(), body);
    key_ = text_.find(key_blank);
    receipt_ = text_.find(receipt_blank);
    for (size_t at = 0; (at = text_.find(product_blank, at)) != text_.npos;
         at += product_blank.size())
      products_.push_back(at);
  }

  /// A query, the same each time.
  request_text(const std::string& target, const std::string& secret)
    : text_(fmt::format("GET {} HTTP/1.1\r\nHost: tillstream\r\n"
                        "Authorization: Bearer {}\r\n\r\n",
                        target, secret)) {
    // nop
  }

  const std::string& fill(random_bits& random, size_t products) {
    if (products_.empty())
      return text_;
    auto high = random();
    auto low = random();
    auto* key = &text_[key_];
    hex(key, high >> 32, 8);
    hex(key + 9, high >> 16, 4);
    hex(key + 15, high, 3); // After the version.
    hex(key + 20, low, 3);  // After the variant.
    hex(key + 24, random(), 12);
    hex(&text_[receipt_ + 2], random(), 16);
    auto first = random() % products;
    for (size_t i = 0; i < products_.size(); ++i)
      decimal(&text_[products_[i] + 8], (first + i / 2 * 7) % products, 6);
    return text_;
  }

private:
  static void hex(char* to, uint64_t bits, int digits) {
    for (int i = digits; i-- > 0; bits >>= 4)
      to[i] = "0123456789abcdef"[bits & 15];
  }

  static void decimal(char* to, uint64_t x, int digits) {
    for (int i = digits; i-- > 0; x /= 10)
      to[i] = static_cast<char>('0' + x % 10);
  }

  std::string text_;
  size_t key_ = 0;
  size_t receipt_ = 0;
  /// Each product stands as id and as name.
  std::vector<size_t> products_;
};

// -- results ------------------------------------------------------------------

/// Latencies in microseconds, in buckets of at most 1 %.
class latencies {
public:
  void add(uint64_t us) {
    ++counts_[bucket(us)];
    ++total_;
    sum_ += us;
    most_ = std::max(most_, us);
  }

  uint64_t quantile(double q) const {
    auto rank = static_cast<uint64_t>(q * static_cast<double>(total_));
    uint64_t seen = 0;
    for (size_t i = 0; i < counts_.size(); ++i)
      if ((seen += counts_[i]) > rank)
        return std::min(upper(i), most_);
    return most_;
  }

  uint64_t total() const {
    return total_;
  }

  double mean() const {
    return total_ == 0 ? 0 : static_cast<double>(sum_) / total_;
  }

  uint64_t most() const {
    return most_;
  }

private:
  static constexpr int fine_bits = 7;

  static size_t bucket(uint64_t us) {
    auto width = 64 - __builtin_clzll(us | 1);
    if (width <= fine_bits + 1)
      return us;
    auto shift = width - fine_bits - 1;
    return (static_cast<size_t>(shift) << fine_bits) + (us >> shift);
  }

  static uint64_t upper(size_t i) {
    if (i < (2u << fine_bits))
      return i;
    auto shift = (i >> fine_bits) - 1;
    return ((i - (shift << fine_bits)) + 1) << shift;
  }

  std::array<uint64_t, 64 << fine_bits> counts_{};
  uint64_t total_ = 0;
  uint64_t sum_ = 0;
  uint64_t most_ = 0;
};

// -- the loop -----------------------------------------------------------------

struct connection {
  int fd = -1;
  request_text request;
  time_point since;
  bool busy = false;
  size_t unsent = 0;
  std::string in;
};

class load {
public:
  load(const load_options& options, const std::vector<till_key>& tills)
    : options_(options),
      random_(options.seed),
      epoll_(epoll_create1(EPOLL_CLOEXEC)) {
    for (size_t i = 0; i < options.connections; ++i)
      open(options.get.empty() ? request_text{tills[i % tills.size()]}
                               : request_text{options.get, options.get_key});
    if (options.rate > 0)
      start_timer();
  }

  void run() {
    begin_ = clock_type::now();
    counted_from_ = begin_ + to_ticks(options_.warmup);
    end_ = counted_from_ + to_ticks(options_.seconds);
    // Whoever does not answer any more must not hold us for ever.
    auto deadline = end_ + std::chrono::seconds{30};
    next_due_ = begin_;
    if (options_.rate > 0)
      send_due();
    else
      for (auto& x : connections_)
        next_of_closed_loop(*x);
    while ((busy_ > 0 || more_to_come()) && clock_type::now() < deadline)
      turn();
    finished_ = clock_type::now();
  }

  void print() const {
    auto window = duration<double>(end_ - counted_from_).count();
    if (options_.count > 0)
      window = duration<double>(last_answer_ - counted_from_).count();
    std::string seconds;
    for (auto n : by_second_)
      seconds += fmt::format("{}{}", seconds.empty() ? "" : ",", n);
    std::string statuses;
    for (auto [status, n] : statuses_)
      statuses
        += fmt::format("{}\"{}\":{}", statuses.empty() ? "" : ",", status, n);
    std::cout << fmt::format(
      "{{\"sent\":{},\"recorded\":{},\"unanswered\":{},\"counted\":{},"
      "\"seconds\":{:.3f},\"per_second\":{:.1f},\"statuses\":{{{}}},"
      "\"latency_us\":{{\"mean\":{:.0f},\"p50\":{},\"p90\":{},\"p99\":{},"
      "\"p999\":{},\"max\":{}}},\"late_at_end\":{},\"by_second\":[{}]}}\n",
      sent_, recorded_, busy_, latencies_.total(), window,
      static_cast<double>(latencies_.total()) / window, statuses,
      latencies_.mean(), latencies_.quantile(0.5), latencies_.quantile(0.9),
      latencies_.quantile(0.99), latencies_.quantile(0.999), latencies_.most(),
      due_.size(), seconds);
  }

  bool clean() const {
    return busy_ == 0 && recorded_ == sent_;
  }

private:
  static clock_type::duration to_ticks(double seconds) {
    return std::chrono::duration_cast<clock_type::duration>(
      duration<double>{seconds});
  }

  void open(request_text request) {
    auto x = std::make_unique<connection>(
      connection{socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0),
                 std::move(request),
                 {},
                 false,
                 0,
                 {}});
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(options_.port);
    inet_pton(AF_INET, options_.host.c_str(), &address.sin_addr);
    if (connect(x->fd, reinterpret_cast<sockaddr*>(&address), sizeof(address))
        != 0)
      die(std::string{"cannot connect: "} + std::strerror(errno));
    int on = 1;
    setsockopt(x->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    fcntl(x->fd, F_SETFL, fcntl(x->fd, F_GETFL) | O_NONBLOCK);
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.ptr = x.get();
    epoll_ctl(epoll_, EPOLL_CTL_ADD, x->fd, &event);
    idle_.push_back(x.get());
    connections_.push_back(std::move(x));
  }

  void start_timer() {
    timer_ = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    itimerspec every{};
    every.it_interval.tv_nsec = every.it_value.tv_nsec = 500'000;
    timerfd_settime(timer_, 0, &every, nullptr);
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.ptr = nullptr;
    epoll_ctl(epoll_, EPOLL_CTL_ADD, timer_, &event);
  }

  bool count_reached() const {
    return options_.count > 0 && sent_ >= options_.count;
  }

  bool more_to_come() const {
    if (options_.rate > 0)
      return !due_.empty() || clock_type::now() < end_;
    return false;
  }

  void turn() {
    std::array<epoll_event, 256> events;
    int n = epoll_wait(epoll_, events.data(), events.size(), 100);
    for (int i = 0; i < n; ++i) {
      if (events[i].data.ptr == nullptr) {
        uint64_t ticks;
        [[maybe_unused]] auto got = read(timer_, &ticks, sizeof(ticks));
        continue;
      }
      receive(*static_cast<connection*>(events[i].data.ptr));
    }
    if (options_.rate > 0)
      send_due();
  }

  // -- open loop

  void send_due() {
    auto now = clock_type::now();
    auto step = to_ticks(1 / options_.rate);
    for (; next_due_ <= now && next_due_ < end_; next_due_ += step)
      due_.push_back(next_due_);
    while (!due_.empty() && !idle_.empty()) {
      auto* x = idle_.front();
      idle_.pop_front();
      send(*x, due_.front());
      due_.pop_front();
    }
  }

  // -- closed loop

  void next_of_closed_loop(connection& x) {
    auto now = clock_type::now();
    if (count_reached() || (options_.count == 0 && now >= end_))
      return;
    send(x, now);
  }

  // -- both

  void send(connection& x, time_point since) {
    const auto& text = x.request.fill(random_, options_.products);
    x.since = since;
    x.busy = true;
    ++busy_;
    ++sent_;
    // A request fits into any socket's buffer.
    if (write(x.fd, text.data(), text.size())
        != static_cast<ssize_t>(text.size()))
      die("a request was not taken whole");
  }

  void receive(connection& x) {
    std::array<char, 4096> slice;
    auto n = read(x.fd, slice.data(), slice.size());
    if (n < 0 && errno == EAGAIN)
      return;
    if (n <= 0)
      die("the server closed a connection");
    x.in.append(slice.data(), static_cast<size_t>(n));
    auto head = x.in.find("\r\n\r\n");
    if (head == x.in.npos)
      return;
    constexpr std::string_view field = "Content-Length: ";
    auto at = x.in.find(field);
    size_t length = 0;
    if (at < head)
      std::from_chars(&x.in[at + field.size()], &x.in[head], length);
    if (x.in.size() < head + 4 + length)
      return;
    take_answer(x);
  }

  void take_answer(connection& x) {
    auto now = clock_type::now();
    auto status = std::stoi(x.in.substr(9, 3));
    ++statuses_[status];
    if (status == good_status())
      ++recorded_;
    else if (statuses_[status] == 1)
      std::cerr << x.in << std::endl;
    x.in.clear();
    x.busy = false;
    --busy_;
    last_answer_ = now;
    if (status == good_status() && now >= counted_from_
        && (options_.count > 0 || now < end_ || options_.rate > 0)) {
      auto took = std::chrono::duration_cast<microseconds>(now - x.since);
      latencies_.add(static_cast<uint64_t>(took.count()));
      auto second
        = static_cast<size_t>(duration<double>(now - counted_from_).count());
      if (by_second_.size() <= second)
        by_second_.resize(second + 1);
      ++by_second_[second];
    }
    if (options_.rate > 0)
      idle_.push_back(&x);
    else
      next_of_closed_loop(x);
  }

  int good_status() const {
    return options_.get.empty() ? 201 : 200;
  }

  load_options options_;
  random_bits random_;
  int epoll_;
  int timer_ = -1;
  std::vector<std::unique_ptr<connection>> connections_;
  std::deque<connection*> idle_;
  std::deque<time_point> due_;
  time_point begin_, counted_from_, end_, next_due_, last_answer_, finished_;
  uint64_t sent_ = 0;
  uint64_t recorded_ = 0;
  size_t busy_ = 0;
  std::map<int, uint64_t> statuses_;
  latencies latencies_;
  std::vector<uint64_t> by_second_;
};

std::vector<till_key> read_keys(const std::string& path) {
  std::ifstream in{path};
  std::vector<till_key> result;
  till_key x;
  while (in >> x.branch >> x.secret)
    result.push_back(x);
  if (result.empty())
    die("no keys in " + path);
  return result;
}

load_options parse(int argc, char** argv) {
  load_options result;
  for (int i = 1; i + 1 < argc; i += 2) {
    std::string name = argv[i];
    std::string value = argv[i + 1];
    if (name == "--port")
      result.port = static_cast<uint16_t>(std::stoul(value));
    else if (name == "--keys")
      result.keys_file = value;
    else if (name == "--get")
      result.get = value;
    else if (name == "--key")
      result.get_key = value;
    else if (name == "--connections")
      result.connections = std::stoul(value);
    else if (name == "--seconds")
      result.seconds = std::stod(value);
    else if (name == "--warmup")
      result.warmup = std::stod(value);
    else if (name == "--rate")
      result.rate = std::stod(value);
    else if (name == "--seed")
      result.seed = std::stoull(value);
    else if (name == "--count")
      result.count = std::stoull(value);
    else if (name == "--products")
      result.products = std::stoul(value);
    else
      die("no such flag: " + name);
  }
  if (result.port == 0 || result.keys_file.empty() == result.get.empty()
      || argc % 2 == 0)
    die("usage: bench_load --port N (--keys FILE | --get TARGET --key KEY) "
        "[--connections N] "
        "[--seconds S] [--warmup S] [--rate N] [--count N] [--seed N] "
        "[--products N]");
  return result;
}

} // namespace

int main(int argc, char** argv) {
  auto options = parse(argc, argv);
  load it{options, options.get.empty() ? read_keys(options.keys_file)
                                       : std::vector<till_key>{}};
  it.run();
  it.print();
  return it.clean() ? 0 : 1;
}
