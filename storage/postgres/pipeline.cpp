#include "storage/postgres/pipeline.hpp"

#include <libpq-fe.h>

#include <pqxx/except>

#include <cassert>
#include <charconv>
#include <optional>
#include <utility>

namespace tillstream::storage::postgres {

namespace {

using result_ptr = std::shared_ptr<pg_result>;

result_ptr next_result(PGconn* from) {
  return {PQgetResult(from), PQclear};
}

/// The first error of a pipeline.
struct refusal {
  std::string reason;
  std::string sql;
  std::string sqlstate;
};

refusal read_refusal(const PGresult* from, const std::string& sql) {
  const char* state = PQresultErrorField(from, PG_DIAG_SQLSTATE);
  return {PQresultErrorMessage(from), sql, state != nullptr ? state : ""};
}

bool succeeded(const PGresult* x) {
  auto status = PQresultStatus(x);
  return status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK;
}

} // namespace

// -- rows ---------------------------------------------------------------------

value_view row_view::operator[](int column) const {
  assert(column >= 0 && column < PQnfields(of_));
  return {PQgetvalue(of_, number_, column),
          static_cast<size_t>(PQgetlength(of_, number_, column)),
          PQgetisnull(of_, number_, column) != 0, PQfname(of_, column)};
}

value_view row_view::operator[](const char* column) const {
  return (*this)[PQfnumber(of_, column)];
}

size_t rows::size() const {
  return static_cast<size_t>(PQntuples(result_.get()));
}

size_t rows::affected_rows() const {
  std::string_view text = PQcmdTuples(result_.get());
  size_t result = 0;
  std::from_chars(text.data(), text.data() + text.size(), result);
  return result;
}

// -- pipeline -----------------------------------------------------------------

bool pipeline::send(const call& what) {
  auto count = static_cast<int>(what.values.size());
  std::vector<const char*> values;
  std::vector<int> lengths;
  for (const auto& x : what.values) {
    values.push_back(x.data());
    lengths.push_back(static_cast<int>(x.size()));
  }
  auto* to = db_.pqxx_.raw();
  auto sent
    = what.prepared
        ? PQsendQueryPrepared(to, what.text.c_str(), count, values.data(),
                              lengths.data(), what.formats.data(), 0)
        : PQsendQueryParams(to, what.text.c_str(), count, nullptr,
                            values.data(), lengths.data(), what.formats.data(),
                            0);
  return sent == 1;
}

std::vector<rows> pipeline::run() {
  auto calls = std::exchange(calls_, {});
  db_.renew_plans();
  return db_.bounded([&] { return exchange(calls); });
}

std::vector<rows> pipeline::exchange(const std::vector<call>& calls) {
  auto* on = db_.pqxx_.raw();
  if (db_.broken() || PQenterPipelineMode(on) != 1)
    throw pqxx::broken_connection("the connection cannot be used");
  size_t sent = 0;
  while (sent < calls.size() && send(calls[sent]))
    ++sent;
  std::optional<refusal> refused;
  if (sent < calls.size())
    refused = refusal{PQerrorMessage(on), calls[sent].text, ""};
  std::vector<rows> result;
  if (PQpipelineSync(on) == 1) {
    for (size_t i = 0; i < sent; ++i) {
      auto got = next_result(on);
      if (got && !refused && !succeeded(got.get()))
        refused = read_refusal(got.get(), calls[i].text);
      result.emplace_back(std::move(got));
      // Its end.
      next_result(on);
    }
    next_result(on);
  }
  if (PQexitPipelineMode(on) != 1 || db_.broken())
    throw pqxx::broken_connection(refused ? refused->reason
                                          : PQerrorMessage(on));
  if (refused)
    throw pqxx::sql_error(refused->reason, refused->sql,
                          refused->sqlstate.c_str());
  return result;
}

} // namespace tillstream::storage::postgres
