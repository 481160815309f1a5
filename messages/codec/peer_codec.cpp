#include "messages/codec/peer_codec.hpp"

#include "messages/codec/json.hpp"
#include "messages/codec/peer_messages.hpp"
#include "messages/core/limits.hpp"

#include <algorithm>
#include <array>
#include <optional>
#include <span>
#include <unordered_map>
#include <utility>

namespace tillstream {

const std::string peer_wrong_version = "another version";

namespace {

using namespace peer;

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

// -- documents ----------------------------------------------------------------

/// Renders a document; `write` visits its members.
template <class F>
std::string render(F write) {
  std::string result;
  json_writer out{result};
  out.begin_object().field("v", peer_version);
  value_writer v{out};
  write(v);
  out.end_object();
  return result;
}

/// Parses a document and checks its version. @returns empty, or what is wrong.
std::string parse(json_document& document, std::string_view bytes) {
  if (bytes.size() > limits::peer_message_bytes_max)
    return "too long";
  if (auto wrong = document.parse(bytes); !wrong.empty())
    return wrong;
  std::string wrong;
  int version = 0;
  value_reader in{wrong, document.root()};
  in.at("v").integer(version, 1, INT32_MAX, "no version");
  if (wrong.empty() && version != peer_version)
    return peer_wrong_version;
  return wrong;
}

std::string text_of(const shard_query& x) {
  std::string result;
  json_writer out{result};
  value_writer v{out};
  v.objects(std::vector{x}, 1, {});
  return result;
}

query_document to_document(const peer_query& x) {
  query_document result;
  result.what = x.what;
  result.timeout_ms = x.timeout.count();
  result.event_id = x.event_id;
  if (x.what == peer_query::kind::after) {
    result.branches = x.branches;
    return result;
  }
  std::unordered_map<std::string, size_t> places;
  for (size_t i = 0; i < x.branches.size(); ++i) {
    auto [place, is_new]
      = places.try_emplace(text_of(*x.queries[i]), places.size());
    if (is_new)
      result.queries.push_back(*x.queries[i]);
    result.queried.push_back({x.branches[i], place->second});
  }
  return result;
}

std::string from_document(query_document& x, peer_query& out) {
  out.what = x.what;
  out.timeout = std::chrono::milliseconds{x.timeout_ms};
  out.event_id = x.event_id;
  out.branches = std::move(x.branches);
  std::vector<shard_query_ptr> queries;
  for (auto& query : x.queries)
    queries.push_back(std::make_shared<const shard_query>(std::move(query)));
  for (auto& branch : x.queried) {
    if (branch.place >= queries.size())
      return "a question's place";
    out.branches.push_back(std::move(branch.branch_id));
    out.queries.push_back(queries[branch.place]);
  }
  return {};
}

} // namespace

std::string to_json(const peer_query& x) {
  return render(
    [document = to_document(x)](value_writer& v) { members(v, document); });
}

std::string read_peer_query(std::string_view bytes, peer_query& out) {
  out = {};
  json_document document;
  if (auto wrong = parse(document, bytes); !wrong.empty())
    return wrong;
  std::string wrong;
  value_reader in{wrong, document.root()};
  query_document read;
  members(in, read);
  return wrong.empty() ? from_document(read, out) : wrong;
}

// -- answers ------------------------------------------------------------------

namespace {

/// Writes an answer in parts, a document each. A row is never cut: what does
/// not fit goes on in the next part, under the same branch and section.
class answer_writer {
public:
  std::vector<std::string> write(const peer_answer& x) {
    envelope_.applied = x.applied;
    begin_document();
    for (const auto& [branch, part] : x.parts)
      write_branch(branch, part);
    end_document(true);
    return std::move(documents_);
  }

  template <class T>
  void section(std::string_view name, const std::vector<T>& rows) {
    if (!rows.empty())
      write_rows(name, rows);
  }

  /// Rows behind a pointer, or optional.
  template <class Pointer>
  void section(std::string_view name, const Pointer& rows) {
    if (rows)
      write_rows(name, *rows);
  }

private:
  void begin_document() {
    envelope_.number = documents_.size();
    out_.emplace(documents_.emplace_back());
    out_->begin_object().field("v", peer_version);
    value_writer v{*out_};
    envelope_head(v, std::as_const(envelope_), 0, 0);
    out_->key("parts").begin_array();
    envelope_.applied = false;
  }

  void end_document(bool last) {
    envelope_.last = last;
    out_->end_array();
    value_writer v{*out_};
    envelope_end(v, std::as_const(envelope_));
    out_->end_object();
  }

  bool full() const {
    return documents_.back().size() >= limits::peer_message_part_bytes;
  }

  void next_document() {
    end_document(false);
    begin_document();
  }

  void begin_branch() {
    out_->begin_object().field("branch", *branch_);
  }

  void write_branch(const std::string& branch, const peer_part& part) {
    if (full())
      next_document();
    branch_ = &branch;
    begin_branch();
    if (part.error != errc::none || !part.answer)
      out_->field("error", to_string(part.error));
    else
      write_answer(*part.answer);
    out_->end_object();
  }

  void write_answer(const shard_answer& x) {
    value_writer v{*out_};
    members(v, x);
    std::optional<std::vector<sold_cell>> heat;
    if (x.heat) {
      heat.emplace();
      for (size_t i = 0; i < heat_cells; ++i)
        if ((*x.heat)[i] != sales_totals{})
          heat->push_back({i, (*x.heat)[i]});
    }
    sections(*this, x, heat, x.products, x.previous_products);
  }

  template <class T>
  void write_rows(std::string_view name, const std::vector<T>& rows) {
    out_->key(name).begin_array();
    for (const auto& row : rows) {
      if (full()) {
        out_->end_array().end_object();
        next_document();
        begin_branch();
        out_->key(name).begin_array();
      }
      value_writer{*out_}.row(row);
    }
    out_->end_array();
  }

  std::vector<std::string> documents_;
  std::optional<json_writer> out_;
  answer_envelope envelope_;
  const std::string* branch_ = nullptr;
};

/// A branch's answer as far as it came.
struct partial {
  using product_rows = std::optional<std::vector<product_sums>>;

  errc error = errc::none;
  bool has_head = false;
  shard_answer answer;
  std::optional<std::vector<sold_cell>> heat;
  product_rows products;
  product_rows previous_products;
};

/// Adds the rows of a document to those that came before.
struct section_reader {
  std::string& wrong;
  const json_value& branch;
  /// Of the whole answer.
  size_t& rows;

  template <class T>
  void section(std::string_view name, std::vector<T>& out) {
    value_reader in{wrong, branch};
    if (!in.has(name))
      return;
    auto before = out.size();
    in.at(name).rows(out, limits::peer_answer_rows_max - rows, "too many rows");
    rows += out.size() - before;
  }

  template <class T>
  void section(std::string_view name, std::optional<std::vector<T>>& out) {
    if (branch.find(name) == nullptr)
      return;
    if (!out)
      out.emplace();
    section(name, *out);
  }
};

product_sums_ptr share(partial::product_rows& x) {
  if (!x)
    return nullptr;
  return std::make_shared<const std::vector<product_sums>>(std::move(*x));
}

peer_part finish_part(partial& x) {
  if (x.error != errc::none)
    return {x.error, nullptr};
  // Rows without a head: whoever wrote them broke the rules.
  if (!x.has_head)
    return {errc::internal, nullptr};
  if (x.heat) {
    auto cells = std::make_shared<heat_map>();
    for (const auto& sold : *x.heat)
      (*cells)[sold.cell] = sold.sales;
    x.answer.heat = std::move(cells);
  }
  x.answer.products = share(x.products);
  x.answer.previous_products = share(x.previous_products);
  return {errc::none,
          std::make_shared<const shard_answer>(std::move(x.answer))};
}

} // namespace

struct peer_answer_reader::impl {
  json_document document;
  std::map<std::string, partial> branches;
  answer_envelope envelope;
  bool complete = false;
  errc refused = errc::none;
  size_t parts = 0;
  size_t rows = 0;

  std::string take(std::string_view bytes) {
    if (complete || parts >= limits::peer_message_parts_max)
      return "too many documents";
    if (auto wrong = parse(document, bytes); !wrong.empty())
      return wrong;
    std::string wrong;
    value_reader in{wrong, document.root()};
    if (in.has("error")) {
      refused = error_of(in);
      complete = true;
      return wrong;
    }
    envelope_head(in, envelope, parts, parts);
    envelope_end(in, envelope);
    ++parts;
    complete = envelope.last;
    for (const auto& x : in.at("parts").list(limits::branches_max, "parts"))
      if (wrong.empty())
        read_branch(wrong, x);
    return wrong;
  }

  static errc error_of(value_reader& in) {
    std::string name;
    in.at("error").text(name, name_bytes_max, "an error");
    return read_error(name);
  }

  void read_branch(std::string& wrong, const json_value& x) {
    value_reader in{wrong, x};
    std::string branch;
    in.at("branch").text(branch, branch_bytes_max, "a branch");
    if (branches.size() >= limits::branches_max)
      in.fail("too many branches");
    if (!wrong.empty())
      return;
    auto& to = branches[branch];
    to.answer.branch_id = branch;
    if (in.has("error")) {
      to.error = error_of(in);
      return;
    }
    if (in.has("as_of")) {
      to.has_head = true;
      members(in, to.answer);
    }
    section_reader lists{wrong, x, rows};
    sections(lists, to.answer, to.heat, to.products, to.previous_products);
  }
};

std::vector<std::string> to_json(const peer_answer& x) {
  return answer_writer{}.write(x);
}

std::string peer_refusal(errc why) {
  return render([&](value_writer& v) {
    v.at("error").text(to_string(why), name_bytes_max, {});
  });
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
  result.applied = impl_->envelope.applied;
  for (auto& [branch, part] : impl_->branches)
    result.parts.emplace(branch, finish_part(part));
  return result;
}

// -- notices ------------------------------------------------------------------

std::vector<std::string>
to_json(const std::string& node, const std::vector<commit_notice>& notices) {
  std::vector<std::string> result;
  std::span rest{notices};
  while (!rest.empty()) {
    auto part = rest.first(std::min(limits::peer_notices_max, rest.size()));
    result.push_back(
      render([&](value_writer& v) { notice_members(v, node, part); }));
    rest = rest.subspan(part.size());
  }
  return result;
}

std::string read_peer_notices(std::string_view bytes, peer_notices& out) {
  out = {};
  json_document document;
  if (auto wrong = parse(document, bytes); !wrong.empty())
    return wrong;
  std::string wrong;
  value_reader in{wrong, document.root()};
  notice_members(in, out.node, out.notices);
  return wrong;
}

} // namespace tillstream
