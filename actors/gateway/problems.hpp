#pragma once

#include "messages/codec/problem.hpp"
#include "messages/codec/purchase_codec.hpp"
#include "messages/model/http.hpp"

#include <caf/error.hpp>

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

/// @file actors/gateway/problems.hpp
/// What the GATEWAY answers when it cannot do what it was asked to.
/// Source: CONTRACT, problem details (RFC 9457).

namespace tillstream::problems {

/// Renders text as a JSON string.
std::string json_string(std::string_view text);

/// A problem that goes away by itself, with `Retry-After`.
problem retry_later(int status, std::string name, std::string detail,
                    std::chrono::seconds after = std::chrono::seconds{1});

problem shutting_down();

problem unavailable();

/// What was asked for may have been done.
problem outcome_unknown();

problem internal_error();

problem not_found(std::string detail);

problem forbidden(std::string detail);

problem bad_parameter(std::string_view name, std::string detail);

problem malformed_json(std::string detail);

problem unsupported_media_type();

/// The page's cookie says nothing any more.
problem session_over();

/// @param presented Whether there were credentials at all.
problem unauthorized(bool presented);

problem
validation_failed(std::string detail, const std::vector<field_error>& errors);

/// Another request holds the key or the receipt.
problem in_progress();

/// What went wrong with our own parts: a 5xx, but for `errc::in_progress`.
problem problem_of(const caf::error& err);

} // namespace tillstream::problems
