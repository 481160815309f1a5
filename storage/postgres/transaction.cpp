#include "storage/postgres/transaction.hpp"

#include "storage/postgres/connection.hpp"
#include "storage/postgres/pipeline.hpp"

#include <pqxx/except>

#include <cassert>

namespace tillstream::storage::postgres {

transaction::transaction(connection& on, const std::string& begin) : on_(on) {
  try {
    on_.run(begin);
  } catch (const std::exception&) {
    // What follows BEGIN may have failed.
    give_up();
    throw;
  }
}

transaction::transaction(connection& on, pipeline& first) : on_(on) {
  assert(first.size() == 0);
  first.add_sql("BEGIN");
}

transaction::~transaction() {
  if (open_)
    give_up();
}

void transaction::give_up() noexcept {
  if (!on_.in_transaction())
    return;
  try {
    on_.run("ROLLBACK");
  } catch (const std::exception&) {
    // The connection is lost, and with it the transaction.
  }
}

void transaction::commit() {
  open_ = false;
  try {
    on_.run("COMMIT");
  } catch (const std::exception& x) {
    refuse(x);
  }
}

std::vector<rows> transaction::commit(pipeline& last) {
  last.add_sql("COMMIT");
  try {
    auto result = last.run();
    open_ = false;
    return result;
  } catch (const std::exception& x) {
    // A statement before the COMMIT may have failed: then we still are inside.
    refuse(x);
  }
}

/// A server that lives on and says no has rolled back, or will. Everything else
/// leaves the outcome open.
void transaction::refuse(const std::exception& what) {
  auto sqlstate = sqlstate_of(what);
  if (!on_.broken() && !sqlstate.empty()
      && classify_sqlstate(sqlstate) != failure::broken)
    throw;
  throw pqxx::in_doubt_error(what.what());
}

void transaction::rollback() {
  open_ = false;
  on_.run("ROLLBACK");
}

} // namespace tillstream::storage::postgres
