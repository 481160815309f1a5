#pragma once

#include "actors/query/answer.hpp"
#include "actors/query/rows.hpp"
#include "messages/core/hash.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

/// @file actors/query/sheet.hpp
/// The form that all answers have: a section for each branch and one for all of
/// them together, rendered as JSON or CSV. Rows say themselves what their
/// columns are (rows.hpp).

namespace tillstream {

/// What an answer says of one branch, or of all branches together.
template <class Row, class Sums = no_columns>
struct section {
  using row_type = Row;

  std::vector<Row> rows;
  /// Beside the rows, in JSON only.
  Sums sums = {};
};

template <class Section>
struct sheet {
  /// Name of the rows in JSON. Empty: each section is its one row.
  std::string_view list;
  /// One for each branch.
  std::vector<Section> branches;
  Section total;
};

/// Distinct customers of some branches together.
inline int64_t customers_on(const slice& x, calendar_day day) {
  auto i = x.subset_customers.find(day);
  return i != x.subset_customers.end() ? i->second : 0;
}

/// A section with a row for each day of the plan.
template <class Section>
Section empty_days(const analytics_plan& plan) {
  Section result;
  for (auto day = plan.from; day <= plan.to; day += std::chrono::days{1})
    result.rows.emplace_back().day = day;
  return result;
}

/// Where a day has its row. @pre it is one of the plan's
inline size_t index_of(const analytics_plan& plan, calendar_day day) {
  return static_cast<size_t>((day - plan.from).count());
}

template <class F>
void describe_range(F& f, const analytics_plan& plan) {
  f("from", plan.from);
  f("to", plan.to);
}

template <class F>
void describe(F& f, const query_progress& x) {
  f("as_of", moving<timestamp>{x.as_of});
  f("pending_events", moving<int64_t>{x.pending_events});
  f("lag_ms", moving<std::optional<int64_t>>{x.lag_ms});
}

template <class Section>
void write_section(json_writer& out, json_row& fields, std::string_view list,
                   const Section& x) {
  if (list.empty()) {
    describe(fields, x.rows.front());
    return;
  }
  describe(fields, x.sums);
  out.key(list).begin_array();
  for (const auto& row : x.rows) {
    out.begin_object();
    describe(fields, row);
    out.end_object();
  }
  out.end_array();
}

/// @param describe_parameters Writes the parameters as they were understood.
/// @param with_moving Without: only what the version of the answer depends on.
template <class Section, class Parameters>
std::string
render_json(const analytics_plan& plan, const answer_parts& parts,
            const sheet<Section>& x, const Parameters& describe_parameters,
            bool with_moving) {
  std::string result;
  json_writer out{result};
  const auto& unit = plan.chain->chain()->currency;
  json_row fields{out, unit, with_moving};
  out.begin_object().field("currency", unit.code);
  describe(fields, progress_of(parts));
  describe_parameters(fields);
  out.key("branches").begin_array();
  for (size_t i = 0; !plan.total_only && i < x.branches.size(); ++i) {
    const auto& where = *plan.branches[i].where;
    out.begin_object()
      .field("branch_id", where.id)
      .field("name", where.name)
      .field("time_zone", where.time_zone);
    describe(fields, progress_of(*parts.shards[i]));
    write_section(out, fields, x.list, x.branches[i]);
    out.end_object();
  }
  out.end_array().key("total").begin_object();
  write_section(out, fields, x.list, x.total);
  out.end_object().end_object();
  return result;
}

template <class Section>
void write_records(csv_writer& out, csv_row& fields, std::string_view branch_id,
                   const Section& x) {
  for (const auto& row : x.rows) {
    out.field(branch_id);
    describe(fields, row);
    out.end_record();
  }
}

template <class Section>
std::string render_csv(const analytics_plan& plan, const sheet<Section>& x) {
  std::string result;
  csv_writer out{result};
  csv_row fields{out, plan.chain->chain()->currency};
  csv_header header{out};
  out.field("branch_id");
  describe(header, typename Section::row_type{});
  out.end_record();
  for (size_t i = 0; !plan.total_only && i < x.branches.size(); ++i)
    write_records(out, fields, plan.branches[i].where->id, x.branches[i]);
  write_records(out, fields, "*", x.total);
  return result;
}

/// Renders a sheet in the form that the plan asks for.
template <class Section, class Parameters>
rendered_answer
render(const analytics_plan& plan, const answer_parts& parts,
       const sheet<Section>& x, const Parameters& describe_parameters) {
  rendered_answer result;
  result.body = plan.csv
                  ? render_csv(plan, x)
                  : render_json(plan, parts, x, describe_parameters, true);
  if (parts.wants_version)
    // As unlikely to collide as 64 bits make it; a page that has the state of
    // another misses one change.
    result.version
      = to_hex(sha256(render_json(plan, parts, x, describe_parameters, false)))
          .substr(0, 16);
  return result;
}

} // namespace tillstream
