#include "actors/gateway/problems.hpp"

#include "messages/codec/json.hpp"
#include "messages/core/error.hpp"

#include <caf/sec.hpp>

#include <utility>

namespace tillstream::problems {

namespace {

std::string json_errors(const std::vector<field_error>& errors) {
  std::string result;
  json_writer out{result};
  out.begin_array();
  for (const auto& [pointer, detail] : errors)
    out.begin_object()
      .field("pointer", pointer)
      .field("detail", detail)
      .end_object();
  out.end_array();
  return result;
}

} // namespace

std::string json_string(std::string_view text) {
  std::string result;
  json_writer{result}.string(text);
  return result;
}

problem retry_later(int status, std::string name, std::string detail,
                    std::chrono::seconds after) {
  return {status,
          std::move(name),
          std::move(detail),
          {},
          {{"Retry-After", std::to_string(after.count())}}};
}

problem shutting_down() {
  return retry_later(503, "shutting-down", "This node is going down.",
                     std::chrono::seconds{2});
}

problem unavailable() {
  return retry_later(503, "unavailable",
                     "A server that is needed for this cannot be reached.",
                     std::chrono::seconds{2});
}

problem outcome_unknown() {
  return retry_later(503, "outcome-unknown",
                     "There was no answer in time, and what was asked for may "
                     "have been done. Send the same request again: under its "
                     "idempotency key a purchase is recorded once.");
}

problem internal_error() {
  return {500, "internal-error", "This is a fault of the server.", {}, {}};
}

problem not_found(std::string detail) {
  return {404, "not-found", std::move(detail), {}, {}};
}

problem forbidden(std::string detail) {
  return {403, "forbidden", std::move(detail), {}, {}};
}

problem bad_parameter(std::string_view name, std::string detail) {
  return {400,
          "bad-parameter",
          std::move(detail),
          {{"parameter", json_string(name)}},
          {}};
}

problem malformed_json(std::string detail) {
  return {400, "malformed-json", std::move(detail), {}, {}};
}

problem unsupported_media_type() {
  return {415,
          "unsupported-media-type",
          "The body must be application/json, not compressed.",
          {},
          {{"Accept-Post", "application/json"}}};
}

problem session_over() {
  return {401,
          "unauthorized",
          "The sign-in is over: sign in again.",
          {},
          {{"WWW-Authenticate", R"(Bearer realm="tillstream")"}}};
}

problem unauthorized(bool presented) {
  // RFC 6750, 3.1: no error code for a request without credentials.
  return {401,
          "unauthorized",
          presented ? "The API key is not known, or was revoked."
                    : "An API key is needed: Authorization: Bearer <key>.",
          {},
          {{"WWW-Authenticate",
            presented ? R"(Bearer realm="tillstream", error="invalid_token")"
                      : R"(Bearer realm="tillstream")"}}};
}

problem
validation_failed(std::string detail, const std::vector<field_error>& errors) {
  return {422,
          "validation-failed",
          std::move(detail),
          {{"errors", json_errors(errors)}},
          {}};
}

problem in_progress() {
  return retry_later(
    409, "request-in-progress",
    "A purchase with this key or receipt is still being recorded.");
}

problem problem_of(const caf::error& err) {
  if (err == errc::in_progress)
    return in_progress();
  if (err == errc::overloaded)
    return retry_later(503, "overloaded", "Too much is waiting already.");
  if (err == errc::shutting_down)
    return shutting_down();
  if (err == errc::in_doubt || err == errc::timeout
      || err == caf::sec::request_timeout)
    return outcome_unknown();
  if (err == errc::internal || err == errc::invalid || err == errc::not_found)
    return internal_error();
  // Away, or not here: another try may find it.
  return unavailable();
}

} // namespace tillstream::problems
