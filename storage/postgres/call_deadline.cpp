#include "storage/postgres/call_deadline.hpp"

#include "messages/core/metrics.hpp"
#include "storage/postgres/call_limit.hpp"

#include <algorithm>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <set>
#include <system_error>
#include <thread>
#include <utility>

#include <cerrno>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

namespace tillstream::storage::postgres {

using clock = std::chrono::steady_clock;

/// All deadlines of the process, soonest first, and the thread that keeps them.
class call_watch {
public:
  void add(call_deadline& x) {
    std::unique_lock guard{mutex_};
    if (!limits_.empty())
      x.at_ = std::min(x.at_, clock::now() + *limits_.begin());
    x.armed_ = true;
    auto is_first = *armed_.insert(&x).first == *armed_.begin();
    if (is_first && x.at_ < wakes_at_) {
      guard.unlock();
      earlier_.notify_one();
    }
  }

  void remove(call_deadline& x) {
    std::lock_guard guard{mutex_};
    if (x.armed_)
      armed_.erase(&x);
  }

  bool passed(const call_deadline& x) {
    std::lock_guard guard{mutex_};
    return x.passed_;
  }

  void limit(std::chrono::milliseconds timeout) {
    std::lock_guard guard{mutex_};
    limits_.insert(timeout);
    auto latest = clock::now() + timeout;
    for (auto* x : std::exchange(armed_, {})) {
      x->at_ = std::min(x->at_, latest);
      armed_.insert(x);
    }
    earlier_.notify_one();
  }

  void end_limit(std::chrono::milliseconds timeout) {
    std::lock_guard guard{mutex_};
    limits_.erase(limits_.find(timeout));
  }

  [[noreturn]] void run() {
    std::unique_lock guard{mutex_};
    while (true) {
      expire(clock::now());
      wakes_at_
        = armed_.empty() ? clock::time_point::max() : (*armed_.begin())->at_;
      if (armed_.empty())
        earlier_.wait(guard);
      else
        earlier_.wait_until(guard, wakes_at_);
    }
  }

private:
  struct sooner {
    bool operator()(const call_deadline* x, const call_deadline* y) const {
      return x->at_ != y->at_ ? x->at_ < y->at_ : std::less<>{}(x, y);
    }
  };

  /// Under the mutex: a deadline that is being removed waits, so its socket is
  /// open.
  void expire(clock::time_point now) {
    while (!armed_.empty() && (*armed_.begin())->at_ <= now) {
      auto& x = **armed_.begin();
      armed_.erase(armed_.begin());
      x.armed_ = false;
      x.passed_ = true;
      ::shutdown(x.fd_, SHUT_RDWR);
      timeouts_.add();
    }
  }

  std::mutex mutex_;
  std::condition_variable earlier_;
  std::set<call_deadline*, sooner> armed_;
  std::multiset<std::chrono::milliseconds> limits_;
  clock::time_point wakes_at_ = clock::time_point::max();
  counter& timeouts_ = metrics().get_counter(
    "tillstream_database_call_timeouts_total",
    "Calls that a database did not answer in time; each ends its connection.");
};

namespace {

/// Never destroyed: calls may be open while the process ends.
call_watch& watch() {
  static auto* instance = [] {
    auto* result = new call_watch;
    std::thread{[result] { result->run(); }}.detach();
    return result;
  }();
  return *instance;
}

} // namespace

// -- watched_socket -----------------------------------------------------------

watched_socket::watched_socket(int fd) : fd_(::fcntl(fd, F_DUPFD_CLOEXEC, 0)) {
  if (fd_ < 0)
    throw std::system_error{errno, std::generic_category(), "socket"};
}

watched_socket::~watched_socket() {
  if (fd_ >= 0)
    ::close(fd_);
}

// -- call_deadline ------------------------------------------------------------

call_deadline::call_deadline(const watched_socket& on,
                             std::chrono::milliseconds timeout)
  : fd_(timeout.count() > 0 ? on.fd() : -1),
    at_(clock::now() + timeout) {
  if (fd_ >= 0)
    watch().add(*this);
}

call_deadline::~call_deadline() {
  if (fd_ >= 0)
    watch().remove(*this);
}

bool call_deadline::passed() const {
  return fd_ >= 0 && watch().passed(*this);
}

} // namespace tillstream::storage::postgres

namespace tillstream::storage {

call_limit::call_limit(std::chrono::milliseconds timeout) : timeout_(timeout) {
  postgres::watch().limit(timeout);
}

call_limit::~call_limit() {
  postgres::watch().end_limit(timeout_);
}

} // namespace tillstream::storage
