#pragma once

#include "messages/error.hpp"
#include "messages/fwd.hpp"
#include "messages/questions.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

/// @file messages/peer.hpp
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

/// A question from one node to another, for all branches of it at once.
struct peer_question {
  enum class kind : uint8_t {
    /// Each branch's part of a question of the dashboard.
    ask,
    /// Whether one of the branches has the event; waits for it.
    after,
  };

  kind what = kind::ask;
  /// After this the answer is of no use.
  std::chrono::milliseconds patience{0};
  std::vector<std::string> branches;
  /// `ask`: one for each of `branches`; many of them the same one.
  std::vector<shard_question_ptr> questions;
  /// `after`
  uuid event_id;
};

/// One branch's part.
struct peer_part {
  /// `none`: there is an answer.
  errc error = errc::none;
  shard_answer_ptr answer;
};

struct peer_answer {
  /// `ask`: by branch. Those that are missing were not answered.
  std::map<std::string, peer_part> parts;
  /// `after`
  bool applied = false;
};

/// Renders a question; well below `limits::peer_message_bytes_max`.
std::string to_json(const peer_question& x);

/// Reads a question.
/// @returns empty when `out` is whole, else what is wrong; `peer_wrong_version`
///          for a document of another version.
std::string read_peer_question(std::string_view bytes, peer_question& out);

extern const std::string peer_wrong_version;

/// Renders an answer, in documents of about `limits::peer_chunk_bytes` each,
/// to be sent in this order. A branch may be spread over several.
std::vector<std::string> to_json(const peer_answer& x);

/// Renders the answer to a question that can't be dealt with at all.
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

  /// Set when the other node refused the question as a whole.
  errc refused() const;

  /// @pre `complete()` and not refused; once
  peer_answer finish();

private:
  struct impl;
  std::unique_ptr<impl> impl_;
};

/// What a commit told: one document for all of its events, without payload.
struct peer_notes {
  /// Who committed.
  std::string node;
  std::vector<outbox_note> notes;
};

/// Renders notes; several documents when they are more than
/// `limits::peer_notes_max`.
std::vector<std::string>
to_json(const std::string& node, const std::vector<outbox_note>& notes);

/// @returns empty when `out` is whole, else what is wrong.
std::string read_peer_notes(std::string_view bytes, peer_notes& out);

} // namespace tillstream
