#include "actors/gateway/sign_in.hpp"

#include "actors/directory/api_key.hpp"
#include "actors/gateway/answers.hpp"
#include "actors/gateway/authorization.hpp"
#include "actors/gateway/problems.hpp"
#include "actors/http/header_values.hpp"
#include "messages/codec/json.hpp"
#include "messages/core/log.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <string>
#include <utility>

namespace tillstream {

namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

/// What a browser is told of the cookie (RFC 6265, 4.1): scripts do not see it,
/// and no request that another site begins carries it.
std::string
set_cookie(const http_request& request, std::string_view value, seconds age) {
  auto result
    = fmt::format("{}={}; Path=/; Max-Age={}; HttpOnly; SameSite=Strict",
                  sign_in_cookie, value, age.count());
  // Whoever ends TLS in front of us says so.
  if (request.header("x-forwarded-proto") == "https")
    result += "; Secure";
  return result;
}

/// @param who Nobody, if nothing is set.
std::string encode_sign_in(const std::optional<principal>& who) {
  std::string result;
  json_writer out{result};
  out.begin_object().key("role");
  if (who)
    out.string(to_string(who->role));
  else
    out.null();
  out.key("expires_at");
  if (who && who->session)
    out.string(to_rfc3339(who->session->expires_at));
  else
    out.null(); // The key itself called.
  out.end_object();
  return result;
}

void open_sign_in(gateway_pointer self, const gateway_call_ptr& call,
                  principal who) {
  auto& state = self->state;
  state.guard.succeeded(call->request().peer);
  auto age = std::chrono::duration_cast<seconds>(limits::page_session_age_max);
  who.session = page_session{state.ids.v4(), who.key_id,
                             state.options.directory->now() + age};
  http_reply reply{200, "application/json", {}, encode_sign_in(who)};
  reply.headers
    = {{"Set-Cookie",
        set_cookie(call->request(), call->directory->seal(*who.session), age)},
       {"Cache-Control", "no-store"}};
  log::info("page.signed_in", {{"key_id", to_string(who.key_id)},
                               {"peer", call->request().peer}});
  answer(self, *call, std::move(reply));
}

void refuse_sign_in(gateway_pointer self, const gateway_call_ptr& call,
                    std::string detail) {
  self->state.guard.failed(call->request().peer, self->clock().now());
  auto why = problems::session_over();
  why.detail = std::move(detail);
  fail(self, *call, why);
}

/// Signs the holder of an owner's key in.
void sign_in_as(gateway_pointer self, const gateway_call_ptr& call,
                const std::optional<principal>& who, std::string unknown) {
  if (!who)
    return refuse_sign_in(self, call, std::move(unknown));
  if (who->role != storage::key_role::owner)
    return fail(self, *call,
                problems::forbidden("This is a key of the role "
                                    + to_string(who->role)
                                    + "; the page is for the owner's."));
  open_sign_in(self, call, *who);
}

void sign_in_by_link(gateway_pointer self, const gateway_call_ptr& call,
                     std::string_view secret) {
  if (!self->state.options.refresher)
    return fail(self, *call, problems::unavailable());
  constexpr auto unknown = "The link was used already, or is too old.";
  self
    ->request(self->state.options.refresher,
              caf::duration{limits::query_answer_max}, atom::open_v,
              sign_in_link{secret_digest(secret)})
    .then(
      [self, call](const uuid& key_id) {
        sign_in_as(self, call, call->directory->holder(key_id), unknown);
      },
      [self, call](const caf::error& err) {
        if (err == errc::not_found)
          refuse_sign_in(self, call, unknown);
        else
          fail(self, *call, err);
      });
}

void answer_signed_out(gateway_pointer self, const gateway_call_ptr& call) {
  http_reply reply{204, "", {}, {}};
  reply.headers = {{"Set-Cookie", set_cookie(call->request(), "", seconds{0})}};
  answer(self, *call, std::move(reply));
}

} // namespace

void show_sign_in(gateway_pointer self, const gateway_call& call) {
  if (call.directory == nullptr)
    return fail(self, call, problems::unavailable());
  const auto& request = call.request();
  auto who
    = request.header("authorization")
        ? call.directory->authenticate(bearer_of(request))
        : call.directory->authenticate_session(
          sign_in_token_of(request), self->state.options.directory->now());
  http_reply reply{200, "application/json", {}, encode_sign_in(who)};
  reply.headers = {{"Cache-Control", "no-store"}};
  answer(self, call, std::move(reply));
}

void sign_in(gateway_pointer self, const gateway_call_ptr& call) {
  const auto& request = call->request();
  if (is_cross_site(request))
    return fail(self, *call,
                problems::forbidden("This has to come from the page itself."));
  if (!is_json(request))
    return fail(self, *call, problems::unsupported_media_type());
  auto wait = self->state.guard.wait_for(request.peer, self->clock().now());
  if (wait > milliseconds{0})
    return fail(self, *call,
                problems::retry_later(429, "too-many-requests",
                                      "Too many wrong keys from this address.",
                                      std::chrono::ceil<seconds>(wait)));
  if (call->directory == nullptr)
    return fail(self, *call, problems::unavailable());
  json_document document;
  auto wrong = document.parse(request.body);
  if (!wrong.empty())
    return fail(self, *call, problems::malformed_json(std::move(wrong)));
  auto text_of = [&](std::string_view name) {
    const auto* x = document.root().find(name);
    return x != nullptr && x->is(json_value::kind::string) ? x->text
                                                           : std::string_view{};
  };
  auto key = text_of("key");
  auto link = text_of("link");
  if (key.empty() == link.empty())
    return fail(self, *call,
                problems::malformed_json("An object with either key or link."));
  if (!link.empty())
    return sign_in_by_link(self, call, link);
  sign_in_as(self, call, call->directory->authenticate(key),
             "The key is not known, or was revoked.");
}

void sign_out(gateway_pointer self, const gateway_call_ptr& call) {
  if (!call->who.session)
    return answer_signed_out(self, call);
  if (!self->state.options.refresher)
    return fail(self, *call, problems::unavailable());
  const auto& session = *call->who.session;
  self
    ->request(self->state.options.refresher,
              caf::duration{limits::query_answer_max}, atom::close_v,
              session_end{session.session_id, session.expires_at})
    .then([self, call](bool) { answer_signed_out(self, call); },
          [self, call](const caf::error& err) { fail(self, *call, err); });
}

} // namespace tillstream
