#pragma once

#include "storage/postgres/connection.hpp"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

struct pg_result;

/// @file storage/postgres/pipeline.hpp
/// Statements that travel together (libpq's pipeline mode): one trip to the
/// server and back for all, where each would make one. Under load it is the
/// trips that a batch waits for: each is two switches between processes.

namespace tillstream::storage::postgres {

/// A row of `rows`, by column number or name. Lives as long as they do.
class row_view {
public:
  row_view(const pg_result* of, int number) : of_(of), number_(number) {
    // nop
  }

  /// @pre there is such a column
  value_view operator[](int column) const;
  value_view operator[](const char* column) const;

  bool operator==(const row_view&) const = default;

  // As an iterator of itself.
  const row_view& operator*() const {
    return *this;
  }
  row_view& operator++() {
    ++number_;
    return *this;
  }

private:
  const pg_result* of_;
  int number_;
};

/// What a statement of a pipeline returned.
class rows {
public:
  explicit rows(std::shared_ptr<pg_result> result)
    : result_(std::move(result)) {
    // nop
  }

  size_t size() const;

  /// Rows that an INSERT, UPDATE or DELETE changed.
  size_t affected_rows() const;

  row_view begin() const {
    return {result_.get(), 0};
  }
  row_view end() const {
    return {result_.get(), static_cast<int>(size())};
  }
  row_view operator[](size_t i) const {
    return {result_.get(), static_cast<int>(i)};
  }

private:
  std::shared_ptr<pg_result> result_;
};

/// Collects statements and sends them together. None may need what another of
/// them returns; each sees what those before it did.
class pipeline {
public:
  explicit pipeline(connection& on) : db_(on) {
    // nop
  }

  /// Adds a prepared statement with its arguments, as `connection::exec` takes
  /// them, without `std::optional`. @returns its place in what `run` returns.
  template <class... Ts>
  size_t add(const statement& what, const Ts&... xs) {
    db_.prepare(what);
    auto& to = calls_.emplace_back(what.name, true);
    (to.put(xs), ...);
    return calls_.size() - 1;
  }

  /// Adds one statement as it is. Never with anything in it that came from
  /// outside.
  size_t add_sql(std::string_view sql) {
    calls_.emplace_back(sql, false);
    return calls_.size() - 1;
  }

  size_t size() const {
    return calls_.size();
  }

  /// Sends all, waits for all, and is empty then.
  /// @throws what libpqxx throws for the first one that failed: those after it
  ///         were not run; inside a transaction, it has failed.
  std::vector<rows> run();

private:
  struct call {
    call(std::string_view what, bool is_prepared)
      : text(what),
        prepared(is_prepared) {
      // nop
    }

    void put(const array_param& x) {
      values.push_back(x.data());
      formats.push_back(1);
    }
    template <class T>
    requires(!std::is_base_of_v<array_param, T>) void put(const T& x) {
      values.emplace_back(to_param(x));
      formats.push_back(0);
    }

    /// SQL, or a prepared statement's name.
    std::string text;
    bool prepared;
    std::vector<std::string> values;
    /// 1: binary.
    std::vector<int> formats;
  };

  /// @returns false if libpq cannot take it.
  bool send(const call& what);

  std::vector<rows> exchange(const std::vector<call>& calls);

  connection& db_;
  std::vector<call> calls_;
};

} // namespace tillstream::storage::postgres
