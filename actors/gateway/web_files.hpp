#pragma once

#include <caf/expected.hpp>

#include <map>
#include <memory>
#include <string>
#include <string_view>

namespace tillstream {

/// A file of the dashboard as it is served.
struct web_file {
  std::string content_type;
  std::string body;
  /// The same, packed; empty where that saves nothing.
  std::string gzipped;
  /// A strong validator, quoted.
  std::string etag;
  /// The path names the content: it may be kept for ever.
  bool immutable = false;
};

/// The dashboard's files, read once into memory: what is served is what was
/// there at the start, and no path of a request ever reaches the file system.
///
/// Each file is there under its own path, to be asked for again each time, and,
/// pages excepted, under `/v-<hash of all files>/…`, to be kept for ever. In
/// pages `src` and `href` that begin with `/` lead to the latter; style sheets
/// and scripts name each other relatively and so stay within it.
class web_files {
public:
  /// Reads the regular files under `dir`; hidden ones are left out.
  /// @returns `errc::invalid` when `dir` is no directory, or holds more or
  ///          larger files than `limits` allow.
  static caf::expected<std::shared_ptr<const web_files>>
  load(const std::string& dir);

  /// @param path As requested, e.g. `/app.js`; `/` is `/index.html`.
  /// @returns the file, or null.
  const web_file* find(std::string_view path) const;

private:
  /// Adds the paths that name their content.
  void add_versions();

  std::map<std::string, web_file, std::less<>> files_;
};

using web_files_ptr = std::shared_ptr<const web_files>;

/// Where the dashboard's files lie by default: `web` beside the program or its
/// build directory, or `share/tillstream/web` of where it is installed.
/// @returns an empty string when there are none.
std::string default_web_dir();

} // namespace tillstream
