#include "actors/runtime/system_config.hpp"

#include "actors/runtime/run_next_policy.hpp"
#include "messages/core/error.hpp"
#include "messages/core/log.hpp"
#include "messages/model/apply.hpp"
#include "messages/model/http.hpp"
#include "messages/model/peer.hpp"
#include "messages/model/purchase.hpp"
#include "messages/model/queries.hpp"
#include "messages/model/readiness.hpp"
#include "messages/model/sign_in.hpp"
#include "messages/model/stream.hpp"
#include "messages/protocol/fwd.hpp"

#include <caf/deep_to_string.hpp>
#include <caf/message.hpp>
#include <caf/message_view.hpp>
#include <caf/scheduled_actor.hpp>
#include <caf/sec.hpp>
#include <caf/system_messages.hpp>

#include <algorithm>
#include <exception>
#include <thread>

namespace tillstream {

namespace {

constexpr std::string_view log_exception = "actor.threw";
constexpr std::string_view log_unexpected = "actor.unexpected_message";
constexpr std::string_view log_stray_error = "actor.stray_error";

/// Messages an actor handles before others get their turn on its worker.
constexpr size_t throughput_max = 300;

std::string what_of(const std::exception_ptr& thrown) {
  try {
    std::rethrow_exception(thrown);
  } catch (const std::exception& e) {
    return e.what();
  } catch (...) {
    return "not a std::exception";
  }
}

} // namespace

node_config::node_config(size_t threads_max) {
  add_message_types<caf::id_block::tillstream_types>();
  add_error_category(caf::atom("tillstream"), render_errc);
  set("scheduler.max-throughput", throughput_max);
  // Workers sleep until there is work. CAF's stealing ones look for it every
  // 50 us, which on a small machine takes a tenth of what the work itself
  // takes.
  load<run_next_scheduler>();
  // CAF starts at least four. More of them than cores are woken for work that
  // the others are about to take.
  if (threads_max == 0)
    threads_max = std::max(std::thread::hardware_concurrency(), 2u);
  set("scheduler.max-threads", threads_max);
  set("logger.console", caf::atom("none"));
  set("logger.verbosity", caf::atom("quiet"));
  set("logger.file-verbosity", caf::atom("quiet"));
}

std::string
render_errc(uint8_t code, caf::atom_value, const caf::message& context) {
  auto result = to_string(static_cast<errc>(code));
  if (!context.empty())
    result += ": " + caf::deep_to_string(context);
  return result;
}

void install_handlers(caf::scheduled_actor* self) {
  self->set_exception_handler(
    [](caf::scheduled_actor* who, std::exception_ptr& thrown) {
      auto what = what_of(thrown);
      log::error(log_exception, {{"actor", who->name()}, {"what", what}});
      return caf::make_error(errc::internal, what);
    });
  self->set_default_handler(
    [](caf::scheduled_actor* who,
       caf::message_view&) -> caf::result<caf::message> {
      log::error(log_unexpected, {{"actor", who->name()}});
      return caf::sec::unexpected_message;
    });
  self->set_error_handler([](caf::scheduled_actor* who, caf::error& err) {
    log::error(log_stray_error,
               {{"actor", who->name()}, {"error", describe(err)}});
  });
  self->set_down_handler([](caf::scheduled_actor*, caf::down_msg&) {
    // An actor that monitors others sets a handler of its own.
  });
}

} // namespace tillstream
