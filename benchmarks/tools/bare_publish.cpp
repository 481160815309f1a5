#include "messages/codec/event_codec.hpp"
#include "messages/core/error.hpp"
#include "messages/core/uuid.hpp"
#include "storage/ports/event_stream.hpp"

#include <nats/nats.h>

#include <fmt/format.h>

#include <chrono>
#include <iostream>
#include <string>

/// @file benchmarks/tools/bare_publish.cpp
/// `bench_bare_publish URL COUNT BYTES IN_FLIGHT`: what the broker takes at
/// most. A bare NATS.c loop that publishes COUNT messages of BYTES
/// asynchronously into the program's stream, with message ids, and waits for
/// the acknowledgements. Prints messages a second.

namespace {

void need(natsStatus status, const char* what) {
  if (status == NATS_OK)
    return;
  std::cerr << "bench_bare_publish: " << what << ": "
            << natsStatus_GetText(status) << std::endl;
  std::exit(1);
}

void publish(jsCtx* js, const std::string& subject, const std::string& id,
             const std::string& payload) {
  natsMsg* msg = nullptr;
  need(natsMsg_Create(&msg, subject.c_str(), nullptr, payload.data(),
                      static_cast<int>(payload.size())),
       "message");
  need(natsMsgHeader_Set(msg, "Nats-Msg-Id", id.c_str()), "header");
  need(natsMsgHeader_Set(msg, "Content-Type", "application/cloudevents+json"),
       "header");
  need(js_PublishMsgAsync(js, &msg, nullptr), "publish");
}

} // namespace

int main(int argc, char** argv) {
  using namespace tillstream;
  if (argc != 5) {
    std::cerr << "usage: bench_bare_publish URL COUNT BYTES IN_FLIGHT"
              << std::endl;
    return 2;
  }
  auto count = std::stoul(argv[2]);
  storage::nats_settings settings;
  settings.url = argv[1];
  if (auto stream = storage::ensure_stream(settings); !stream) {
    std::cerr << "bench_bare_publish: " << describe(stream.error())
              << std::endl;
    return 1;
  }
  natsConnection* connection = nullptr;
  need(natsConnection_ConnectTo(&connection, argv[1]), "connect");
  jsOptions options;
  need(jsOptions_Init(&options), "options");
  options.PublishAsync.MaxPending = std::stol(argv[4]);
  // Milliseconds; on a busy machine the default is too short.
  options.PublishAsync.StallWait = 30'000;
  jsCtx* js = nullptr;
  need(natsConnection_JetStream(&js, connection, &options), "JetStream");
  uuid_source ids;
  std::string payload(std::stoul(argv[3]), 'x');
  auto began = std::chrono::steady_clock::now();
  for (size_t i = 0; i < count; ++i)
    publish(js, event_subject(fmt::format("branch-{:02}", 1 + i % 3)),
            to_string(ids.v4()), payload);
  need(js_PublishAsyncComplete(js, nullptr), "acknowledgements");
  std::chrono::duration<double> took = std::chrono::steady_clock::now() - began;
  std::cout << fmt::format("{:.1f}", static_cast<double>(count) / took.count())
            << std::endl;
  jsCtx_Destroy(js);
  natsConnection_Destroy(connection);
  nats_Close();
  return 0;
}
