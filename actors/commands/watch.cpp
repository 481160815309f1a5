#include "actors/commands/watch.hpp"

#include "actors/http/client.hpp"

#include <thread>

namespace tillstream::commands {

using namespace std::chrono_literals;

bool wait_until_ready(const std::string& host, uint16_t port,
                      const give_up& end) {
  http_client client{host, port};
  auto give_up_at = std::chrono::steady_clock::now() + ready_max;
  while (!end.happened() && std::chrono::steady_clock::now() < give_up_at) {
    auto answer = client.request("GET", "/readyz");
    if (answer && answer->status == 200)
      return true;
    std::this_thread::sleep_for(20ms);
  }
  return false;
}

} // namespace tillstream::commands
