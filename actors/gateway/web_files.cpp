#include "actors/gateway/web_files.hpp"

#include "actors/http/gzip.hpp"
#include "messages/core/error.hpp"
#include "messages/core/limits.hpp"
#include "messages/model/purchase.hpp"

#include <fmt/format.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <system_error>
#include <utility>

namespace tillstream {

namespace {

namespace fs = std::filesystem;

std::string content_type_of(const fs::path& file) {
  static const std::map<std::string, std::string, std::less<>> types{
    {".html", "text/html; charset=utf-8"},
    {".css", "text/css; charset=utf-8"},
    {".js", "text/javascript; charset=utf-8"},
    {".json", "application/json"},
    {".svg", "image/svg+xml"},
    {".png", "image/png"},
    {".ico", "image/x-icon"},
    {".woff2", "font/woff2"},
    {".txt", "text/plain; charset=utf-8"},
    {".webmanifest", "application/manifest+json"},
  };
  auto i = types.find(file.extension().string());
  return i != types.end() ? i->second : "application/octet-stream";
}

std::string etag_of(std::string_view body) {
  auto digest = sha256(body);
  std::string result = "\"";
  for (size_t i = 0; i < 16; ++i)
    result += fmt::format("{:02x}", digest[i]);
  return result + "\"";
}

/// Fills in what follows from the body.
void finish(web_file& x) {
  constexpr int small = 9;
  x.etag = etag_of(x.body);
  x.gzipped = gzip(x.body, small);
  // Pictures are packed already.
  if (x.gzipped.size() > x.body.size() / 10 * 9)
    x.gzipped.clear();
}

caf::expected<web_file> read_file(const fs::path& file) {
  std::error_code ec;
  auto size = fs::file_size(file, ec);
  if (ec || size > limits::web_file_bytes_max)
    return caf::make_error(errc::invalid,
                           "too large for a page: " + file.string());
  std::ifstream in{file, std::ios::binary};
  web_file result;
  result.body.assign(std::istreambuf_iterator<char>{in}, {});
  if (!in.good() && !in.eof())
    return caf::make_error(errc::invalid, "cannot read " + file.string());
  result.content_type = content_type_of(file);
  finish(result);
  return result;
}

bool is_page(std::string_view path) {
  return path.ends_with(".html");
}

/// Lets what a page loads lead to the paths under `prefix`.
std::string versioned(std::string_view page, const std::string& prefix) {
  std::string result;
  while (!page.empty()) {
    auto at = std::min(page.find("src=\"/"), page.find("href=\"/"));
    if (at == std::string_view::npos)
      break;
    at = page.find('/', at);
    result += page.substr(0, at);
    // The page itself, and what an operator asks for, keep their names.
    auto target = page.substr(at, page.find('"', at) - at);
    if (target.size() > 1 && target.find('.') != std::string_view::npos)
      result += prefix;
    result += '/';
    page.remove_prefix(at + 1);
  }
  result += page;
  return result;
}

bool is_hidden(const fs::path& relative) {
  for (const auto& part : relative)
    if (part.string().starts_with('.'))
      return true;
  return false;
}

} // namespace

caf::expected<web_files_ptr> web_files::load(const std::string& dir) {
  std::error_code ec;
  fs::recursive_directory_iterator i{dir, ec};
  if (ec)
    return caf::make_error(errc::invalid,
                           "cannot read " + dir + ": " + ec.message());
  auto result = std::make_shared<web_files>();
  for (; i != fs::recursive_directory_iterator{}; i.increment(ec)) {
    auto relative = i->path().lexically_relative(dir);
    if (!i->is_regular_file(ec) || is_hidden(relative))
      continue;
    if (result->files_.size() == limits::web_files_max)
      return caf::make_error(errc::invalid, "too many files in " + dir);
    auto file = read_file(i->path());
    if (!file)
      return file.error();
    result->files_.emplace("/" + relative.generic_string(), std::move(*file));
  }
  result->add_versions();
  return web_files_ptr{std::move(result)};
}

void web_files::add_versions() {
  std::string names;
  for (const auto& [path, file] : files_)
    names += path + " " + file.etag + "\n";
  auto etag = etag_of(names);
  auto prefix = "/v-" + etag.substr(1, 16);
  std::map<std::string, web_file, std::less<>> versions;
  for (auto& [path, file] : files_) {
    if (is_page(path)) {
      file.body = versioned(file.body, prefix);
      finish(file);
      continue;
    }
    auto& copy = versions[prefix + path];
    copy = file;
    copy.immutable = true;
  }
  files_.merge(versions);
}

const web_file* web_files::find(std::string_view path) const {
  auto i = files_.find(path == "/" ? std::string_view{"/index.html"} : path);
  return i != files_.end() ? &i->second : nullptr;
}

std::string default_web_dir() {
  std::error_code ec;
  auto program = fs::read_symlink("/proc/self/exe", ec);
  if (ec)
    return {};
  auto here = program.parent_path();
  for (const auto& dir :
       {here / "web", here / "../../web", here / "../share/tillstream/web"})
    if (fs::exists(dir / "index.html", ec))
      return dir.lexically_normal().string();
  return {};
}

} // namespace tillstream
