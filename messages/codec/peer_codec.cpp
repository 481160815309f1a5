#include "messages/codec/peer_codec.hpp"

#include "messages/codec/json.hpp"
#include "messages/core/limits.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <unordered_map>
#include <utility>

namespace tillstream {

const std::string peer_wrong_version = "another version";

namespace {

using query_kind = shard_query::kind;

// -- names on the wire --------------------------------------------------------

constexpr std::array<std::pair<query_kind, std::string_view>, 8> kinds{{
  {query_kind::status, "status"},
  {query_kind::days, "days"},
  {query_kind::summary, "summary"},
  {query_kind::hours, "hours"},
  {query_kind::heat, "heat"},
  {query_kind::products, "products"},
  {query_kind::product_days, "product-days"},
  {query_kind::loyal, "loyal"},
}};

constexpr std::array<errc, 8> errors{
  errc::invalid, errc::not_found,     errc::overloaded, errc::unavailable,
  errc::timeout, errc::shutting_down, errc::not_owner,  errc::internal,
};

/// An error that we have no name for came from a later version.
errc read_error(std::string_view text) {
  auto i = std::find_if(errors.begin(), errors.end(),
                        [&](errc x) { return to_string(x) == text; });
  return i != errors.end() ? *i : errc::unavailable;
}

// -- bounds of what is read ---------------------------------------------------

/// 1900-01-01 and 2999-12-31, as `parse_day` has them.
constexpr int64_t day_min = -25'567;
constexpr int64_t day_max = 376'199;
constexpr int64_t ms_of_day = 86'400'000;
/// Sums: a thousandth of int64, so that adding branches cannot overflow.
constexpr int64_t sum_max = INT64_MAX / 1000;

// -- reading ------------------------------------------------------------------

/// Reads values that must be there; remembers the first that was not right.
class checked_reader {
public:
  std::string wrong;

  void fail(std::string_view what) {
    if (wrong.empty())
      wrong = what;
  }

  int64_t integer(const json_value* x, int64_t min, int64_t max,
                  std::string_view what) {
    int64_t result = 0;
    if (x == nullptr || !x->is(json_value::kind::number)) {
      fail(what);
      return min;
    }
    auto end = x->text.data() + x->text.size();
    auto [position, error] = std::from_chars(x->text.data(), end, result);
    if (error != std::errc{} || position != end || result < min
        || result > max) {
      fail(what);
      return min;
    }
    return result;
  }

  bool boolean(const json_value* x, std::string_view what) {
    if (x == nullptr || !x->is(json_value::kind::boolean)) {
      fail(what);
      return false;
    }
    return x->boolean;
  }

  std::string
  text(const json_value* x, size_t bytes_max, std::string_view what) {
    if (x == nullptr || !x->is(json_value::kind::string)
        || x->text.size() > bytes_max) {
      fail(what);
      return {};
    }
    return std::string{x->text};
  }

  uuid id(const json_value* x, std::string_view what) {
    auto result = parse_uuid(text(x, 36, what));
    if (!result)
      fail(what);
    return result.value_or(uuid{});
  }

  calendar_day day(const json_value* x) {
    return calendar_day{
      calendar_day::duration{integer(x, day_min, day_max, "a day")}};
  }

  timestamp time(const json_value* x) {
    return from_ms(
      integer(x, day_min * ms_of_day, day_max * ms_of_day, "a time"));
  }

  int64_t sum(const json_value* x) {
    return integer(x, -sum_max, sum_max, "a sum");
  }

  /// The elements of an array with at most `max` of them.
  const std::vector<json_value>&
  list(const json_value* x, size_t max, std::string_view what) {
    static const std::vector<json_value> none;
    if (x == nullptr || !x->is(json_value::kind::array)
        || x->elements.size() > max) {
      fail(what);
      return none;
    }
    return x->elements;
  }

  /// A row: an array with at least `columns` values.
  const json_value* row(const json_value& x, size_t columns) {
    if (!x.is(json_value::kind::array) || x.elements.size() < columns) {
      fail("a row");
      return nullptr;
    }
    return x.elements.data();
  }
};

/// Bytes of a text of so many code points.
constexpr size_t bytes_of(size_t code_points) {
  return 4 * code_points;
}

constexpr size_t branch_bytes_max = 64;
constexpr size_t node_bytes_max = 512;

std::string parse(json_document& document, std::string_view bytes) {
  if (bytes.size() > limits::peer_message_bytes_max)
    return "too long";
  if (auto wrong = document.parse(bytes); !wrong.empty())
    return wrong;
  checked_reader in;
  auto version
    = in.integer(document.root().find("v"), 1, INT32_MAX, "no version");
  if (in.wrong.empty() && version != peer_version)
    return peer_wrong_version;
  return in.wrong;
}

// -- writing ------------------------------------------------------------------

int64_t number(calendar_day x) {
  return x.time_since_epoch().count();
}

void put(json_writer& out, const sales_totals& x) {
  out.integer(x.revenue).integer(x.purchases).integer(x.items);
}

void put(json_writer& out, const day_totals& x) {
  put(out, x.sales);
  out.integer(x.customers.customers)
    .integer(x.customers.fresh)
    .integer(x.customers.chain);
}

sales_totals read_sales(checked_reader& in, const json_value* first) {
  return {in.sum(first), in.sum(first + 1), in.sum(first + 2)};
}

day_totals read_day(checked_reader& in, const json_value* first) {
  return {read_sales(in, first),
          {in.sum(first + 3), in.sum(first + 4), in.sum(first + 5)}};
}

constexpr size_t day_columns = 6;

// -- queries ----------------------------------------------------------------

void put(json_writer& out, const shard_query& x) {
  auto kind = std::find_if(kinds.begin(), kinds.end(),
                           [&](const auto& y) { return y.first == x.what; });
  out.begin_object()
    .field("what", kind->second)
    .field("from", number(x.from))
    .field("to", number(x.to))
    .field("previous_from", number(x.previous_from))
    .field("previous_to", number(x.previous_to))
    .field("minute_max", x.minute_max)
    .field("product", x.product_id)
    .field("by_revenue", x.by_revenue)
    .field("limit", static_cast<int64_t>(x.limit))
    .end_object();
}

shard_query read_query(checked_reader& in, const json_value& x) {
  shard_query result;
  auto name = in.text(x.find("what"), 64, "a question");
  auto kind = std::find_if(kinds.begin(), kinds.end(),
                           [&](const auto& y) { return y.second == name; });
  if (kind == kinds.end())
    in.fail("a question");
  else
    result.what = kind->first;
  result.from = in.day(x.find("from"));
  result.to = in.day(x.find("to"));
  result.previous_from = in.day(x.find("previous_from"));
  result.previous_to = in.day(x.find("previous_to"));
  result.minute_max = static_cast<int>(
    in.integer(x.find("minute_max"), 0, last_minute, "a minute"));
  result.product_id = in.text(
    x.find("product"), bytes_of(limits::id_code_points_max), "a product");
  result.by_revenue = in.boolean(x.find("by_revenue"), "a ranking");
  result.limit = static_cast<size_t>(in.integer(
    x.find("limit"), 0, static_cast<int64_t>(limits::rank_max), "a limit"));
  return result;
}

/// Most branches are asked the same: each query is written once, and the
/// branches name it by its place.
void put_asked(json_writer& out, const peer_query& x) {
  std::unordered_map<std::string, int64_t> places;
  std::vector<int64_t> place_of;
  out.key("questions").begin_array();
  for (const auto& query : x.queries) {
    std::string text;
    json_writer one{text};
    put(one, *query);
    auto next = static_cast<int64_t>(places.size());
    auto [i, is_new] = places.try_emplace(std::move(text), next);
    if (is_new)
      out.raw(i->first);
    place_of.push_back(i->second);
  }
  out.end_array().key("branches").begin_array();
  for (size_t i = 0; i < x.branches.size(); ++i)
    out.begin_array().string(x.branches[i]).integer(place_of[i]).end_array();
  out.end_array();
}

void read_asked(checked_reader& in, const json_value& root, peer_query& out) {
  std::vector<shard_query_ptr> queries;
  for (const auto& x :
       in.list(root.find("questions"), limits::branches_max, "questions"))
    queries.push_back(std::make_shared<const shard_query>(read_query(in, x)));
  for (const auto& x :
       in.list(root.find("branches"), limits::branches_max, "branches")) {
    const auto* row = in.row(x, 2);
    if (row == nullptr)
      return;
    auto last = static_cast<int64_t>(queries.size()) - 1;
    out.branches.push_back(in.text(row, branch_bytes_max, "a branch"));
    auto place = in.integer(row + 1, 0, last, "a question's place");
    if (!in.wrong.empty())
      return;
    out.queries.push_back(queries[static_cast<size_t>(place)]);
  }
}

} // namespace

std::string to_json(const peer_query& x) {
  std::string result;
  json_writer out{result};
  out.begin_object()
    .field("v", peer_version)
    .field("kind", x.what == peer_query::kind::ask ? "ask" : "after")
    .field("patience_ms", static_cast<int64_t>(x.timeout.count()));
  if (x.what == peer_query::kind::ask) {
    put_asked(out, x);
  } else {
    out.field("event", to_string(x.event_id)).key("branches").begin_array();
    for (const auto& branch : x.branches)
      out.string(branch);
    out.end_array();
  }
  out.end_object();
  return result;
}

std::string read_peer_query(std::string_view bytes, peer_query& out) {
  json_document document;
  if (auto wrong = parse(document, bytes); !wrong.empty())
    return wrong;
  const auto& root = document.root();
  checked_reader in;
  out = {};
  auto kind = in.text(root.find("kind"), 16, "a kind");
  out.timeout = std::chrono::milliseconds{in.integer(
    root.find("patience_ms"), 0,
    std::chrono::milliseconds{limits::query_answer_max}.count(), "patience")};
  if (kind == "ask") {
    read_asked(in, root, out);
  } else if (kind == "after") {
    out.what = peer_query::kind::after;
    out.event_id = in.id(root.find("event"), "an event");
    for (const auto& x :
         in.list(root.find("branches"), limits::branches_max, "branches"))
      out.branches.push_back(in.text(&x, branch_bytes_max, "a branch"));
  } else {
    in.fail("a kind");
  }
  return in.wrong;
}

// -- answers ------------------------------------------------------------------

namespace {

/// Writes an answer into documents. A row is never cut: what does not fit goes
/// on in the next document, under the same branch and section.
class answer_writer {
public:
  std::vector<std::string> write(const peer_answer& x) {
    begin_document();
    if (x.applied)
      out_->field("applied", true);
    out_->key("parts").begin_array();
    for (const auto& [branch, part] : x.parts)
      write_part(branch, part);
    end_document(true);
    return std::move(documents_);
  }

private:
  void begin_document() {
    documents_.emplace_back();
    out_.emplace(documents_.back());
    out_->begin_object()
      .field("v", peer_version)
      .field("chunk", static_cast<int64_t>(documents_.size() - 1));
  }

  void end_document(bool last) {
    out_->end_array().field("last", last).end_object();
  }

  bool full() const {
    return documents_.back().size() >= limits::peer_chunk_bytes;
  }

  void next_document() {
    end_document(false);
    begin_document();
    out_->key("parts").begin_array();
  }

  void begin_part(const std::string& branch) {
    out_->begin_object().field("branch", branch);
  }

  void write_part(const std::string& branch, const peer_part& part) {
    if (full())
      next_document();
    begin_part(branch);
    if (part.error != errc::none || !part.answer)
      out_->field("error", to_string(part.error));
    else
      write_answer(branch, *part.answer);
    out_->end_object();
  }

  void write_answer(const std::string& branch, const shard_answer& x) {
    out_->field("as_of", to_ms(x.as_of)).field("pending", x.pending_events);
    if (x.lag_ms)
      out_->field("lag", *x.lag_ms);
    out_->key("day").begin_array();
    put(*out_, x.day);
    out_->end_array().key("previous").begin_array();
    put(*out_, x.previous);
    out_->end_array();
    out_->key("label").begin_array();
    put_label(x.label);
    out_->end_array();
    write_rows(branch, x);
  }

  void write_rows(const std::string& branch, const shard_answer& x) {
    section(branch, "days", x.days, [&](const auto& row) {
      out_->integer(number(row.first));
      put(*out_, row.second);
    });
    section(branch, "hours", x.hours, [&](const hour_sales& row) {
      out_->integer(number(row.day)).integer(to_ms(row.hour));
      put(*out_, row.sales);
    });
    if (x.heat)
      write_heat(branch, *x.heat);
    write_products(branch, "products", x.products);
    write_products(branch, "previous_products", x.previous_products);
    section(branch, "product_days", x.product_days, [&](const auto& row) {
      out_->integer(number(row.first))
        .integer(row.second.quantity)
        .integer(row.second.revenue);
    });
    section(branch, "customers", x.customers, [&](const auto& row) {
      out_->string(to_string(row.customer_id))
        .integer(row.totals.purchases)
        .integer(row.totals.revenue)
        .integer(to_ms(row.totals.last_purchase_at));
    });
  }

  void write_heat(const std::string& branch, const heat_map& cells) {
    std::vector<size_t> sold;
    for (size_t i = 0; i < cells.size(); ++i)
      if (cells[i] != sales_totals{})
        sold.push_back(i);
    section(
      branch, "heat", sold,
      [&](size_t cell) {
        out_->integer(static_cast<int64_t>(cell));
        put(*out_, cells[cell]);
      },
      true);
  }

  void write_products(const std::string& branch, std::string_view name,
                      const product_sums_ptr& rows) {
    if (rows)
      section(
        branch, name, *rows,
        [&](const product_sums& row) {
          out_->string(row.product_id);
          put_label(row.label);
          out_->integer(row.totals.quantity).integer(row.totals.revenue);
        },
        true);
  }

  void put_label(const product_label& x) {
    out_->string(x.name).string(x.category).integer(x.outbox_seq);
  }

  /// @param always Written without rows as well: to be there means something.
  template <class Rows, class F>
  void section(const std::string& branch, std::string_view name,
               const Rows& rows, F put_row, bool always = false) {
    if (rows.empty() && !always)
      return;
    out_->key(name).begin_array();
    for (const auto& row : rows) {
      if (full()) {
        out_->end_array().end_object();
        next_document();
        begin_part(branch);
        out_->key(name).begin_array();
      }
      out_->begin_array();
      put_row(row);
      out_->end_array();
    }
    out_->end_array();
  }

  std::vector<std::string> documents_;
  std::optional<json_writer> out_;
};

/// A branch's part as far as it came.
struct partial {
  errc error = errc::none;
  bool has_head = false;
  shard_answer answer;
  std::optional<heat_map> heat;
  std::optional<std::vector<product_sums>> products;
  std::optional<std::vector<product_sums>> previous_products;
};

} // namespace

struct peer_answer_reader::impl {
  json_document document;
  std::map<std::string, partial> parts;
  bool applied = false;
  bool complete = false;
  errc refused = errc::none;
  size_t chunks = 0;
  size_t rows = 0;

  std::string take(std::string_view bytes) {
    if (complete || chunks >= limits::peer_chunks_max)
      return "too many documents";
    if (auto wrong = parse(document, bytes); !wrong.empty())
      return wrong;
    const auto& root = document.root();
    checked_reader in;
    if (const auto* error = root.find("error")) {
      refused = read_error(in.text(error, 64, "an error"));
      complete = true;
      return in.wrong;
    }
    auto expected = static_cast<int64_t>(chunks++);
    in.integer(root.find("chunk"), expected, expected, "a document is missing");
    complete = in.boolean(root.find("last"), "an end");
    if (const auto* x = root.find("applied"))
      applied = in.boolean(x, "applied");
    for (const auto& x :
         in.list(root.find("parts"), limits::branches_max, "parts"))
      if (in.wrong.empty())
        read_part(in, x);
    return in.wrong;
  }

  void read_part(checked_reader& in, const json_value& x) {
    auto branch = in.text(x.find("branch"), branch_bytes_max, "a branch");
    if (parts.size() >= limits::branches_max)
      in.fail("too many branches");
    if (!in.wrong.empty())
      return;
    auto& part = parts[branch];
    part.answer.branch_id = branch;
    if (const auto* error = x.find("error")) {
      part.error = read_error(in.text(error, 64, "an error"));
      return;
    }
    if (x.find("as_of") != nullptr)
      read_head(in, x, part);
    read_rows(in, x, part);
  }

  void read_head(checked_reader& in, const json_value& x, partial& part) {
    auto& answer = part.answer;
    part.has_head = true;
    answer.as_of = in.time(x.find("as_of"));
    answer.pending_events
      = in.integer(x.find("pending"), 0, sum_max, "pending events");
    if (const auto* lag = x.find("lag"))
      answer.lag_ms = in.integer(lag, 0, sum_max, "a lag");
    read_totals(in, x.find("day"), answer.day);
    read_totals(in, x.find("previous"), answer.previous);
    const auto* label = x.find("label");
    if (const auto* row = label ? in.row(*label, 3) : nullptr)
      answer.label = read_label(in, row);
    else
      in.fail("a label");
  }

  static void
  read_totals(checked_reader& in, const json_value* x, day_totals& out) {
    if (const auto* row = x ? in.row(*x, day_columns) : nullptr)
      out = read_day(in, row);
    else
      in.fail("a day's totals");
  }

  static product_label read_label(checked_reader& in, const json_value* row) {
    constexpr auto max = bytes_of(limits::name_code_points_max);
    return {in.text(row, max, "a name"), in.text(row + 1, max, "a category"),
            in.integer(row + 2, 0, INT64_MAX, "a label's number")};
  }

  /// Calls `f` with each row of a section, if it is there.
  template <class F>
  bool for_rows(checked_reader& in, const json_value& part,
                std::string_view name, size_t columns, F f) {
    const auto* section = part.find(name);
    if (section == nullptr)
      return false;
    auto left = limits::peer_answer_rows_max - rows;
    for (const auto& x : in.list(section, left, "too many rows")) {
      const auto* row = in.row(x, columns);
      if (row == nullptr || !in.wrong.empty())
        return false;
      ++rows;
      f(row);
    }
    return true;
  }

  void
  read_products(checked_reader& in, const json_value& x, std::string_view name,
                std::optional<std::vector<product_sums>>& out) {
    if (x.find(name) != nullptr && !out)
      out.emplace();
    for_rows(in, x, name, 6, [&](const json_value* row) {
      out->push_back(
        {in.text(row, bytes_of(limits::id_code_points_max), "a product"),
         read_label(in, row + 1),
         {in.sum(row + 4), in.sum(row + 5)}});
    });
  }

  void read_rows(checked_reader& in, const json_value& x, partial& part) {
    auto& answer = part.answer;
    for_rows(in, x, "days", 1 + day_columns, [&](const json_value* row) {
      answer.days.emplace_back(in.day(row), read_day(in, row + 1));
    });
    for_rows(in, x, "hours", 5, [&](const json_value* row) {
      answer.hours.push_back(
        {in.day(row), in.time(row + 1), read_sales(in, row + 2)});
    });
    if (x.find("heat") != nullptr && !part.heat)
      part.heat.emplace();
    for_rows(in, x, "heat", 4, [&](const json_value* row) {
      auto cell = in.integer(row, 0, int64_t{heat_cells} - 1, "a cell");
      (*part.heat)[static_cast<size_t>(cell)] = read_sales(in, row + 1);
    });
    read_products(in, x, "products", part.products);
    read_products(in, x, "previous_products", part.previous_products);
    for_rows(in, x, "product_days", 3, [&](const json_value* row) {
      answer.product_days.emplace_back(
        in.day(row), product_totals{in.sum(row + 1), in.sum(row + 2)});
    });
    for_rows(in, x, "customers", 4, [&](const json_value* row) {
      answer.customers.push_back(
        {in.id(row, "a customer"),
         {in.sum(row + 1), in.sum(row + 2), in.time(row + 3)}});
    });
  }

  static product_sums_ptr share(std::optional<std::vector<product_sums>>& x) {
    if (!x)
      return nullptr;
    return std::make_shared<const std::vector<product_sums>>(std::move(*x));
  }

  static peer_part finish(partial& x) {
    if (x.error != errc::none)
      return {x.error, nullptr};
    // Rows without a head: whoever wrote them broke the rules.
    if (!x.has_head)
      return {errc::internal, nullptr};
    if (x.heat)
      x.answer.heat = std::make_shared<const heat_map>(*x.heat);
    x.answer.products = share(x.products);
    x.answer.previous_products = share(x.previous_products);
    return {errc::none,
            std::make_shared<const shard_answer>(std::move(x.answer))};
  }
};

std::vector<std::string> to_json(const peer_answer& x) {
  return answer_writer{}.write(x);
}

std::string peer_refusal(errc why) {
  std::string result;
  json_writer{result}
    .begin_object()
    .field("v", peer_version)
    .field("error", to_string(why))
    .end_object();
  return result;
}

peer_answer_reader::peer_answer_reader() : impl_(std::make_unique<impl>()) {
  // nop
}

peer_answer_reader::~peer_answer_reader() = default;
peer_answer_reader::peer_answer_reader(peer_answer_reader&&) noexcept = default;
peer_answer_reader&
peer_answer_reader::operator=(peer_answer_reader&&) noexcept = default;

std::string peer_answer_reader::take(std::string_view bytes) {
  return impl_->take(bytes);
}

bool peer_answer_reader::complete() const {
  return impl_->complete;
}

errc peer_answer_reader::refused() const {
  return impl_->refused;
}

peer_answer peer_answer_reader::finish() {
  peer_answer result;
  result.applied = impl_->applied;
  for (auto& [branch, part] : impl_->parts)
    result.parts.emplace(branch, impl::finish(part));
  return result;
}

// -- notices
// --------------------------------------------------------------------

std::vector<std::string>
to_json(const std::string& node, const std::vector<commit_notice>& notices) {
  std::vector<std::string> result;
  for (size_t i = 0; i < notices.size();) {
    json_writer out{result.emplace_back()};
    out.begin_object().field("v", peer_version).field("node", node);
    out.key("notes").begin_array();
    auto end = std::min(i + limits::peer_notices_max, notices.size());
    for (; i < end; ++i)
      out.begin_array()
        .string(notices[i].branch_id)
        .integer(notices[i].seq)
        .string(to_string(notices[i].event_id))
        .integer(to_ms(notices[i].recorded_at))
        .end_array();
    out.end_array().end_object();
  }
  return result;
}

std::string read_peer_notices(std::string_view bytes, peer_notices& out) {
  json_document document;
  if (auto wrong = parse(document, bytes); !wrong.empty())
    return wrong;
  const auto& root = document.root();
  checked_reader in;
  out = {};
  out.node = in.text(root.find("node"), node_bytes_max, "a node");
  for (const auto& x :
       in.list(root.find("notes"), limits::peer_notices_max, "notes")) {
    const auto* row = in.row(x, 4);
    if (row == nullptr)
      break;
    commit_notice notice;
    notice.branch_id = in.text(row, branch_bytes_max, "a branch");
    notice.seq = in.integer(row + 1, 0, INT64_MAX, "a sequence");
    notice.event_id = in.id(row + 2, "an event");
    notice.recorded_at = in.time(row + 3);
    out.notices.push_back(std::move(notice));
  }
  return in.wrong;
}

} // namespace tillstream
