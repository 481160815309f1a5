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
  /// A strong validator, quoted.
  std::string etag;
};

/// The dashboard's files, read once into memory: what is served is what was
/// there at the start, and no path of a request ever reaches the file system.
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
  std::map<std::string, web_file, std::less<>> files_;
};

using web_files_ptr = std::shared_ptr<const web_files>;

} // namespace tillstream
