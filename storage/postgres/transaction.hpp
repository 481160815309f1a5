#pragma once

#include <exception>
#include <string>
#include <vector>

namespace tillstream::storage::postgres {

class connection;
class pipeline;
class rows;

/// A transaction. Rolls back unless committed.
class transaction {
public:
  /// @param begin May hold more statements after `BEGIN`, e.g. `SET LOCAL`.
  explicit transaction(connection& on, const std::string& begin = "BEGIN");

  /// Begins with the first of its statements. @pre `first` is empty
  transaction(connection& on, pipeline& first);

  ~transaction();

  transaction(const transaction&) = delete;
  transaction& operator=(const transaction&) = delete;

  /// @throws pqxx::in_doubt_error when the connection was lost inside COMMIT;
  ///         anything else: it was rolled back.
  void commit();

  /// Commits with the last of its statements. @returns what they returned.
  std::vector<rows> commit(pipeline& last);

  /// Gives up. Throws when the connection is broken.
  void rollback();

private:
  void give_up() noexcept;

  /// Turns the exception of a COMMIT into what it means.
  [[noreturn]] void refuse(const std::exception& what);

  connection& on_;
  bool open_ = true;
};

} // namespace tillstream::storage::postgres
