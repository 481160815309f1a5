#include "tests/support/temporary_directory.hpp"

#include <cstdlib>
#include <filesystem>
#include <stdexcept>

#include <sys/stat.h>

namespace tillstream::test {

temporary_directory::temporary_directory(unsigned mode) {
  const char* base = std::getenv("TMPDIR");
  path_
    = std::string{base != nullptr ? base : "/tmp"} + "/tillstream-test-XXXXXX";
  if (mkdtemp(path_.data()) == nullptr || chmod(path_.c_str(), mode) != 0)
    throw std::runtime_error{"cannot create " + path_};
}

temporary_directory::~temporary_directory() {
  std::error_code ec;
  std::filesystem::remove_all(path_, ec);
}

} // namespace tillstream::test
