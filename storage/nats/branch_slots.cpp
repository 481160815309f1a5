#include "storage/nats/branch_slots.hpp"

#include "messages/core/error.hpp"
#include "storage/nats/consumer_config.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <memory>
#include <utility>

namespace tillstream::storage::jetstream {

namespace {

using namespace std::chrono_literals;
using std::chrono::nanoseconds;

/// How long the server keeps a request for messages: of a few branches, and of
/// many. Each is renewed when it expires, so that idle branches together ask
/// no more than about 50 times a second.
constexpr auto pull_expires_max = 60s;
constexpr auto pull_share = 20ms;
/// Between checks for requests that are overdue.
constexpr auto overdue_interval = 1s;

/// Messages that came by the shared reader before their branch wanted them: of
/// one branch, which is opened again beyond it, and of all. With that many the
/// reader waits; the stream keeps the rest.
constexpr size_t held_branch_max = 512;
constexpr size_t held_max = 20'000;

/// Branches that are behind the reader wait so long for others, because many
/// are opened together.
constexpr auto rewind_batch_window = 100ms;
/// Branches that have a consumer of their own at the same time because they
/// are far behind.
constexpr size_t stragglers_max = 32;

delivered_message read_message(const incoming_message& x) {
  delivered_message result;
  result.stream_seq = x.ack.stream_seq;
  result.consumer_seq = x.ack.consumer_seq;
  result.delivery = x.ack.delivery;
  result.payload = std::make_shared<const std::string>(x.payload);
  return result;
}

} // namespace

branch_slots::branch_slots(const nats_settings& settings, uint64_t first_nonce)
  : settings_(settings),
    subject_prefix_(
      settings_.stream.subjects.substr(0, settings_.stream.subjects.find('*'))),
    reader_(settings_.stream),
    last_nonce_(first_nonce) {
  // nop
}

bool branch_slots::shares() const {
  return slots_.size() + 1 >= settings_.shared_reader_min || reader_.exists();
}

uint64_t branch_slots::reader_position() const {
  return reader_.exists() ? reader_.next() : 0;
}

uint64_t branch_slots::next_nonce() {
  return ++last_nonce_;
}

// -- opening, closing, fetching -----------------------------------------------

branch_slot& branch_slots::add(const branch_opening& what) {
  auto& slot = slots_[what.branch_id] = branch_slot{};
  slot.generation = what.generation;
  slot.reconnects = what.reconnects;
  slot.next = std::max<uint64_t>(what.first_seq, 1);
  return slot;
}

void branch_slots::open_direct(const branch_opening& what,
                               std::string consumer) {
  add(what).own.adopt(std::move(consumer));
}

caf::expected<void>
branch_slots::open_shared(const branch_opening& what,
                          const std::optional<stream_state>& end,
                          time_point now) {
  if (!reader_.exists()) {
    if (!end)
      return caf::make_error(errc::unavailable, "the reader has just ended");
    reader_.set_incarnation(end->incarnation);
    begin_reader(end->last_seq + 1, now);
  }
  locate(what.branch_id, add(what), now);
  return {};
}

void branch_slots::close(std::string_view branch_id) {
  auto slot = slots_.find(branch_id);
  if (slot == slots_.end())
    return;
  slot->second.own.remove(settings_.stream.name, actions_);
  erase(slot);
  if (slots_.empty())
    reader_.end(actions_);
}

caf::expected<void>
branch_slots::fetch(std::string_view branch_id, size_t count, time_point now) {
  auto slot = slots_.find(branch_id);
  if (slot == slots_.end())
    return caf::make_error(errc::not_found, "the branch is not open");
  auto& [name, x] = *slot;
  x.wanted = std::min(x.wanted + count, ack_pending_max);
  if (x.how == mode::direct)
    pull_more(name, x, now);
  else
    deliver_held(name, x, now);
  return {};
}

// -- losing -------------------------------------------------------------------

branch_slots::slot_map::iterator branch_slots::erase(slot_map::iterator slot) {
  requests_.erase(slot->second.own.token());
  held_ -= slot->second.held.size();
  return slots_.erase(slot);
}

branch_slots::slot_map::iterator
branch_slots::lose(slot_map::iterator slot, std::string why) {
  actions_.deliveries.push_back(
    {slot->first, slot->second.generation, {}, std::move(why)});
  return erase(slot);
}

template <class Predicate>
void branch_slots::lose_if(Predicate is_lost, const std::string& why) {
  for (auto i = slots_.begin(); i != slots_.end();)
    i = is_lost(i->second) ? lose(i, why) : std::next(i);
}

void branch_slots::lose_followers(const std::string& why) {
  reader_.end(actions_);
  lose_if(
    [](const branch_slot& x) {
      return x.how == mode::locating || x.how == mode::catching_up
             || x.how == mode::shared;
    },
    why);
}

void branch_slots::check_stream(uint64_t before, const stream_state& state) {
  if (before != 0 && reader_.exists() && !reader_.reads(state, before))
    lose_followers("the stream is another");
}

void branch_slots::lose_connection(uint64_t reconnects) {
  // Its server may be another now.
  reader_.forget();
  lose_if(
    [&](const branch_slot& x) {
      return x.reconnects < reconnects || x.how != mode::direct;
    },
    "the connection was lost");
}

void branch_slots::lose_overdue(time_point now) {
  if (now < next_overdue_check_)
    return;
  next_overdue_check_ = now + overdue_interval;
  lose_if([&](const branch_slot& x) { return x.own.overdue(now); },
          "the consumer does not answer");
  if (reader_.overdue(now))
    lose_followers("the reader does not answer");
}

// -- a branch's own consumer --------------------------------------------------

/// The answer to what is sent with the token comes to `take_answer`. If it
/// cannot be sent the connection is down, and `lose_connection` follows.
uint64_t
branch_slots::new_token(const std::string& branch_id, branch_slot& slot) {
  requests_.erase(slot.own.token());
  requests_[++last_token_] = branch_id;
  return last_token_;
}

nanoseconds branch_slots::pull_expires() const {
  return std::clamp<nanoseconds>(pull_share * slots_.size(), pull_expires_min,
                                 pull_expires_max);
}

void branch_slots::pull_more(const std::string& branch_id, branch_slot& slot,
                             time_point now) {
  if (slot.how != mode::direct || slot.own.waiting() || slot.wanted == 0)
    return;
  if (!slot.own.may_pull(now)) {
    refused_.insert(branch_id);
    return;
  }
  refused_.erase(branch_id);
  slot.own.pull(settings_.stream.name,
                std::min(slot.wanted, limits::branch_fetch_max), pull_expires(),
                new_token(branch_id, slot), now, actions_);
}

void branch_slots::retry_refused(time_point now) {
  for (const auto& name : std::exchange(refused_, {}))
    if (auto slot = slots_.find(name); slot != slots_.end())
      pull_more(name, slot->second, now);
}

void branch_slots::take_direct(slot_map::iterator slot,
                               const incoming_message& message,
                               time_point now) {
  auto& [name, x] = *slot;
  auto copy = read_message(message);
  copy.reply = message.reply;
  delivery_of(name, x).messages.push_back(std::move(copy));
  x.delivered = message.ack.consumer_seq;
  x.next = std::max(x.next, message.ack.stream_seq + 1);
  x.wanted -= std::min<size_t>(x.wanted, 1);
  x.own.received();
  if (message.ack.pending == 0 && message.ack.delivery == 1 && reader_.exists())
    join_reader(name, x, now);
  else
    pull_more(name, x, now);
}

void branch_slots::take_pull_status(slot_map::iterator slot,
                                    const pull_status& status, time_point now) {
  auto end = slot->second.own.take_status(status, now);
  if (end == pull_end::lost)
    lose(slot, fmt::format("the consumer is gone ({} {})", status.code,
                           status.description));
  else if (end != pull_end::none)
    pull_more(slot->first, slot->second, now);
}

/// A branch with a consumer of its own has all there is: it joins the others.
void branch_slots::join_reader(const std::string& branch_id, branch_slot& slot,
                               time_point now) {
  slot.own.remove(settings_.stream.name, actions_);
  locate(branch_id, slot, now);
}

// -- the shared reader --------------------------------------------------------

void branch_slots::begin_reader(uint64_t first_seq, time_point now) {
  reader_.begin(first_seq, next_nonce(), ++last_token_, now, actions_);
}

void branch_slots::pull_reader(time_point now) {
  if (held_ < held_max && reader_.may_pull(now))
    reader_.pull(++last_token_, now, actions_);
}

void branch_slots::take_shared(const incoming_message& message,
                               time_point now) {
  if (!reader_.take(message.ack)) {
    begin_reader(reader_.next(), now);
    return;
  }
  if (!message.subject.starts_with(subject_prefix_))
    return;
  auto slot = slots_.find(message.subject.substr(subject_prefix_.size()));
  if (slot == slots_.end() || message.ack.stream_seq < slot->second.next)
    return;
  auto& [name, x] = *slot;
  if (x.how != mode::shared) {
    x.passed_by = true;
    return;
  }
  x.next = message.ack.stream_seq + 1;
  if (x.wanted > 0 && x.held.empty()) {
    deliver_shared(name, x, read_message(message));
    return;
  }
  x.held.push_back(read_message(message));
  ++held_;
  if (x.held.size() > held_branch_max)
    lose(slot, "more came than it took");
}

void branch_slots::take_reader_answer(const incoming_answer& answer,
                                      time_point now) {
  std::string problem;
  switch (reader_.take_answer(answer, now, problem)) {
    case shared_reader::outcome::none:
      break;
    case shared_reader::outcome::pull:
      pull_reader(now);
      break;
    case shared_reader::outcome::recreate:
      begin_reader(reader_.next(), now);
      break;
    case shared_reader::outcome::failed:
      lose_followers(problem);
      break;
  }
}

/// Asks whether the branch has messages that the reader has passed already.
void branch_slots::locate(const std::string& branch_id, branch_slot& slot,
                          time_point now) {
  slot.how = mode::locating;
  slot.reader_was_at = reader_.next();
  slot.passed_by = false;
  slot.own.request(
    "STREAM.MSG.GET." + settings_.stream.name,
    last_message_request(branch_subject(settings_.stream.subjects, branch_id)),
    new_token(branch_id, slot), now, actions_);
}

void branch_slots::take_location(slot_map::iterator slot,
                                 const incoming_answer& answer,
                                 time_point now) {
  auto& x = slot->second;
  auto read = read_answer(answer);
  auto last = read ? read_last_seq(*read) : read.error();
  if (!last) {
    lose(slot, describe(last.error()));
    return;
  }
  x.own.answered();
  auto missed = *last >= x.next && x.next < x.reader_was_at;
  if (!missed && !x.passed_by) {
    x.how = mode::shared;
    return;
  }
  x.how = mode::catching_up;
  if (!catching_up_since_)
    catching_up_since_ = now;
}

void branch_slots::deliver_held(const std::string& branch_id, branch_slot& slot,
                                time_point now) {
  if (slot.held.empty() || slot.wanted == 0)
    return;
  while (!slot.held.empty() && slot.wanted > 0) {
    deliver_shared(branch_id, slot, std::move(slot.held.front()));
    slot.held.pop_front();
    --held_;
  }
  pull_reader(now);
}

// -- catching up --------------------------------------------------------------

bool branch_slots::within_rewind(const branch_slot& slot) const {
  return slot.next + settings_.shared_rewind_max >= reader_.next();
}

void branch_slots::catch_up(time_point now) {
  if (!catching_up_since_ || now < *catching_up_since_ + rewind_batch_window
      || !reader_.created())
    return;
  auto catches_up
    = [](const auto& x) { return x.second.how == mode::catching_up; };
  if (!std::any_of(slots_.begin(), slots_.end(), catches_up)) {
    catching_up_since_.reset();
    return;
  }
  if (reader_.may_rewind(now))
    rewind_reader(now);
  create_consumers(now);
}

/// Goes back to the first message that a branch misses, not too far.
void branch_slots::rewind_reader(time_point now) {
  auto first = reader_.next();
  for (const auto& [name, x] : slots_)
    if (x.how == mode::catching_up && within_rewind(x))
      first = std::min(first, x.next);
  if (first == reader_.next())
    return;
  for (auto& [name, x] : slots_) {
    if (x.how == mode::catching_up && x.next >= first)
      x.how = mode::shared;
    // It comes along again.
    x.reader_was_at = std::min(x.reader_was_at, first);
  }
  reader_.rewind(first, next_nonce(), ++last_token_, now, actions_);
}

/// Branches that are too far behind read by themselves, a few at a time.
void branch_slots::create_consumers(time_point now) {
  auto stragglers = static_cast<size_t>(
    std::count_if(slots_.begin(), slots_.end(), [](const auto& x) {
      return x.second.how == mode::creating || x.second.how == mode::direct;
    }));
  for (auto& [name, x] : slots_) {
    if (stragglers >= stragglers_max)
      return;
    if (x.how != mode::catching_up || within_rewind(x))
      continue;
    ++stragglers;
    x.how = mode::creating;
    auto consumer = branch_consumer_name(name, next_nonce());
    auto config
      = branch_consumer_config(settings_.stream, name, consumer, x.next);
    x.own.create(std::move(consumer), settings_.stream.name, std::move(config),
                 new_token(name, x), now, actions_);
  }
}

void branch_slots::take_created(slot_map::iterator slot,
                                const incoming_answer& answer, time_point now) {
  auto& x = slot->second;
  if (auto problem = problem_of(answer); !problem.empty()) {
    lose(slot, std::move(problem));
    return;
  }
  x.how = mode::direct;
  x.own.answered();
  // Its consumer counts anew, and the shard must not see that.
  if (x.delivered > 0)
    lose(slot, "far behind");
  else
    pull_more(slot->first, x, now);
}

// -- what comes ---------------------------------------------------------------

void branch_slots::take_message(const incoming_message& message,
                                time_point now) {
  if (message.ack.stream != settings_.stream.name)
    return;
  if (reader_.exists() && message.ack.consumer == reader_.consumer()) {
    take_shared(message, now);
    return;
  }
  auto slot = slots_.find(branch_of_consumer(message.ack.consumer));
  if (slot != slots_.end() && slot->second.own.name() == message.ack.consumer)
    take_direct(slot, message, now);
}

void branch_slots::take_answer(const incoming_answer& answer, time_point now) {
  if (reader_.exists() && answer.token == reader_.token()) {
    take_reader_answer(answer, now);
    return;
  }
  auto request = requests_.find(answer.token);
  if (request == requests_.end())
    return;
  auto slot = slots_.find(request->second);
  if (slot == slots_.end())
    return;
  switch (slot->second.how) {
    case mode::locating:
      take_location(slot, answer, now);
      break;
    case mode::creating:
      take_created(slot, answer, now);
      break;
    case mode::direct:
      take_pull_status(slot, answer.status, now);
      break;
    case mode::catching_up:
    case mode::shared:
      break;
  }
}

void branch_slots::step(time_point now, bool connected) {
  retry_refused(now);
  pull_reader(now);
  catch_up(now);
  if (connected)
    lose_overdue(now);
}

// -- deliveries ---------------------------------------------------------------

/// The branch's part of what is delivered next.
delivery& branch_slots::delivery_of(const std::string& branch_id,
                                    const branch_slot& slot) {
  auto& all = actions_.deliveries;
  auto [place, added] = places_.try_emplace(branch_id, all.size());
  // It may have been lost and opened again meanwhile.
  if (added || all[place->second].generation != slot.generation) {
    place->second = all.size();
    all.push_back({branch_id, slot.generation, {}, {}});
  }
  return all[place->second];
}

void branch_slots::deliver_shared(const std::string& branch_id,
                                  branch_slot& slot,
                                  delivered_message message) {
  message.delivery = 1;
  message.consumer_seq = ++slot.delivered;
  slot.wanted -= std::min<size_t>(slot.wanted, 1);
  delivery_of(branch_id, slot).messages.push_back(std::move(message));
}

source_actions branch_slots::take_actions() {
  places_.clear();
  return std::exchange(actions_, {});
}

} // namespace tillstream::storage::jetstream
