#include "storage/postgres/pqxx_compat.hpp"

#include <libpq-fe.h>

#include <pqxx/except>

namespace tillstream::storage::postgres {

pg_conn* open_raw_connection(const std::string& dsn) {
  auto* result = PQconnectdb(dsn.c_str());
  if (result != nullptr && PQstatus(result) == CONNECTION_OK)
    return result;
  std::string reason = result != nullptr ? PQerrorMessage(result) : "no memory";
  PQfinish(result);
  throw pqxx::broken_connection(reason);
}

} // namespace tillstream::storage::postgres
