#include "actors/gateway/page.hpp"

#include "actors/gateway/answers.hpp"
#include "actors/gateway/problems.hpp"
#include "actors/http/header_values.hpp"

#include <string_view>
#include <utility>

namespace tillstream {

namespace {

constexpr std::string_view plain_page
  = "Tillstream takes purchases at POST /purchases and answers questions under "
    "/analytics/.\nThe API is described at /openapi.json, its events at "
    "/asyncapi.json.\n";

constexpr std::string_view page_policy
  = "default-src 'self'; object-src 'none'; base-uri 'none'; form-action "
    "'self'; frame-ancestors 'none'";

/// The validator of the packed form: it is other bytes (RFC 9110, 8.8.3).
std::string packed_etag(const web_file& file) {
  return file.etag.substr(0, file.etag.size() - 1) + "-gzip\"";
}

void answer_file(gateway_pointer self, const gateway_call& call,
                 const web_file& file) {
  auto packed = !file.gzipped.empty() && accepts_gzip(call.request());
  auto etag = packed ? packed_etag(file) : file.etag;
  http_reply reply{200, file.content_type, {}, {}};
  reply.headers = {
    {"ETag", etag},
    {"Vary", "Accept-Encoding"},
    {"Cache-Control",
     file.immutable ? "public, max-age=31536000, immutable" : "no-cache"},
    {"X-Content-Type-Options", "nosniff"},
    {"Referrer-Policy", "no-referrer"},
    {"Content-Security-Policy", std::string{page_policy}},
  };
  if (call.request().header("if-none-match") == etag) {
    reply.status = 304;
  } else if (packed) {
    reply.headers.emplace_back("Content-Encoding", "gzip");
    reply.body = file.gzipped;
  } else {
    reply.body = file.body;
  }
  answer(self, call, std::move(reply));
}

const web_file* find_file(const gateway_state& state, std::string_view path) {
  const auto& page = state.options.page;
  return page != nullptr ? page->find(path) : nullptr;
}

} // namespace

void answer_page(gateway_pointer self, const gateway_call& call) {
  if (auto* file = find_file(self->state, "/"))
    return answer_file(self, call, *file);
  answer(self, call,
         {200, "text/plain; charset=utf-8", {}, std::string{plain_page}});
}

void serve_unrouted(gateway_pointer self, const gateway_call& call,
                    std::string allow) {
  const auto& request = call.request();
  auto* file = find_file(self->state, request.path);
  if (file != nullptr && allow.empty()) {
    if (request.method == "GET" || request.method == "HEAD")
      return answer_file(self, call, *file);
    allow = "GET, HEAD";
  }
  if (allow.empty())
    return fail(self, call,
                problems::not_found("There is nothing at this path."));
  fail(self, call,
       problem{405,
               "method-not-allowed",
               "This path does not know the method.",
               {},
               {{"Allow", allow}}});
}

} // namespace tillstream
