#pragma once

#include "messages/codec/peer_fields.hpp"
#include "messages/core/limits.hpp"
#include "messages/model/peer.hpp"

#include <chrono>
#include <concepts>
#include <type_traits>

/// @file messages/codec/peer_messages.hpp
/// The messages between nodes, version 1: their fields in the order in which
/// they are written, and the bounds within which they are read.

namespace tillstream::peer {

constexpr name_table<shard_query::kind, 8> shard_query_kinds{{
  {shard_query::kind::status, "status"},
  {shard_query::kind::days, "days"},
  {shard_query::kind::summary, "summary"},
  {shard_query::kind::hours, "hours"},
  {shard_query::kind::heat, "heat"},
  {shard_query::kind::products, "products"},
  {shard_query::kind::product_days, "product-days"},
  {shard_query::kind::loyal, "loyal"},
}};

constexpr name_table<peer_query::kind, 2> peer_query_kinds{{
  {peer_query::kind::ask, "ask"},
  {peer_query::kind::after, "after"},
}};

/// Bytes of a text of so many code points.
constexpr size_t bytes_of(size_t code_points) {
  return 4 * code_points;
}

constexpr size_t branch_bytes_max = 64;
constexpr size_t node_bytes_max = 512;

/// `T` is `U`, to be read, or `const U`, to be written.
template <class T, class U>
concept of = std::same_as<std::remove_const_t<T>, U>;

template <class V, of<sales_totals> T>
void columns(V& v, T& x) {
  v.sum(x.revenue);
  v.sum(x.purchases);
  v.sum(x.items);
}

template <class V, of<day_totals> T>
void columns(V& v, T& x) {
  columns(v, x.sales);
  v.sum(x.customers.customers);
  v.sum(x.customers.fresh);
  v.sum(x.customers.chain);
}

template <class V, of<product_totals> T>
void columns(V& v, T& x) {
  v.sum(x.quantity);
  v.sum(x.revenue);
}

template <class V, of<product_label> T>
void columns(V& v, T& x) {
  constexpr auto max = bytes_of(limits::name_code_points_max);
  v.text(x.name, max, "a name");
  v.text(x.category, max, "a category");
  v.integer(x.outbox_seq, 0, INT64_MAX, "a label's number");
}

template <class V, of<product_sums> T>
void columns(V& v, T& x) {
  v.text(x.product_id, bytes_of(limits::id_code_points_max), "a product");
  columns(v, x.label);
  columns(v, x.totals);
}

template <class V, of<hour_sales> T>
void columns(V& v, T& x) {
  v.day(x.day);
  v.time(x.hour);
  columns(v, x.sales);
}

template <class V, of<std::pair<calendar_day, day_totals>> T>
void columns(V& v, T& x) {
  v.day(x.first);
  columns(v, x.second);
}

template <class V, of<std::pair<calendar_day, product_totals>> T>
void columns(V& v, T& x) {
  v.day(x.first);
  columns(v, x.second);
}

/// A cell of a heat map in which something was sold.
struct sold_cell {
  size_t cell = 0;
  sales_totals sales;
};

template <class V, of<sold_cell> T>
void columns(V& v, T& x) {
  v.integer(x.cell, 0, int64_t{heat_cells} - 1, "a cell");
  columns(v, x.sales);
}

template <class V, of<loyal_customer> T>
void columns(V& v, T& x) {
  v.id(x.customer_id, "a customer");
  v.sum(x.totals.purchases);
  v.sum(x.totals.revenue);
  v.time(x.totals.last_purchase_at);
}

template <class V, of<commit_notice> T>
void columns(V& v, T& x) {
  v.text(x.branch_id, branch_bytes_max, "a branch");
  v.integer(x.seq, 0, INT64_MAX, "a sequence");
  v.id(x.event_id, "an event");
  v.time(x.recorded_at);
}

template <class V, of<shard_query> T>
void members(V& v, T& x) {
  v.at("what").name(x.what, shard_query_kinds, "a question");
  v.at("from").day(x.from);
  v.at("to").day(x.to);
  v.at("previous_from").day(x.previous_from);
  v.at("previous_to").day(x.previous_to);
  v.at("minute_max").integer(x.minute_max, 0, last_minute, "a minute");
  v.at("product").text(x.product_id, bytes_of(limits::id_code_points_max),
                       "a product");
  v.at("by_revenue").boolean(x.by_revenue, "a ranking");
  v.at("limit").integer(x.limit, 0, static_cast<int64_t>(limits::rank_max),
                        "a limit");
}

/// A branch, and the place of its query in the list of all.
struct queried_branch {
  std::string branch_id;
  size_t place = 0;
};

template <class V, of<queried_branch> T>
void columns(V& v, T& x) {
  v.text(x.branch_id, branch_bytes_max, "a branch");
  v.integer(x.place, 0, int64_t{limits::branches_max} - 1,
            "a question's place");
}

/// A query as it is sent. Most branches are asked the same: each query is
/// written once.
struct query_document {
  peer_query::kind what = peer_query::kind::ask;
  int64_t timeout_ms = 0;
  /// `ask`
  std::vector<shard_query> queries;
  std::vector<queried_branch> queried;
  /// `after`
  uuid event_id;
  std::vector<std::string> branches;
};

template <class V, of<query_document> T>
void members(V& v, T& x) {
  constexpr std::chrono::milliseconds timeout_max = limits::query_answer_max;
  v.at("kind").name(x.what, peer_query_kinds, "a kind");
  v.at("patience_ms")
    .integer(x.timeout_ms, 0, timeout_max.count(), "a timeout");
  if (x.what == peer_query::kind::ask) {
    v.at("questions").objects(x.queries, limits::branches_max, "questions");
    v.at("branches").rows(x.queried, limits::branches_max, "branches");
  } else {
    v.at("event").id(x.event_id, "an event");
    v.at("branches")
      .texts(x.branches, limits::branches_max, branch_bytes_max, "branches");
  }
}

/// What stands around the branches of an answer's document.
struct answer_envelope {
  size_t number = 0;
  bool applied = false;
  bool last = false;
};

template <class V, of<answer_envelope> T>
void envelope_head(V& v, T& x, size_t number_min, size_t number_max) {
  v.at("chunk").integer(x.number, static_cast<int64_t>(number_min),
                        static_cast<int64_t>(number_max),
                        "a document is missing");
  v.flag("applied", x.applied);
}

template <class V, of<answer_envelope> T>
void envelope_end(V& v, T& x) {
  v.at("last").boolean(x.last, "an end");
}

template <class V, of<shard_answer> T>
void members(V& v, T& x) {
  v.at("as_of").time(x.as_of);
  v.at("pending").integer(x.pending_events, 0, sum_max, "pending events");
  v.optional_integer("lag", x.lag_ms, 0, sum_max, "a lag");
  v.at("day").row(x.day, "a day's totals");
  v.at("previous").row(x.previous, "a day's totals");
  v.at("label").row(x.label, "a label");
}

/// The lists of an answer. Those of `heat` and of products are there without
/// rows as well: to be there means something.
template <class V, of<shard_answer> T, class Heat, class Products>
void sections(V& v, T& x, Heat& heat, Products& products,
              Products& previous_products) {
  v.section("days", x.days);
  v.section("hours", x.hours);
  v.section("heat", heat);
  v.section("products", products);
  v.section("previous_products", previous_products);
  v.section("product_days", x.product_days);
  v.section("customers", x.customers);
}

template <class V, class Node, class Notices>
void notice_members(V& v, Node& node, Notices& notices) {
  v.at("node").text(node, node_bytes_max, "a node");
  v.at("notes").rows(notices, limits::peer_notices_max, "notes");
}

} // namespace tillstream::peer
