#pragma once

#include <string>

namespace tillstream::test {

/// A directory below `TMPDIR` or `/tmp`, removed with all that is in it.
class temporary_directory {
public:
  /// @param mode 0711 lets the user of private servers pass through.
  explicit temporary_directory(unsigned mode = 0711);
  temporary_directory(const temporary_directory&) = delete;
  temporary_directory& operator=(const temporary_directory&) = delete;
  ~temporary_directory();

  const std::string& path() const {
    return path_;
  }

  std::string file(const std::string& name) const {
    return path_ + "/" + name;
  }

private:
  std::string path_;
};

} // namespace tillstream::test
