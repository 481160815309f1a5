#include "storage/servers/server_directory.hpp"

#include "messages/core/error.hpp"

#include <fmt/format.h>

#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <thread>
#include <utility>

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

namespace fs = std::filesystem;

namespace tillstream::storage {

namespace {

using namespace std::chrono_literals;

/// Where servers live whose user cannot get to the data directory.
constexpr const char* instances_root = "/var/lib/tillstream/instances";

/// A predecessor that was killed a moment ago may not be gone yet.
constexpr auto lock_timeout = 500ms;

/// A log beyond this is put aside at the next start; so two such files are all
/// that a directory keeps.
constexpr off_t log_bytes_max = off_t{16} << 20;

/// Enough of a log to hold the reason, little enough to read.
constexpr size_t tail_bytes = 2000;

/// Below the range that Linux gives to outgoing connections (32768), so that a
/// remembered port is rarely taken while we are away.
constexpr uint16_t port_min = 15000;
constexpr uint16_t port_count = 15000;
constexpr int port_attempts_max = 200;

caf::error system_error(const std::string& what) {
  auto reason = std::strerror(errno);
  return caf::make_error(errc::unavailable,
                         fmt::format("{}: {}", what, reason));
}

/// A file descriptor that closes itself.
class descriptor {
public:
  explicit descriptor(int fd) : fd_(fd) {
    // nop
  }
  descriptor(const descriptor&) = delete;
  descriptor& operator=(const descriptor&) = delete;
  ~descriptor() {
    if (fd_ >= 0)
      close(fd_);
  }
  int get() const {
    return fd_;
  }
  int release() {
    return std::exchange(fd_, -1);
  }

private:
  int fd_;
};

std::optional<std::string> read_file(const std::string& path, size_t tail) {
  // O_NONBLOCK: a pipe in the place of a file must not make us wait.
  descriptor fd{
    open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)};
  if (fd.get() < 0)
    return std::nullopt;
  if (tail > 0 && lseek(fd.get(), -static_cast<off_t>(tail), SEEK_END) < 0)
    lseek(fd.get(), 0, SEEK_SET);
  std::string result;
  char buffer[4096];
  for (;;) {
    auto count = ::read(fd.get(), buffer, sizeof(buffer));
    if (count <= 0)
      return result;
    result.append(buffer, static_cast<size_t>(count));
  }
}

bool write_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    auto count = ::write(fd, bytes.data(), bytes.size());
    if (count < 0 && errno != EINTR)
      return false;
    if (count > 0)
      bytes.remove_prefix(static_cast<size_t>(count));
  }
  return true;
}

// -- the lock -----------------------------------------------------------------

caf::error already_owned(const std::string& data_dir, const std::string& path) {
  auto owner = read_file(path, 0).value_or("");
  while (!owner.empty() && owner.back() == '\n')
    owner.pop_back();
  return caf::make_error(
    errc::invalid, fmt::format("{} is in use by a running tillstream (process "
                               "{}); stop that one first, or choose another "
                               "directory",
                               data_dir, owner.empty() ? "unknown" : owner));
}

caf::expected<int> take_lock(const std::string& data_dir) {
  auto path = data_dir + "/lock";
  descriptor fd{
    open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600)};
  if (fd.get() < 0)
    return system_error(fmt::format("cannot open {}", path));
  auto deadline = std::chrono::steady_clock::now() + lock_timeout;
  while (flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK && errno != EINTR)
      return system_error(fmt::format("cannot lock {}", path));
    if (std::chrono::steady_clock::now() >= deadline)
      return already_owned(data_dir, path);
    std::this_thread::sleep_for(10ms);
  }
  if (ftruncate(fd.get(), 0) != 0
      || !write_all(fd.get(), fmt::format("{}\n", getpid())))
    return system_error(fmt::format("cannot write {}", path));
  return fd.release();
}

// -- the account --------------------------------------------------------------

/// Whoever owns data that exists goes on owning it.
std::optional<server_user> owner_of_data(const std::string& servers) {
  struct stat info {};
  for (const char* name : {"/postgres", "/nats"})
    if (stat((servers + name).c_str(), &info) == 0 && info.st_uid != 0)
      return user_of(info.st_uid, info.st_gid);
  return std::nullopt;
}

caf::expected<std::optional<server_user>>
choose_user(const std::string& servers) {
  using result = std::optional<server_user>;
  if (geteuid() != 0)
    return result{};
  if (auto owner = owner_of_data(servers))
    return result{std::move(owner)};
  if (const char* name = std::getenv("TILLSTREAM_SERVER_USER")) {
    auto user = find_user(name);
    if (!user || user->uid == 0)
      return caf::make_error(
        errc::invalid, fmt::format("TILLSTREAM_SERVER_USER={}: {}", name,
                                   user ? "PostgreSQL refuses to run as root"
                                        : "no such user"));
    return result{std::move(user)};
  }
  for (const char* name : {"postgres", "nobody"})
    if (auto user = find_user(name))
      return result{std::move(user)};
  return caf::make_error(errc::invalid,
                         "there is neither a user postgres nor nobody; set "
                         "TILLSTREAM_SERVER_USER");
}

// -- the place ----------------------------------------------------------------

/// Others may pass through, and see nothing; what is inside has its own modes.
constexpr mode_t passage = 0711;

caf::expected<void> make_dir(const std::string& path, mode_t mode) {
  if (mkdir(path.c_str(), mode) == 0) {
    chmod(path.c_str(), mode);
    return {};
  }
  struct stat info {};
  if (errno == EEXIST && stat(path.c_str(), &info) == 0
      && S_ISDIR(info.st_mode))
    return {};
  return system_error(fmt::format("cannot create {}", path));
}

caf::expected<void> make_data_dir(const std::string& path, mode_t mode) {
  std::error_code ec;
  auto parent = fs::path{path}.parent_path();
  if (!parent.empty())
    fs::create_directories(parent, ec);
  return make_dir(path, mode);
}

/// Makes a directory that the server user can reach, and links to it.
caf::expected<void> make_instance(const std::string& link) {
  auto target = fmt::format("{}/{}", instances_root, random_hex(8));
  auto root = fs::path{instances_root};
  for (const auto& path : {root.parent_path().string(), root.string(), target})
    if (auto made = make_dir(path, passage); !made)
      return made;
  if (symlink(target.c_str(), link.c_str()) != 0)
    return system_error(fmt::format("cannot create {}", link));
  return {};
}

caf::error no_entry(const server_user& user, const std::string& servers) {
  return caf::make_error(
    errc::invalid,
    fmt::format("user {} cannot enter {}; let others pass through the "
                "directories above it (chmod o+x), or set "
                "TILLSTREAM_SERVER_USER",
                user.name, servers));
}

caf::expected<void>
prepare_for(const server_user& user, const std::string& servers) {
  struct stat info {};
  if (lstat(servers.c_str(), &info) == 0) {
    // A link of someone else could send our files anywhere.
    if (info.st_uid == geteuid())
      return {};
    return caf::make_error(errc::invalid,
                           fmt::format("{} belongs to another user", servers));
  }
  if (auto made = make_dir(servers, passage); !made)
    return made;
  if (can_enter(user, servers))
    return {};
  rmdir(servers.c_str());
  return make_instance(servers);
}

} // namespace

caf::expected<server_directory>
server_directory::open(const std::string& data_dir) {
  for (unsigned char c : data_dir)
    if (c < 0x20 || c == 0x7f)
      return caf::make_error(errc::invalid,
                             "a data directory's name must not hold control "
                             "characters");
  std::error_code ec;
  auto root = fs::absolute(data_dir, ec).lexically_normal().string();
  if (root.size() > 1 && root.back() == '/')
    root.pop_back();
  if (auto made = make_data_dir(root, geteuid() == 0 ? passage : 0700); !made)
    return made.error();
  server_directory result;
  auto lock = take_lock(root);
  if (!lock)
    return lock.error();
  result.lock_ = *lock;
  auto servers = root + "/servers";
  auto user = choose_user(servers);
  if (!user)
    return user.error();
  result.user_ = std::move(*user);
  auto ready = result.user_ ? prepare_for(*result.user_, servers)
                            : make_dir(servers, 0700);
  if (!ready)
    return ready.error();
  result.path_ = fs::canonical(servers, ec).string();
  if (ec)
    return caf::make_error(errc::unavailable,
                           fmt::format("{}: {}", servers, ec.message()));
  if (result.user_ && !can_enter(*result.user_, result.path_))
    return no_entry(*result.user_, result.path_);
  return result;
}

server_directory::server_directory(server_directory&& other) noexcept
  : path_(std::move(other.path_)),
    user_(std::move(other.user_)),
    lock_(std::exchange(other.lock_, -1)) {
  // nop
}

server_directory::~server_directory() {
  if (lock_ >= 0)
    close(lock_);
}

caf::expected<void>
server_directory::make_server_dir(const std::string& name) const {
  auto path = file(name);
  if (auto made = make_dir(path, 0700); !made)
    return made;
  if (user_ && lchown(path.c_str(), user_->uid, user_->gid) != 0)
    return system_error(fmt::format("cannot hand over {}", path));
  return {};
}

caf::expected<void>
server_directory::write(const std::string& name, const std::string& content,
                        bool for_server) const {
  auto path = file(name);
  auto temporary = path + ".new";
  unlink(temporary.c_str());
  descriptor fd{::open(temporary.c_str(),
                       O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW,
                       0600)};
  bool owned = fd.get() >= 0
               && (!for_server || !user_
                   || fchown(fd.get(), user_->uid, user_->gid) == 0);
  if (!owned || !write_all(fd.get(), content) || fsync(fd.get()) != 0
      || rename(temporary.c_str(), path.c_str()) != 0)
    return system_error(fmt::format("cannot write {}", path));
  return {};
}

std::optional<std::string>
server_directory::read(const std::string& name) const {
  return read_file(file(name), 0);
}

caf::expected<int> server_directory::open_log(const std::string& name) const {
  auto path = file(name);
  struct stat info {};
  if (lstat(path.c_str(), &info) == 0 && info.st_size > log_bytes_max)
    rename(path.c_str(), (path + ".1").c_str());
  auto fd = ::open(
    path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0)
    return system_error(fmt::format("cannot open {}", path));
  return fd;
}

std::string server_directory::log_tail(const std::string& name) const {
  auto result = read_file(file(name), tail_bytes).value_or("");
  while (!result.empty() && result.back() == '\n')
    result.pop_back();
  return fmt::format("the end of {}:\n{}", file(name), result);
}

caf::expected<std::string>
server_directory::keep_random(const std::string& name, size_t bytes) const {
  if (auto known = read(name); known && !known->empty())
    return std::move(*known);
  auto result = random_hex(bytes);
  if (auto written = write(name, result, false); !written)
    return written.error();
  return result;
}

caf::expected<uint16_t>
server_directory::choose_port(const std::string& name) const {
  uint16_t port = 0;
  if (auto text = read(name))
    std::from_chars(text->data(), text->data() + text->size(), port);
  for (int attempt = 0; attempt < port_attempts_max; ++attempt) {
    if (port != 0 && port_is_free(port)) {
      if (auto done = write(name, fmt::format("{}\n", port), false); !done)
        return done.error();
      return port;
    }
    uint16_t random = 0;
    if (getrandom(&random, sizeof(random), 0) < 0)
      break;
    port = static_cast<uint16_t>(port_min + random % port_count);
  }
  return caf::make_error(errc::unavailable, "no free loopback port found");
}

bool port_is_free(uint16_t port) {
  descriptor fd{socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  if (fd.get() < 0)
    return false;
  // As servers do: connections that linger in TIME_WAIT are no obstacle.
  int yes = 1;
  setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address))
           == 0
         && listen(fd.get(), 1) == 0;
}

std::string random_hex(size_t bytes) {
  std::string result;
  for (size_t i = 0; i < bytes; ++i) {
    unsigned char byte = 0;
    // The kernel's pool never runs dry; only a signal may interrupt.
    while (getrandom(&byte, 1, 0) != 1)
      continue;
    result += fmt::format("{:02x}", byte);
  }
  return result;
}

} // namespace tillstream::storage
