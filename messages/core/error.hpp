#pragma once

#include <caf/error.hpp>
#include <caf/make_message.hpp>

#include <cstdint>
#include <string>

/// @file messages/core/error.hpp
/// The one error vocabulary of the system. Every fallible call returns a
/// `caf::error` or `caf::expected` in this category; exceptions stop at the
/// file that includes the library throwing them.

namespace tillstream {

/// What can go wrong, as seen by a caller that has to decide what to do next.
enum class errc : uint8_t {
  /// No error; CAF reserves zero.
  none = 0,
  /// A setting, an argument or a document breaks a rule. Retrying cannot help.
  invalid,
  /// What was asked for does not exist.
  not_found,
  /// A queue reached its limit. Retrying later can help.
  overloaded,
  /// A server cannot be reached, or its session ended *before* COMMIT was
  /// sent: nothing was written. Retry on a new session.
  unavailable,
  /// The session ended inside COMMIT: the outcome is unknown until the same
  /// inserts ran again under the same keys.
  in_doubt,
  /// A bounded wait ended.
  timeout,
  /// The node is going down.
  shutting_down,
  /// This node does not own the branch, or its epoch is stale.
  not_owner,
  /// A server answered something that must not be: a bug of ours, or a schema
  /// or a setting that is not ours. Retrying cannot help.
  internal,
  /// Somebody else is doing it right now: the outcome is known in a moment.
  in_progress,
};

/// Returns the name of `code` as it appears in logs.
std::string to_string(errc code);

/// The code of an error; one that is not of our category (a time-out, an actor
/// that ended) counts as `unavailable`.
errc code_of(const caf::error& err);

/// Renders an error of our category for people, e.g. `unavailable: no route`.
std::string describe(const caf::error& err);

} // namespace tillstream

// The category is an atom: ten characters at most.
CAF_ERROR_CODE_ENUM(tillstream::errc, "tillstream")
