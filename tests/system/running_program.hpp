#pragma once

#include "actors/commands/endpoints.hpp"
#include "actors/http/client.hpp"
#include "messages/codec/json.hpp"
#include "tests/support/eventually.hpp"
#include "tests/support/temporary_directory.hpp"

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <sys/types.h>
#include <vector>

/// @file tests/system/running_program.hpp
/// The real program as a child process, seen from outside only.

namespace tillstream::test {

/// What a finished command said.
struct command_result {
  /// Exit code; 128 + signal when a signal ended it.
  int code = -1;
  std::string output;
  std::string errors;
};

/// Runs `tillstream WORDS…` to its end, at most `timeout`.
command_result
run_command(const std::vector<std::string>& words,
            std::chrono::seconds timeout = std::chrono::seconds{120},
            const std::vector<std::string>& environment = {});

/// An answer with its body understood as JSON.
struct answer {
  int status = 0;
  header_list headers;
  std::string body;

  /// The header's value (any case), or an empty string.
  std::string header(const std::string& name) const;

  /// The text of a member at a path such as `total.revenue` or
  /// `branches.0.purchases`: a string's or number's text, `true`, `false`,
  /// `null`, or `(none)`.
  std::string at(const std::string& path) const;
};

/// One `tillstream up` (or `serve`) child.
class running_program {
public:
  /// Starts `tillstream WORDS…` and waits until it listens.
  /// @param dir Its `--data-dir`, where `endpoints.json` appears.
  running_program(std::vector<std::string> words, std::string dir,
                  std::vector<std::string> environment = {});

  /// Starts `up` on `dir` on a free port.
  static std::unique_ptr<running_program>
  up(const std::string& dir, std::vector<std::string> more = {},
     std::vector<std::string> environment = {});

  /// Stops it hard if it still runs.
  ~running_program();

  running_program(const running_program&) = delete;
  running_program& operator=(const running_program&) = delete;

  pid_t pid() const {
    return pid_;
  }

  const commands::endpoints& where() const {
    return where_;
  }

  /// Standard output and errors so far.
  std::string output() const;

  void signal(int number);

  /// Waits for its end. @returns exit code, 128 + signal, or nothing when it
  /// still runs after `timeout`.
  std::optional<int>
  wait(std::chrono::seconds timeout = std::chrono::seconds{30});

  /// SIGTERM and wait.
  std::optional<int> stop();

  answer get(const std::string& target, const std::string& key,
             header_list headers = {});
  /// GET with the owner's key.
  answer ask(const std::string& target, header_list headers = {});
  answer post(const std::string& branch_id, const std::string& body,
              header_list headers = {});
  answer request(const std::string& method, const std::string& target,
                 header_list headers, const std::string& body = {});

  std::string host() const;
  uint16_t port() const;

private:
  pid_t pid_ = -1;
  std::optional<int> ended_;
  std::string dir_;
  std::string output_path_;
  commands::endpoints where_;
};

/// A body for `POST /purchases`; members can be replaced before rendering.
struct sale {
  std::string branch_id = "branch-1";
  std::string pos_id = "pos-1";
  std::string cashier_id = "anna";
  /// Empty: a fresh one.
  std::string receipt_id;
  std::string idempotency_key;
  std::string user_id;
  bool new_customer = false;
  std::string occurred_at;
  struct line {
    std::string product_id;
    std::string unit_price;
    std::string name;
  };
  std::vector<line> items{{"espresso", "2.50", "Espresso"}};

  /// Fills `receipt_id` and `idempotency_key` when empty.
  std::string body();
};

/// A counter or gauge out of `/metrics`, summed over its labels.
/// @returns 0 when there is none of that name.
double metric(running_program& program, const std::string& name);

/// A random UUIDv4 as text.
std::string random_uuid();

} // namespace tillstream::test
