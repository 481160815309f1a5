#pragma once

#include "messages/core/limits.hpp"
#include "storage/ports/event_stream.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

/// @file storage/nats/consumer_config.hpp
/// Names and settings of our consumers, and the requests that are made to them,
/// as JetStream's API wants them.

namespace tillstream::storage::jetstream {

/// Messages of a branch delivered and not acknowledged; beyond it the server
/// waits. A shard fetches `branch_fetch_max` ahead, and acknowledgements may
/// be on their way.
constexpr size_t ack_pending_max = 4 * limits::branch_fetch_max;

/// Never the same twice: what an earlier consumer of the branch still sends,
/// here or on another node, is told apart by its name, and its end need not be
/// waited for. It may be on a server that is away.
std::string branch_consumer_name(std::string_view branch_id, uint64_t nonce);

/// @returns the branch of a consumer's name; empty when it is none of ours.
std::string_view branch_of_consumer(std::string_view consumer);

/// The consumer of the shared reader.
std::string reader_consumer_name(uint64_t nonce);

/// The subject of one branch. @param subjects With `*` for the branch.
std::string
branch_subject(const std::string& subjects, std::string_view branch_id);

/// Creates the consumer of one branch, beginning at `first_seq`. One
/// acknowledgement is for all messages before it, too: one for each is as much
/// work for the server as the message itself.
std::string
branch_consumer_config(const stream_settings& stream,
                       std::string_view branch_id, const std::string& consumer,
                       uint64_t first_seq);

/// Creates the consumer that reads all branches. Its messages are not
/// acknowledged: the reader itself keeps its position.
std::string
reader_consumer_config(const stream_settings& stream,
                       const std::string& consumer, uint64_t first_seq);

/// Asks for the last message of a subject.
std::string last_message_request(const std::string& subject);

/// Asks a consumer for messages. @param expires How long the server keeps it.
std::string pull_request(size_t batch, std::chrono::nanoseconds expires);

/// The API's subject for an operation on a consumer, without `$JS.API.`.
std::string
consumer_operation(std::string_view operation, const std::string& stream,
                   const std::string& consumer);

} // namespace tillstream::storage::jetstream
