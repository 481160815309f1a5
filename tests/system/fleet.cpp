#include "tests/system/fleet.hpp"

#include "actors/commands/preparation.hpp"
#include "actors/directory/api_key.hpp"
#include "messages/core/error.hpp"
#include "storage/nats/jetstream_api.hpp"
#include "storage/postgres/stores.hpp"
#include "tests/support/must.hpp"
#include "tests/support/postgres_fixture.hpp"

#include <stdexcept>
#include <utility>

namespace tillstream::test {

std::string fresh_broker() {
  storage::nats_settings settings;
  settings.url = nats().nats_url();
  auto link = must(storage::jetstream::broker_link::open(settings));
  // There may be none.
  must(storage::jetstream::ask(*link, "STREAM.DELETE." + settings.stream.name));
  return settings.url;
}

fleet::fleet(const std::string& oltp_dsn, const std::string& analytics_dsn,
             const std::string& nats_url, const std::string& chain_file) {
  where_.oltp_dsn = oltp_dsn;
  where_.analytics_dsn = analytics_dsn;
  where_.nats_url = nats_url;
  std::vector<std::string> words{"migrate", "--oltp-dsn", oltp_dsn,
                                 "--analytics-dsn", analytics_dsn};
  words.insert(words.end(), {"--nats-url", nats_url});
  if (!chain_file.empty())
    words.insert(words.end(), {"--chain", chain_file});
  auto migrated = run_command(words);
  if (migrated.code != 0)
    throw std::runtime_error(migrated.output + migrated.errors);
  auto store = must(storage::open_directory_store(oltp_dsn));
  auto key = [&](storage::key_role role, const std::string& branch) {
    return must(commands::create_key(*store, role, branch, "of a test"));
  };
  where_.owner_key = key(storage::key_role::owner, "");
  where_.operator_key = key(storage::key_role::operator_, "");
  for (const auto& x : must(store->load()).chain.branches)
    where_.till_keys[x.id] = key(storage::key_role::till, x.id);
  if (auto written = commands::write_endpoints(dir_.path(), where_); !written)
    throw std::runtime_error(describe(written.error()));
}

std::unique_ptr<running_program> fleet::serve(std::vector<std::string> more) {
  std::vector<std::string> words{"serve", "--data-dir", dir_.path(), "--port",
                                 "0"};
  words.insert(words.end(), more.begin(), more.end());
  return std::make_unique<running_program>(std::move(words), dir_.path());
}

command_result
fleet::run(std::vector<std::string> words, std::chrono::seconds timeout) {
  words.insert(words.end(), {"--data-dir", dir_.path()});
  return run_command(words, timeout);
}

} // namespace tillstream::test
