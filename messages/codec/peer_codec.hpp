#pragma once

#include "messages/core/error.hpp"
#include "messages/model/peer.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

/// @file messages/codec/peer_codec.hpp
/// What nodes say to each other, as JSON. Whatever comes in is checked: another
/// version, a broken document, a number out of range or too many of anything
/// are refused, never guessed at.
///
/// Version: `v` is in every document. Members that a reader does not know are
/// skipped; a change that an older reader would misunderstand takes the next
/// version. A node answers another version with the error `version`, and who
/// asked reads the tables instead: two versions may run side by side.

namespace tillstream {

constexpr int peer_version = 1;

/// Renders a query; well below `limits::peer_message_bytes_max`.
std::string to_json(const peer_query& x);

/// Reads a query.
/// @returns empty when `out` is whole, else what is wrong; `peer_wrong_version`
///          for a document of another version.
std::string read_peer_query(std::string_view bytes, peer_query& out);

extern const std::string peer_wrong_version;

/// Renders an answer, in documents of about `limits::peer_message_part_bytes`
/// each, to be sent in this order. A branch may be spread over several.
std::vector<std::string> to_json(const peer_answer& x);

/// Renders the answer to a query that can't be dealt with at all.
std::string peer_refusal(errc why);

/// Puts the documents of an answer together.
class peer_answer_reader {
public:
  peer_answer_reader();
  ~peer_answer_reader();
  peer_answer_reader(peer_answer_reader&&) noexcept;
  peer_answer_reader& operator=(peer_answer_reader&&) noexcept;

  /// Takes the next document.
  /// @returns empty, or what is wrong; then the whole answer is void.
  std::string take(std::string_view bytes);

  /// Whether the last document came.
  bool complete() const;

  /// Set when the other node refused the query as a whole.
  errc refused() const;

  /// @pre `complete()` and not refused; once
  peer_answer finish();

private:
  struct impl;
  std::unique_ptr<impl> impl_;
};

/// Renders notices; several documents when they are more than
/// `limits::peer_notices_max`.
std::vector<std::string>
to_json(const std::string& node, const std::vector<commit_notice>& notices);

/// @returns empty when `out` is whole, else what is wrong.
std::string read_peer_notices(std::string_view bytes, peer_notices& out);

} // namespace tillstream
