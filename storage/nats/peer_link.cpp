#include "storage/ports/peer_link.hpp"

#include "messages/core/error.hpp"
#include "messages/core/limits.hpp"
#include "storage/nats/receiver_thread.hpp"

#include <fmt/format.h>

#include <utility>

namespace tillstream::storage {

namespace {

using namespace jetstream;

/// Nothing but an inbox is ever answered: a query must not be able to make
/// us publish an event or an order to JetStream.
constexpr std::string_view inbox_prefix = "_INBOX.";

std::string payload_of(natsMsg* msg) {
  auto size = natsMsg_GetDataLength(msg);
  return size > 0 ? std::string{natsMsg_GetData(msg), static_cast<size_t>(size)}
                  : std::string{};
}

class peer_link_impl : public peer_link {
public:
  peer_link_impl(const nats_settings& settings, std::string own_subject,
                 broker_link_ptr link, message_handler on_message)
    : own_subject_(std::move(own_subject)),
      on_message_(std::move(on_message)),
      receiver_(settings, std::move(link),
                {[this](broker_link& from, std::vector<message_ptr> messages) {
                   pass_on(from, messages);
                 },
                 [this](uint64_t) { tell_gap(); }}) {
    // nop
  }

  caf::expected<void> ask(const std::string& node, uint64_t token,
                          std::string_view payload) override {
    auto link = receiver_.link();
    return link->send(peer_subject(node), link->reply_subject(token), payload);
  }

  caf::expected<void>
  answer(const std::string& reply_to, std::string_view payload) override {
    if (!std::string_view{reply_to}.starts_with(inbox_prefix))
      return caf::make_error(errc::invalid, "a query without an inbox");
    return receiver_.link()->send(reply_to, {}, payload);
  }

  caf::expected<void> tell_all(std::string_view payload) override {
    return receiver_.link()->send(std::string{peer_notices_subject}, {},
                                  payload);
  }

  bool connected() const override {
    return receiver_.link()->connected();
  }

private:
  void pass_on(broker_link& link, const std::vector<message_ptr>& messages) {
    std::vector<peer_message> result;
    for (const auto& msg : messages)
      if (natsMsg_GetDataLength(msg.get())
          <= static_cast<int>(limits::peer_message_bytes_max))
        result.push_back(read(link, msg.get()));
    if (!result.empty())
      on_message_(std::move(result));
  }

  peer_message read(broker_link& link, natsMsg* msg) const {
    peer_message result;
    std::string_view subject = natsMsg_GetSubject(msg);
    if (subject == peer_notices_subject) {
      result.what = peer_message::kind::notice;
    } else if (subject == own_subject_) {
      const char* reply = natsMsg_GetReply(msg);
      result.reply_to = reply != nullptr ? reply : "";
    } else {
      result.what = natsMsg_IsNoResponders(msg) ? peer_message::kind::nobody
                                                : peer_message::kind::answer;
      result.token = link.token_of(msg);
    }
    result.payload = payload_of(msg);
    return result;
  }

  void tell_gap() {
    std::vector<peer_message> gap(1);
    gap[0].what = peer_message::kind::gap;
    on_message_(std::move(gap));
  }

  const std::string own_subject_;
  message_handler on_message_;
  /// Last, so that its thread ends before what it uses.
  receiver_thread receiver_;
};

} // namespace

std::string peer_subject(std::string_view node) {
  std::string result = "tillstream.node.";
  for (unsigned char c : node) {
    auto plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')
                 || (c >= '0' && c <= '9') || c == '-' || c == '_';
    if (plain)
      result += static_cast<char>(c);
    else
      result += fmt::format("={:02X}", c);
  }
  return result;
}

caf::expected<peer_link_ptr>
connect_peers(const nats_settings& settings, const std::string& node,
              peer_link::message_handler on_message) {
  if (node.empty())
    return caf::make_error(errc::invalid, std::string{"a node needs a name"});
  auto own_subject = peer_subject(node);
  auto extended = settings;
  extended.listen_to = {own_subject, std::string{peer_notices_subject}};
  extended.echo = false;
  auto link = broker_link::open(extended);
  if (!link)
    return link.error();
  return peer_link_ptr{std::make_unique<peer_link_impl>(
    extended, std::move(own_subject), std::move(*link), std::move(on_message))};
}

} // namespace tillstream::storage
