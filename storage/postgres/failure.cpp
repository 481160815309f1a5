#include "storage/postgres/failure.hpp"

#include <pqxx/except>

#include <utility>

namespace tillstream::storage::postgres {

namespace {

bool in_class(std::string_view sqlstate, std::string_view prefix) {
  return sqlstate.starts_with(prefix);
}

} // namespace

failure classify_sqlstate(std::string_view sqlstate) {
  if (in_class(sqlstate, "08") || in_class(sqlstate, "57P")
      || sqlstate == "25P03")
    return failure::broken;
  // 53200 is what a full lock table says: half a batch needs half the locks.
  if (in_class(sqlstate, "40") || sqlstate == "55P03" || sqlstate == "53200")
    return failure::contention;
  if (sqlstate == "23505")
    return failure::duplicate;
  if (in_class(sqlstate, "22") || in_class(sqlstate, "23"))
    return failure::bad_data;
  if (in_class(sqlstate, "53") || in_class(sqlstate, "58")
      || sqlstate == "57014" || sqlstate == "25006" || sqlstate == "42P01"
      || sqlstate == "42501")
    return failure::exhausted;
  return failure::bug;
}

std::string sqlstate_of(const std::exception& what) {
  // libpqxx 6 leaves the state out of these.
  if (dynamic_cast<const pqxx::insufficient_privilege*>(&what) != nullptr)
    return "42501";
  if (auto* x = dynamic_cast<const pqxx::sql_error*>(&what))
    return x->sqlstate();
  if (dynamic_cast<const pqxx::deadlock_detected*>(&what) != nullptr)
    return "40P01";
  if (dynamic_cast<const pqxx::statement_completion_unknown*>(&what) != nullptr)
    return "40003";
  if (dynamic_cast<const pqxx::transaction_rollback*>(&what) != nullptr)
    return "40001";
  return "";
}

failure classify(bool lost, const std::exception& what) {
  if (dynamic_cast<const pqxx::in_doubt_error*>(&what) != nullptr)
    return failure::in_doubt;
  if (lost || dynamic_cast<const pqxx::broken_connection*>(&what) != nullptr)
    return failure::broken;
  auto sqlstate = sqlstate_of(what);
  // Shares its state with a row that breaks a rule of its table.
  if (sqlstate == "23514"
      && std::string_view{what.what()}.find("no partition of relation")
           != std::string_view::npos)
    return failure::exhausted;
  return classify_sqlstate(sqlstate);
}

caf::error to_error(failure why, const std::exception& what) {
  std::string text = what.what();
  while (!text.empty() && (text.back() == '\n' || text.back() == ' '))
    text.pop_back();
  switch (why) {
    case failure::in_doubt:
      return caf::make_error(errc::in_doubt, std::move(text));
    case failure::broken:
    case failure::contention:
    case failure::exhausted:
      return caf::make_error(errc::unavailable, std::move(text));
    case failure::duplicate:
    case failure::bad_data:
    case failure::bug:
      break;
  }
  return caf::make_error(errc::internal, std::move(text));
}

} // namespace tillstream::storage::postgres
