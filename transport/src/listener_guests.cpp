// Layer transport: the clients of a Listener that have not been let in yet.
#include "listener_guests.hpp"

#include <passel/log.hpp>

#include "socket_address.hpp"

#include <algorithm>
#include <map>
#include <utility>

namespace passel::inline v0::detail {

void ListenerGuests::add(Descriptor socket, std::optional<Address> from) {
  auto end = ConnectionEnd::make(std::move(socket), ConnectionMode::duplex);
  if (!end) return;
  (*end)->set_kind(PacketKind::greeting);
  make_room();
  std::string host = from ? crowd_of(std::get<TcpAddress>(*from).host) : std::string{};
  const auto listened_to = refusals_.listened_to(host, Clock::now());
  guests_.push_back({.end = *std::move(end),
                     .from = std::move(from),
                     .host = std::move(host),
                     .listened_to = listened_to,
                     .until = Deadline::at(listened_to + rules_.timeout),
                     .handshake = {rules_.keys, rules_.place, fresh_nonce()}});
}

void ListenerGuests::make_room() {
  if (guests_.size() < rules_.most) return;
  std::map<std::string_view, std::size_t> from;
  for (const Guest& guest : guests_) ++from[guest.host];
  std::size_t most = 0;
  for (const auto& [host, count] : from) most = std::max(most, count);
  const auto goes = std::find_if(guests_.begin(), guests_.end(),
                                 [&](const Guest& guest) { return from[guest.host] == most; });
  guests_.erase(goes);
}

std::optional<ListenerGuests::LetIn> ListenerGuests::serve() {
  for (auto guest = guests_.begin(); guest != guests_.end();) {
    const Verdict verdict = listen_to(*guest);
    if (verdict == Verdict::undecided) {
      ++guest;
      continue;
    }
    const Guest left = std::move(*guest);
    guest = guests_.erase(guest);
    if (verdict == Verdict::refused) refuse(left);
    if (verdict != Verdict::welcome) continue;
    if (rules_.keys->wanted()) refusals_.let_in(left.host);
    left.end->set_kind(PacketKind::message);
    return LetIn{left.end, left.from};
  }
  return std::nullopt;
}

Deadline ListenerGuests::watch(std::vector<pollfd>& watched) const {
  auto until = Deadline::never().when();
  const auto now = Clock::now();
  for (const Guest& guest : guests_) {
    const bool paused = guest.listened_to > now;
    watched.push_back({paused ? -1 : guest.end->socket().get(), POLLIN, 0});
    until = std::min(until, paused ? guest.listened_to : guest.until.when());
  }
  return Deadline::at(until);
}

ListenerGuests::Verdict ListenerGuests::listen_to(Guest& guest) {
  if (guest.listened_to > Clock::now()) return Verdict::undecided;
  const Verdict verdict = guest.encrypting ? shake_hands(guest) : hear(guest);
  return verdict == Verdict::undecided && guest.until.passed() ? Verdict::gone : verdict;
}

ListenerGuests::Verdict ListenerGuests::hear(Guest& guest) {
  using Next = HandshakeStep::Next;
  auto message = guest.end->receive(Deadline::now_or_never(), max_greeting_size);
  if (!message) return message.error() == Errc::timeout ? Verdict::undecided : Verdict::gone;
  if (!message->descriptors.empty()) return Verdict::gone;
  const HandshakeStep step = guest.handshake.step(message->bytes);
  if (!step.say.empty() && !guest.end->send(step.say, {}, Deadline::now_or_never()))
    return Verdict::gone;
  switch (step.next) {
    case Next::listen: return Verdict::undecided;
    case Next::welcome: return Verdict::welcome;
    case Next::refuse: return Verdict::refused;
    case Next::drop: return Verdict::gone;
    case Next::encrypt: break;
  }
  const auto keys = guest.handshake.session_keys();
  if (!keys || !guest.end->start_tls(Side::listener, *keys)) return Verdict::gone;
  guest.encrypting = true;
  return Verdict::undecided;
}

ListenerGuests::Verdict ListenerGuests::shake_hands(Guest& guest) {
  const auto done = guest.end->shake_hands(Deadline::now_or_never());
  if (done) return *done ? Verdict::welcome : Verdict::undecided;
  return done.error() == Errc::auth_failed ? Verdict::refused : Verdict::gone;
}

void ListenerGuests::refuse(const Guest& guest) {
  const auto now = Clock::now();
  refusals_.refused(guest.host, now);
  refused_.store(refusals_.total());
  if (const auto count = refusals_.to_be_told(now)) {
    get_logger().warning("the listener at " + rules_.address + " refused " +
                         std::to_string(*count) + " for their keys, the last " +
                         (guest.from ? "from " + to_string(*guest.from) : "of this host"));
  }
  if (guest.encrypting) return;  // TLS has told it
  guest.end->set_kind(PacketKind::refusal);
  static_cast<void>(guest.end->send({}, {}, Deadline::now_or_never()).is_ok());
}

}  // namespace passel::inline v0::detail
