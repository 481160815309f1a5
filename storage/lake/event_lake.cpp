#include "storage/lake/event_lake.hpp"

#include "messages/core/error.hpp"

#include <fmt/format.h>
#include <zstd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <memory>
#include <utility>

#include <fcntl.h>
#include <unistd.h>

namespace fs = std::filesystem;

namespace tillstream::storage {

namespace {

/// Fixed, as another level gives other bytes. Files are written once and kept
/// for years, so a little above zstd's default.
constexpr int compression_level = 6;

caf::error system_error(const std::string& what, int code) {
  return caf::make_error(errc::unavailable,
                         fmt::format("{}: {}", what, std::strerror(code)));
}

/// A branch id, which becomes a directory's name.
bool is_branch_id(std::string_view text) {
  auto plain = [](unsigned char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')
           || (c >= '0' && c <= '9') || c == '_' || c == '-';
  };
  return !text.empty() && text.size() <= 64
         && std::all_of(text.begin(), text.end(), plain);
}

std::string join_lines(const std::vector<std::string>& events) {
  size_t size = 0;
  for (const auto& x : events)
    size += x.size() + 1;
  std::string result;
  result.reserve(size);
  for (const auto& x : events) {
    result += x;
    result += '\n';
  }
  return result;
}

caf::expected<std::string> compress(const std::string& text) {
  std::unique_ptr<ZSTD_CCtx, decltype(&ZSTD_freeCCtx)> context{
    ZSTD_createCCtx(), ZSTD_freeCCtx};
  if (context == nullptr)
    return caf::make_error(errc::unavailable, "zstd: out of memory");
  ZSTD_CCtx_setParameter(context.get(), ZSTD_c_compressionLevel,
                         compression_level);
  // So that whoever reads the file later notices a flipped bit.
  ZSTD_CCtx_setParameter(context.get(), ZSTD_c_checksumFlag, 1);
  std::string result(ZSTD_compressBound(text.size()), '\0');
  auto size = ZSTD_compress2(context.get(), result.data(), result.size(),
                             text.data(), text.size());
  if (ZSTD_isError(size) != 0)
    return caf::make_error(errc::internal,
                           fmt::format("zstd: {}", ZSTD_getErrorName(size)));
  result.resize(size);
  return result;
}

/// @returns 0, or an `errno`.
int write_and_flush(const std::string& path, std::string_view bytes) {
  auto fd = open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
  if (fd < 0)
    return errno;
  int result = 0;
  while (result == 0 && !bytes.empty()) {
    auto count = ::write(fd, bytes.data(), bytes.size());
    if (count > 0)
      bytes.remove_prefix(static_cast<size_t>(count));
    else if (errno != EINTR)
      result = errno;
  }
  if (result == 0 && fsync(fd) != 0)
    result = errno;
  if (close(fd) != 0 && result == 0)
    result = errno;
  return result;
}

int flush_directory(const std::string& path) {
  auto fd = open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0)
    return errno;
  auto result = fsync(fd) == 0 ? 0 : errno;
  close(fd);
  return result;
}

/// Creates what is missing of a directory, and flushes each parent.
int make_directories(const fs::path& path) {
  std::error_code ec;
  if (path.empty() || fs::is_directory(path, ec))
    return 0;
  auto parent = path.parent_path();
  if (auto failed = make_directories(parent); failed != 0)
    return failed;
  fs::create_directory(path, ec);
  if (ec)
    return ec.value();
  return flush_directory(parent.empty() ? "." : parent.string());
}

int replace_file(const std::string& directory, const std::string& path,
                 std::string_view bytes) {
  // The hidden name keeps `*.zst` free of files that are not whole.
  auto temporary
    = fmt::format("{}/.{}.part", directory, fs::path{path}.filename().string());
  auto failed = write_and_flush(temporary, bytes);
  if (failed == 0 && rename(temporary.c_str(), path.c_str()) != 0)
    failed = errno;
  if (failed != 0) {
    unlink(temporary.c_str());
    return failed;
  }
  return flush_directory(directory);
}

} // namespace

event_lake::event_lake(std::string directory)
  : directory_(std::move(directory)) {
  // nop
}

caf::expected<void> event_lake::prepare() {
  auto failed = make_directories(directory_);
  if (failed == 0 && access(directory_.c_str(), W_OK | X_OK) != 0)
    failed = errno;
  if (failed != 0)
    return system_error(fmt::format("cannot write to {}", directory_), failed);
  return caf::unit;
}

caf::expected<std::string>
event_lake::write(std::string_view branch_id, calendar_day day, int64_t from_no,
                  int64_t to_no, const std::vector<std::string>& events) {
  if (!is_branch_id(branch_id) || from_no < 0 || to_no < from_no)
    return caf::make_error(errc::invalid, "not a segment of the lake");
  auto bytes = compress(join_lines(events));
  if (!bytes)
    return bytes.error();
  auto directory
    = fmt::format("{}/branch={}/day={}", directory_, branch_id, to_string(day));
  auto path
    = fmt::format("{}/{:012}-{:012}.ndjson.zst", directory, from_no, to_no);
  auto failed = make_directories(directory);
  if (failed == 0)
    failed = replace_file(directory, path, *bytes);
  if (failed != 0)
    return system_error(fmt::format("cannot write {}", path), failed);
  return path;
}

} // namespace tillstream::storage
