#pragma once

#include "messages/fwd.hpp"

#include <caf/replies_to.hpp>

/// @file messages/interfaces.hpp
/// Who may say what to whom. Each alias is one actor; each signature carries
/// one line that says what the message asks for. Messages marked INTERNAL are
/// sent by the actor to itself (or by the callback of a client library that it
/// installed) and by nobody else.

namespace tillstream {

/// The TRANSACTION WRITER interface. Also that of REQUEST INTAKE, which
/// bounds what is in flight and spreads branches over the writers.
using transaction_writer_actor = caf::typed_actor<
  // Makes one purchase durable, or says why not.
  caf::replies_to<atom::submit, purchase_ptr>::with<record_result>,
  // Tells whether a session is open.
  caf::replies_to<atom::ready>::with<readiness>,
  // INTERNAL: Commits everything collected since the last commit.
  caf::reacts_to<atom::flush>,
  // INTERNAL: Tries to open a session again.
  caf::reacts_to<atom::reopen>>;

/// The REQUEST INTAKE interface.
using request_intake_actor = caf::typed_actor<
  // Admits one purchase, or refuses it with `errc::overloaded` or
  // `errc::shutting_down`.
  caf::replies_to<atom::submit, purchase_ptr>::with<record_result>,
  // Ready when a writer is.
  caf::replies_to<atom::ready>::with<readiness>,
  // Admits nothing more; answers when all that was admitted is answered.
  caf::replies_to<atom::drain>::with<bool>>;

/// The PURCHASE READER interface: a pool of them is one address.
using purchase_reader_actor = caf::typed_actor<
  // Finds one purchase; null when there is none.
  caf::replies_to<atom::find, purchase_lookup>::with<purchase_details_ptr>,
  // Reads a page of known customers.
  caf::replies_to<atom::list, customer_page_request>::with<customer_page_ptr>,
  // Events of a branch committed since a time, without payload.
  caf::replies_to<atom::recent, std::string, timestamp>::with<notes_ptr>,
  // For how many milliseconds an event of a branch has been SENT; -1: it is
  // NEW. `errc::not_found`: the outbox has no such row.
  caf::replies_to<atom::state, std::string, uuid>::with<int64_t>>;

/// The OUTBOX RELAY interface.
using outbox_relay_actor = caf::typed_actor<
  // A writer's wake-up: these events are committed.
  caf::reacts_to<atom::committed, notes_ptr>,
  // The broker forgot: publish the branch's events above this `outbox_seq`
  // again. Replies how many.
  caf::replies_to<atom::republish, std::string, int64_t>::with<int64_t>,
  // Tells whether database and broker are there.
  caf::replies_to<atom::ready>::with<readiness>,
  // Publishes what it has, waits (bounded) for acknowledgements and marks
  // them; true when nothing was left.
  caf::replies_to<atom::drain>::with<bool>,
  // INTERNAL: The broker answered.
  caf::reacts_to<atom::acked, publish_acks_ptr>,
  // INTERNAL: Time for the slow poll, retries and time-outs.
  caf::reacts_to<atom::tick>,
  // INTERNAL: Marks what was acknowledged.
  caf::reacts_to<atom::flush>>;

/// The STREAM CONSUMER interface.
using stream_consumer_actor = caf::typed_actor<
  // Starts a branch's deliveries at a stream sequence; `generation` comes
  // back with each delivery.
  caf::reacts_to<atom::open, std::string, uint64_t, uint64_t>,
  // Ends them.
  caf::reacts_to<atom::close, std::string>,
  // Gives credit for more messages of a branch.
  caf::reacts_to<atom::fetch, std::string, uint64_t>,
  // Acknowledges applied messages.
  caf::reacts_to<atom::ack, strings_ptr>,
  // The stream as the broker tells it.
  caf::replies_to<atom::state>::with<stream_state>,
  // The number of a branch's last message in the stream; 0: it has none.
  caf::replies_to<atom::state, std::string>::with<uint64_t>,
  caf::replies_to<atom::ready>::with<readiness>,
  // INTERNAL: Messages arrived.
  caf::reacts_to<atom::deliver, deliveries_ptr>,
  // INTERNAL: Connects again.
  caf::reacts_to<atom::reopen>>;

/// The AGGREGATE WRITER interface.
using aggregate_writer_actor = caf::typed_actor<
  // Applies one branch's batch, together with those of other branches.
  caf::replies_to<atom::apply, apply_request_ptr>::with<apply_outcome_ptr>,
  caf::replies_to<atom::ready>::with<readiness>,
  // INTERNAL: Commits everything collected since the last commit.
  caf::reacts_to<atom::flush>,
  // INTERNAL: Tries to open a session again.
  caf::reacts_to<atom::reopen>>;

/// The AGGREGATE READER interface: a pool of them is one address.
using aggregate_reader_actor = caf::typed_actor<
  // Loads a branch's state.
  caf::replies_to<atom::load, std::string>::with<branch_state_ptr>,
  // Loads a piece of a branch's tables.
  caf::replies_to<atom::load, chunk_request>::with<chunk_ptr>,
  // Tells whether a session is open.
  caf::replies_to<atom::ready>::with<readiness>>;

/// The AGGREGATE SHARD interface: one branch.
using aggregate_shard_actor = caf::typed_actor<
  // Messages of the branch's subject.
  caf::reacts_to<atom::deliver, delivery_ptr>,
  // These events of the branch are committed and on their way.
  caf::reacts_to<atom::committed, notes_ptr>,
  // Answers its part of a question.
  caf::replies_to<atom::ask, shard_question_ptr>::with<shard_answer_ptr>,
  // Waits until an event is applied; false after `limits::after_wait_max`.
  caf::replies_to<atom::after, uuid>::with<bool>,
  // Notes may have been missed: compares with the outbox again.
  caf::reacts_to<atom::poll>,
  // INTERNAL: Loads its state, again after a failure.
  caf::reacts_to<atom::load>,
  // INTERNAL: Retries and time-outs.
  caf::reacts_to<atom::tick>>;

/// The SHARDS interface: supervisor of all shards of a node and their stable
/// address.
using shards_actor = caf::typed_actor<
  // From the STREAM CONSUMER.
  caf::reacts_to<atom::deliver, deliveries_ptr>,
  // From the TRANSACTION WRITERS; any mix of branches.
  caf::reacts_to<atom::committed, notes_ptr>,
  // Asks the shard of a branch.
  caf::replies_to<atom::ask, std::string,
                  shard_question_ptr>::with<shard_answer_ptr>,
  // Waits until an event of a branch is applied.
  caf::replies_to<atom::after, std::string, uuid>::with<bool>,
  // Notes of other nodes may have been missed.
  caf::reacts_to<atom::poll>,
  // From OWNERSHIP: this incarnation of the node owns these branches from now
  // on, and no others.
  caf::reacts_to<atom::update, int64_t, ownerships_ptr>,
  // From OWNERSHIP: ends the shards of these branches; true when they are gone.
  caf::replies_to<atom::close, strings_ptr>::with<bool>,
  // Tells whether the broker is there.
  caf::replies_to<atom::state>::with<readiness>,
  caf::replies_to<atom::ready>::with<readiness>,
  // Ends all shards; true when they are gone.
  caf::replies_to<atom::drain>::with<bool>,
  // INTERNAL: Restarts shards whose backoff is over.
  caf::reacts_to<atom::tick>>;

/// The PEERS interface: the other nodes.
using peers_actor = caf::typed_actor<
  // Asks a node for the parts of branches that it owns.
  caf::replies_to<atom::ask, std::string,
                  peer_question_ptr>::with<peer_answer_ptr>,
  // Tells all nodes what a TRANSACTION WRITER committed here.
  caf::reacts_to<atom::committed, notes_ptr>,
  // Tells whether the broker is there.
  caf::replies_to<atom::ready>::with<readiness>,
  // INTERNAL: Messages of other nodes arrived.
  caf::reacts_to<atom::deliver, peer_messages_ptr>,
  // INTERNAL: Time-outs; connects again.
  caf::reacts_to<atom::tick>>;

/// The TABLE ANSWERER interface: answers for branches whose owner is away.
using table_answerer_actor = caf::typed_actor<
  // Answers a branch's part of a question from the tables.
  caf::replies_to<atom::ask, std::string,
                  shard_question_ptr>::with<shard_answer_ptr>,
  // Waits until an event of one of the branches is in the event log; false
  // after `limits::after_wait_max`.
  caf::replies_to<atom::after, uuid, strings_ptr>::with<bool>,
  // INTERNAL: Looks into the event log again.
  caf::reacts_to<atom::tick>>;

/// The OWNERSHIP interface: the node's place among the nodes.
using ownership_actor = caf::typed_actor<
  // The node listens at this address: announces it to the others.
  caf::reacts_to<atom::open, std::string>,
  // The chain has these branches.
  caf::reacts_to<atom::update, strings_ptr>,
  // Ready while the node's lease holds.
  caf::replies_to<atom::ready>::with<readiness>,
  // Gives all branches away, in order as long as there is time, and ends the
  // lease; true when that is written.
  caf::replies_to<atom::drain>::with<bool>,
  // INTERNAL: Time for a beat; only the latest number counts.
  caf::reacts_to<atom::tick, uint64_t>>;

/// The QUERY interface.
using query_actor = caf::typed_actor<
  // Answers a question of the dashboard, rendered.
  caf::replies_to<atom::ask, analytics_question_ptr>::with<http_reply_ptr>>;

/// The GATEWAY interface.
using gateway_actor = caf::typed_actor<
  // Answers one HTTP request through its exchange.
  caf::reacts_to<atom::request, http_exchange_ptr>,
  // Refuses new work from now on.
  caf::reacts_to<atom::drain>,
  // INTERNAL: Looks after purchases that nobody answered.
  caf::reacts_to<atom::tick>>;

/// The DIRECTORY interface: keeps the node's copy of chain, keys and catalogue
/// fresh.
using directory_actor = caf::typed_actor<
  // Ready when the last reading is recent.
  caf::replies_to<atom::ready>::with<readiness>,
  // Uses a one-time sign-in link up: the id of the key that it was made for,
  // or `errc::not_found`.
  caf::replies_to<atom::open, sign_in_link>::with<uuid>,
  // Ends a session of the page, here at once and elsewhere with the next
  // reading.
  caf::replies_to<atom::close, session_end>::with<bool>,
  // INTERNAL: Reads again if the version changed.
  caf::reacts_to<atom::tick>>;

/// The LIVE FEED interface.
using live_feed_actor = caf::typed_actor<
  // Tells this page from now on what changes.
  caf::reacts_to<atom::open, live_listener_ptr>,
  // INTERNAL: Asks for the state again, or tells that nothing changed.
  caf::reacts_to<atom::tick>>;

/// The LAKE ARCHIVER interface.
using lake_archiver_actor
  = caf::typed_actor<caf::replies_to<atom::ready>::with<readiness>,
                     // INTERNAL: Writes what is due.
                     caf::reacts_to<atom::tick>>;

/// The JANITOR interface: attaches and detaches partitions.
using janitor_actor = caf::typed_actor<
  // INTERNAL: Does its round.
  caf::reacts_to<atom::tick>>;

/// The ROOT SUPERVISOR interface.
using root_supervisor_actor = caf::typed_actor<
  // Ends all top-level actors, stage by stage; true when all ended in time.
  caf::replies_to<atom::close>::with<bool>,
  // INTERNAL: The grace period of this stage is over.
  caf::reacts_to<atom::tick, uint64_t>>;

} // namespace tillstream
