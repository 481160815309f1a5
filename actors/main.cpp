#include "actors/commands/commands.hpp"

#include <malloc.h>

#include <exception>
#include <iostream>
#include <string>
#include <vector>

namespace {

using namespace tillstream::commands;

const std::vector<command>& all_commands() {
  static const std::vector<command> result{
    up_command(),       serve_command(),  migrate_command(),
    simulate_command(), verify_command(), key_command(),
    catalog_command(),  nodes_command(),  drain_command(),
  };
  return result;
}

int overview(std::ostream& out, int code) {
  out << "tillstream: a chain's sales, from the till to the owner's numbers\n\n"
         "usage: tillstream COMMAND [FLAGS]\n\n";
  for (const auto& x : all_commands()) {
    std::string name{x.name};
    name.resize(10, ' ');
    out << "  " << name << x.summary << "\n";
  }
  out << "\n`tillstream COMMAND --help` shows a command's flags and all "
         "settings.\nExit codes: 0 done, 1 failed, 2 wrong usage.\n";
  return code;
}

int help(const command& x) {
  std::cout << "usage: tillstream " << x.name << " " << x.arguments << "\n"
            << x.summary << "\n\n"
            << x.options().flags << "\n"
            << settings_flags();
  return done;
}

bool asks_for_help(const std::vector<std::string>& words) {
  for (const auto& word : words)
    if (word == "--help" || word == "-h")
      return true;
  return false;
}

/// Batches come and go: glibc would give their memory back to the kernel and
/// have it zeroed again for the next one. Bound: as much as this a thread.
void keep_freed_memory() {
  mallopt(M_TRIM_THRESHOLD, 16 << 20);
  mallopt(M_MMAP_THRESHOLD, 4 << 20);
  mallopt(M_TOP_PAD, 1 << 20);
}

} // namespace

int main(int argc, char** argv) {
  keep_freed_memory();
  std::vector<std::string> words{argv + 1, argv + argc};
  if (words.empty())
    return overview(std::cerr, wrong_usage);
  for (const auto& x : all_commands()) {
    if (words.front() != x.name)
      continue;
    words.erase(words.begin());
    if (asks_for_help(words))
      return help(x);
    try {
      return x.run(parse(words, x.options()));
    } catch (const usage_error& wrong) {
      std::cerr << "tillstream " << x.name << ": " << wrong.what() << "\n";
      return wrong_usage;
    } catch (const std::exception& failure) {
      std::cerr << "tillstream " << x.name << ": " << failure.what() << "\n";
      return failed;
    }
  }
  for (auto word : {"help", "--help", "-h"})
    if (words.front() == word)
      return overview(std::cout, done);
  std::cerr << "tillstream: there is no command '" << words.front() << "'\n\n";
  return overview(std::cerr, wrong_usage);
}
