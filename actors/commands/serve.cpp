#include "actors/commands/commands.hpp"
#include "actors/commands/endpoints.hpp"
#include "actors/commands/signals.hpp"
#include "actors/commands/watch.hpp"

#include "actors/node/node.hpp"
#include "messages/core/error.hpp"

#include <chrono>
#include <iostream>
#include <unistd.h>

namespace tillstream::commands {

namespace {

using namespace std::chrono_literals;

command_options serve_options() {
  return command_options{"serve",
                         "join the servers of the `up` that runs there"};
}

int serve(const parsed_command& command) {
  stop_signals signals;
  auto node_settings = command.node;
  locate_servers(command, node_settings);
  give_up end;
  auto running = node::start(
    node_settings, [&end](std::string why) { end.tell(std::move(why)); });
  if (!running)
    return report(running.error());
  std::cout << "Tillstream is ready: http://" << node_settings.listen_address
            << ":" << (*running)->port() << std::endl;
  auto code = done;
  while (!signals.wait(200ms)) {
    if (end.happened()) {
      std::cerr << "tillstream: giving up: " << end.reason() << std::endl;
      code = failed;
      break;
    }
  }
  signals.release();
  if (!(*running)->stop())
    // A thread of the node hangs in a call: nobody can wait for it.
    _exit(failed);
  return code;
}

} // namespace

command serve_command() {
  return {"serve", "--config FILE | --data-dir DIR --port N",
          "one node against servers that already run", serve_options, serve};
}

} // namespace tillstream::commands
