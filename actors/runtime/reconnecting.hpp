#pragma once

#include "actors/runtime/backoff.hpp"
#include "messages/core/error.hpp"

#include <caf/actor_clock.hpp>
#include <caf/error.hpp>
#include <caf/expected.hpp>

#include <cassert>
#include <cstdint>
#include <functional>
#include <memory>
#include <utility>

namespace tillstream {

/// A store or a connection that an actor opens, loses and opens again.
///
/// A broken one is dropped, never repaired. One that had worked for a while is
/// opened again at once; one that failed early, or could not be opened, only
/// after a backoff, so that a server that is away is not hammered.
template <class T>
class reconnecting {
public:
  using opener = std::function<caf::expected<std::unique_ptr<T>>()>;
  using time_point = caf::actor_clock::time_point;

  reconnecting() = default;

  reconnecting(opener open, uint64_t seed)
    : open_(std::move(open)),
      backoff_(seed) {
    // nop
  }

  bool is_open() const {
    return what_ != nullptr;
  }

  T& operator*() const {
    assert(is_open());
    return *what_;
  }

  T* operator->() const {
    assert(is_open());
    return what_.get();
  }

  /// Opens it if it is not open and the wait is over. May block.
  /// @returns whether it is open.
  bool open(time_point now) {
    if (is_open() || now < retry_at_)
      return is_open();
    auto result = open_();
    if (!result) {
      failed(now, std::move(result.error()));
      return false;
    }
    what_ = std::move(*result);
    opened_at_ = now;
    error_ = caf::error{};
    return true;
  }

  /// Destroys it.
  void drop(time_point now, caf::error why) {
    assert(is_open());
    what_.reset();
    if (now - opened_at_ < limits::backoff_max) {
      failed(now, std::move(why));
      return;
    }
    backoff_.reset();
    retry_at_ = now;
    error_ = std::move(why);
  }

  /// When `open` may try again. @pre `!is_open()`
  time_point retry_at() const {
    return retry_at_;
  }

  /// Why it is not open.
  const caf::error& error() const {
    return error_;
  }

private:
  void failed(time_point now, caf::error why) {
    retry_at_ = now + backoff_.next();
    error_ = std::move(why);
  }

  opener open_;
  backoff backoff_{0};
  std::unique_ptr<T> what_;
  time_point opened_at_;
  time_point retry_at_;
  caf::error error_;
};

/// The former name.
template <class T>
using session = reconnecting<T>;

} // namespace tillstream
