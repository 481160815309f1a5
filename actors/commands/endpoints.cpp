#include "actors/commands/endpoints.hpp"

#include "messages/codec/json.hpp"
#include "messages/core/error.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>

namespace tillstream::commands {

namespace {

std::string path_of(const std::string& dir) {
  return dir + "/endpoints.json";
}

std::string text_of(const json_value* value) {
  return value != nullptr && value->is(json_value::kind::string)
           ? std::string{value->text}
           : std::string{};
}

std::string render(const endpoints& x) {
  std::string out;
  json_writer json{out};
  json.begin_object()
    .field("http", x.http)
    .field("oltp_dsn", x.oltp_dsn)
    .field("analytics_dsn", x.analytics_dsn)
    .field("nats_url", x.nats_url)
    .key("keys")
    .begin_object()
    .field("owner", x.owner_key)
    .field("operator", x.operator_key)
    .key("tills")
    .begin_object();
  for (const auto& [branch, secret] : x.till_keys)
    json.field(branch, secret);
  json.end_object().end_object().end_object();
  return out + "\n";
}

caf::error system_error(const std::string& what) {
  return caf::make_error(errc::unavailable, what + ": " + std::strerror(errno));
}

} // namespace

caf::expected<endpoints> read_endpoints(const std::string& dir) {
  std::ifstream in{path_of(dir)};
  if (!in)
    return caf::make_error(errc::not_found,
                           "there is no " + path_of(dir)
                             + ": does `tillstream up` run there?");
  std::ostringstream text;
  text << in.rdbuf();
  json_document document;
  if (auto wrong = document.parse(text.str()); !wrong.empty())
    return caf::make_error(errc::invalid, path_of(dir) + ": " + wrong);
  const auto& root = document.root();
  endpoints x;
  x.http = text_of(root.find("http"));
  x.oltp_dsn = text_of(root.find("oltp_dsn"));
  x.analytics_dsn = text_of(root.find("analytics_dsn"));
  x.nats_url = text_of(root.find("nats_url"));
  if (const auto* keys = root.find("keys")) {
    x.owner_key = text_of(keys->find("owner"));
    x.operator_key = text_of(keys->find("operator"));
    if (const auto* tills = keys->find("tills"))
      for (const auto& [branch, secret] : tills->members)
        x.till_keys.emplace(branch, text_of(&secret));
  }
  return x;
}

caf::expected<void>
write_endpoints(const std::string& dir, const endpoints& x) {
  // Made with its final mode: the keys are never readable by others.
  auto temporary = path_of(dir) + ".new";
  ::unlink(temporary.c_str());
  int fd = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC,
                  S_IRUSR | S_IWUSR);
  if (fd < 0)
    return system_error("cannot write " + temporary);
  auto text = render(x);
  auto written = ::write(fd, text.data(), text.size());
  auto whole = written == static_cast<ssize_t>(text.size()) && ::fsync(fd) == 0;
  ::close(fd);
  if (!whole || ::rename(temporary.c_str(), path_of(dir).c_str()) != 0)
    return system_error("cannot write " + path_of(dir));
  return caf::unit;
}

endpoints locate_servers(const parsed_command& command, settings& node) {
  auto known = [&node] {
    return !node.oltp_dsn.empty() && !node.analytics_dsn.empty()
           && !node.nats_url.empty();
  };
  auto told = command.values.count("data-dir") > 0;
  if (known() && !told)
    return {};
  auto found = read_endpoints(data_dir(command));
  if (!found) {
    if (known())
      return {};
    throw usage_error(describe(found.error())
                      + "\nGive --data-dir DIR of a running `up`, or "
                        "--config FILE with oltp-dsn, analytics-dsn and "
                        "nats-url.");
  }
  auto fill = [](std::string& to, const std::string& from) {
    if (to.empty())
      to = from;
  };
  fill(node.oltp_dsn, found->oltp_dsn);
  fill(node.analytics_dsn, found->analytics_dsn);
  fill(node.nats_url, found->nats_url);
  return *found;
}

} // namespace tillstream::commands
