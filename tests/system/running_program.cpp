#include "tests/system/running_program.hpp"

#include "messages/core/error.hpp"
#include "messages/core/uuid.hpp"

#include <boost/test/unit_test.hpp>

#include <fcntl.h>
#include <signal.h>
#include <strings.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <thread>

#ifndef TILLSTREAM_PROGRAM_PATH
#define TILLSTREAM_PROGRAM_PATH ""
#endif

extern char** environ;

namespace tillstream::test {

using namespace std::chrono_literals;

namespace {

std::string program_path() {
  if (const char* told = std::getenv("TILLSTREAM_PROGRAM"))
    return told;
  return TILLSTREAM_PROGRAM_PATH;
}

std::string read_file(const std::string& path) {
  std::ifstream in{path};
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

std::vector<char*> pointers(std::vector<std::string>& words) {
  std::vector<char*> result;
  for (auto& word : words)
    result.push_back(word.data());
  result.push_back(nullptr);
  return result;
}

/// Forks and executes the program with its output in files.
pid_t launch(std::vector<std::string> words,
             const std::vector<std::string>& environment,
             const std::string& output, const std::string& errors) {
  words.insert(words.begin(), program_path());
  std::vector<std::string> variables;
  for (char** x = environ; *x != nullptr; ++x)
    variables.emplace_back(*x);
  variables.insert(variables.end(), environment.begin(), environment.end());
  auto argv = pointers(words);
  auto envp = pointers(variables);
  pid_t child = fork();
  if (child < 0)
    throw std::runtime_error("fork failed");
  if (child > 0)
    return child;
  int out = open(output.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
  int err = errors == output
              ? out
              : open(errors.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
  int in = open("/dev/null", O_RDONLY);
  dup2(in, STDIN_FILENO);
  dup2(out, STDOUT_FILENO);
  dup2(err, STDERR_FILENO);
  execve(argv[0], argv.data(), envp.data());
  _exit(127);
}

std::optional<int> reap(pid_t child, std::chrono::seconds timeout) {
  std::optional<int> result;
  auto gone = [&] {
    int status = 0;
    if (waitpid(child, &status, WNOHANG) != child)
      return false;
    result = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    return true;
  };
  eventually(gone, timeout);
  return result;
}

std::string render(const json_value* value) {
  if (value == nullptr)
    return "(none)";
  switch (value->type) {
    case json_value::kind::null:
      return "null";
    case json_value::kind::boolean:
      return value->boolean ? "true" : "false";
    case json_value::kind::array:
      return "[" + std::to_string(value->elements.size()) + "]";
    case json_value::kind::object:
      return "{" + std::to_string(value->members.size()) + "}";
    default:
      return std::string{value->text};
  }
}

const json_value* step(const json_value* value, const std::string& name) {
  if (value == nullptr || !value->is(json_value::kind::array))
    return value == nullptr ? nullptr : value->find(name);
  auto i = static_cast<size_t>(std::stoul(name));
  return i < value->elements.size() ? &value->elements[i] : nullptr;
}

} // namespace

command_result
run_command(const std::vector<std::string>& words, std::chrono::seconds timeout,
            const std::vector<std::string>& environment) {
  temporary_directory scratch;
  auto output = scratch.path() + "/output";
  auto errors = scratch.path() + "/errors";
  auto child = launch(words, environment, output, errors);
  command_result result;
  if (auto code = reap(child, timeout)) {
    result.code = *code;
  } else {
    kill(child, SIGKILL);
    reap(child, 10s);
  }
  result.output = read_file(output);
  result.errors = read_file(errors);
  return result;
}

std::string answer::header(const std::string& name) const {
  for (const auto& [key, value] : headers)
    if (strcasecmp(key.c_str(), name.c_str()) == 0)
      return value;
  return {};
}

std::string answer::at(const std::string& path) const {
  json_document document;
  if (auto wrong = document.parse(body); !wrong.empty())
    return "(no JSON: " + wrong + ")";
  const auto* value = &document.root();
  std::istringstream names{path};
  std::string name;
  while (std::getline(names, name, '.'))
    value = step(value, name);
  return render(value);
}

running_program::running_program(std::vector<std::string> words,
                                 std::string dir,
                                 std::vector<std::string> environment)
  : dir_(std::move(dir)) {
  static std::atomic<int> count{0};
  output_path_ = (std::filesystem::temp_directory_path()
                  / ("tillstream-output-" + std::to_string(getpid()) + "-"
                     + std::to_string(++count)))
                   .string();
  pid_ = launch(std::move(words), environment, output_path_, output_path_);
  auto ready = [this] {
    return output().find("Tillstream is ready: ") != std::string::npos
           || wait(0s).has_value();
  };
  if (!eventually(ready, 60s) || ended_)
    throw std::runtime_error("the program did not start:\n" + output());
  if (auto found = commands::read_endpoints(dir_))
    where_ = *found;
  // A second node of the same directory says its own address.
  auto text = output();
  constexpr std::string_view mark = "Tillstream is ready: ";
  auto begin = text.find(mark) + mark.size();
  where_.http = text.substr(begin, text.find('\n', begin) - begin);
}

std::unique_ptr<running_program>
running_program::up(const std::string& dir, std::vector<std::string> more,
                    std::vector<std::string> environment) {
  std::vector<std::string> words{"up", "--data-dir", dir, "--port", "0"};
  words.insert(words.end(), more.begin(), more.end());
  return std::make_unique<running_program>(std::move(words), dir,
                                           std::move(environment));
}

running_program::~running_program() {
  if (!wait(0s)) {
    signal(SIGTERM);
    if (!wait(20s)) {
      signal(SIGKILL);
      wait(10s);
    }
  }
  std::error_code ignored;
  std::filesystem::remove(output_path_, ignored);
}

std::string running_program::output() const {
  return read_file(output_path_);
}

void running_program::signal(int number) {
  kill(pid_, number);
}

std::optional<int> running_program::wait(std::chrono::seconds timeout) {
  if (!ended_)
    ended_ = reap(pid_, timeout);
  return ended_;
}

std::optional<int> running_program::stop() {
  signal(SIGTERM);
  return wait();
}

std::string running_program::host() const {
  auto begin = where_.http.find("//") + 2;
  return where_.http.substr(begin, where_.http.rfind(':') - begin);
}

uint16_t running_program::port() const {
  return static_cast<uint16_t>(
    std::stoul(where_.http.substr(where_.http.rfind(':') + 1)));
}

answer
running_program::request(const std::string& method, const std::string& target,
                         header_list headers, const std::string& body) {
  http_client client{host(), port()};
  auto response = client.request(method, target, headers, body);
  if (!response)
    return {0, {}, describe(response.error())};
  return {response->status, response->headers, response->body};
}

answer running_program::get(const std::string& target, const std::string& key,
                            header_list headers) {
  headers.emplace_back("Authorization", "Bearer " + key);
  return request("GET", target, std::move(headers));
}

answer running_program::ask(const std::string& target, header_list headers) {
  return get(target, where_.owner_key, std::move(headers));
}

answer running_program::post(const std::string& branch_id,
                             const std::string& body, header_list headers) {
  auto key = where_.till_keys.find(branch_id);
  if (key != where_.till_keys.end())
    headers.emplace_back("Authorization", "Bearer " + key->second);
  headers.emplace_back("Content-Type", "application/json");
  return request("POST", "/purchases", std::move(headers), body);
}

std::string sale::body() {
  if (receipt_id.empty())
    receipt_id = "r-" + random_uuid();
  if (idempotency_key.empty())
    idempotency_key = random_uuid();
  std::string out;
  json_writer json{out};
  json.begin_object()
    .field("branch_id", branch_id)
    .field("pos_id", pos_id)
    .field("cashier_id", cashier_id)
    .field("receipt_id", receipt_id)
    .field("idempotency_key", idempotency_key);
  if (!user_id.empty())
    json.field("user_id", user_id);
  if (new_customer)
    json.field("new_customer", true);
  if (!occurred_at.empty())
    json.field("occurred_at", occurred_at);
  json.key("items").begin_array();
  for (const auto& x : items) {
    json.begin_object()
      .field("product_id", x.product_id)
      .field("unit_price", x.unit_price)
      .field("qty", 1);
    if (!x.name.empty())
      json.field("name", x.name);
    json.end_object();
  }
  json.end_array().end_object();
  return out;
}

double metric(running_program& program, const std::string& name) {
  std::istringstream lines{program.request("GET", "/metrics", {}).body};
  double result = 0;
  for (std::string line; std::getline(lines, line);) {
    auto rest
      = line.starts_with(name) ? line.substr(name.size()) : std::string{};
    if (!rest.empty() && (rest[0] == ' ' || rest[0] == '{'))
      result += std::stod(rest.substr(rest.rfind(' ')));
  }
  return result;
}

std::string random_uuid() {
  static thread_local uuid_source source;
  return to_string(source.v4());
}

} // namespace tillstream::test
