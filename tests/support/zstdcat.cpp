#include "tests/support/zstdcat.hpp"

#include <cstdio>
#include <stdexcept>

namespace tillstream::test {

std::string zstdcat(const std::string& path) {
  auto* pipe = popen(("zstdcat -- '" + path + "'").c_str(), "r");
  if (pipe == nullptr)
    throw std::runtime_error("cannot run zstdcat");
  std::string result;
  char buffer[4096];
  while (auto count = fread(buffer, 1, sizeof(buffer), pipe))
    result.append(buffer, count);
  if (pclose(pipe) != 0)
    throw std::runtime_error("zstdcat fails on " + path);
  return result;
}

} // namespace tillstream::test
