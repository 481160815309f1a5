#pragma once

#include <pqxx/version>

#if PQXX_VERSION_MAJOR < 7
#include <pqxx/binarystring>
#endif
#include <pqxx/connection>
#include <pqxx/nontransaction>
#include <pqxx/result>

#include <optional>
#include <string>
#include <utility>

struct pg_conn;

/// @file storage/postgres/pqxx_compat.hpp
/// The only place that knows which libpqxx it is: 6 or 7. Both halves define
/// the same names.

namespace tillstream::storage::postgres {

/// Connects with libpq. @throws pqxx::broken_connection
pg_conn* open_raw_connection(const std::string& dsn);

#if PQXX_VERSION_MAJOR >= 7

/// A connection of libpqxx, and what it is to libpq.
class pqxx_connection {
public:
  explicit pqxx_connection(const std::string& dsn)
    : raw_(open_raw_connection(dsn)),
      native_(pqxx::connection::seize_raw_connection(raw_)) {
    // nop
  }

  pqxx::connection& native() {
    return native_;
  }

  /// libpq's, for what libpqxx does not offer. Usable while it is open.
  pg_conn* raw() const {
    return raw_;
  }

  bool is_open() const {
    return native_.is_open();
  }

  void prepare(const char* name, const char* sql) {
    native_.prepare(name, sql);
  }

private:
  pg_conn* raw_;
  pqxx::connection native_;
};

/// Runs a prepared statement.
template <class... Ts>
pqxx::result
exec_prepared(pqxx::nontransaction& tx, const char* name, const Ts&... xs) {
  return tx.exec(pqxx::prepped{name}, pqxx::params{xs...});
}

/// A parameter in binary form, a view of `bytes`.
inline auto binary_param(const std::string& bytes) {
  return pqxx::binary_cast(bytes);
}

/// A parameter that may be NULL.
inline auto nullable_param(std::optional<std::string> x) {
  return x;
}

#else

/// Connects as always, and keeps what it got.
class raw_connection_policy : public pqxx::connect_direct {
public:
  using pqxx::connect_direct::connect_direct;

  handle do_startconnect(handle before) override {
    last = pqxx::connect_direct::do_startconnect(before);
    return last;
  }

  /// What this thread's last connection is to libpq. (The policy's object is
  /// out of reach inside of the connection.)
  static inline thread_local handle last;
};

class pqxx_connection {
public:
  explicit pqxx_connection(const std::string& dsn)
    : native_(dsn),
      raw_(raw_connection_policy::last) {
    // libpqxx 6 connects again in silence, and with that loses our settings and
    // an open transaction. Deprecated, as libpqxx 7 has no such trap.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
    native_.inhibit_reactivation(true);
#pragma GCC diagnostic pop
  }

  auto& native() {
    return native_;
  }

  pg_conn* raw() const {
    return raw_;
  }

  bool is_open() const {
    return native_.is_open();
  }

  void prepare(const char* name, const char* sql) {
    native_.prepare(name, sql);
    // libpqxx 6 only notices it until the first `exec_prepared`.
    native_.prepare_now(name);
  }

private:
  pqxx::basic_connection_base<raw_connection_policy> native_;
  pg_conn* raw_;
};

template <class... Ts>
pqxx::result
exec_prepared(pqxx::nontransaction& tx, const char* name, const Ts&... xs) {
  return tx.exec_prepared(name, xs...);
}

inline auto binary_param(const std::string& bytes) {
  return pqxx::binarystring{bytes.data(), bytes.size()};
}

/// libpqxx 6 knows no `std::optional`.
struct nullable_text {
  std::string value;
  bool null;
};

inline auto nullable_param(std::optional<std::string> x) {
  return nullable_text{x ? std::move(*x) : std::string{}, !x};
}

#endif

} // namespace tillstream::storage::postgres

#if PQXX_VERSION_MAJOR < 7
template <>
struct pqxx::string_traits<tillstream::storage::postgres::nullable_text> {
  using type = tillstream::storage::postgres::nullable_text;
  static bool is_null(const type& x) {
    return x.null;
  }
  static std::string to_string(const type& x) {
    return x.value;
  }
};
#endif
