// Layer transport, tests: the handshake as machines: every order of two and three sessions with an
// attacker between them, and TLS whose bytes are cut, flipped, replayed and exchanged.
#include <passel/authkey.hpp>

#include <gtest/gtest.h>

#include "handshake.hpp"
#include "refusals.hpp"
#include "secure_stream.hpp"
#include "socket_address.hpp"
#include "support/seed.hpp"
#include "tls_channel.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <functional>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace {

using namespace std::chrono_literals;
using passel::AuthKey;
using passel::Errc;
using passel::Result;
using passel::detail::Carrier;
using passel::detail::ClientHandshake;
using passel::detail::crowd_of;
using passel::detail::HandshakeKeys;
using passel::detail::HandshakeStep;
using passel::detail::ListenerHandshake;
using passel::detail::Nonce;
using passel::detail::Refusals;
using passel::detail::Secret;
using passel::detail::SecureStream;
using passel::detail::Side;
using passel::detail::TlsChannel;
using Bytes = std::vector<std::byte>;
using Keys = std::shared_ptr<const HandshakeKeys>;

Keys keys_of(Carrier carrier, const std::vector<AuthKey>& keys) {
  return HandshakeKeys::make(carrier, keys).unwrap();
}

Nonce nonce_of(char letter) {
  Nonce nonce;
  nonce.fill(static_cast<std::byte>(letter));
  return nonce;
}

Bytes bytes_of(std::string_view text) {
  const auto raw = std::as_bytes(std::span{text});
  return {raw.begin(), raw.end()};
}

// ---- every schedule ----------------------------------------------------------------------------

/// One honest session, of either side, and how it ended.
struct Session {
  std::variant<ClientHandshake, ListenerHandshake> machine;
  std::string place;
  bool over = false;
  bool welcome = false;
  [[nodiscard]] bool is_client() const { return machine.index() == 0; }
};

/// Honest sessions that share a key, and an attacker without it who carries all their messages: at
/// each step he gives one of them any message that he has seen, or made of nonces that he knows.
class Schedules {
 public:
  Schedules(const Keys& keys, const std::vector<std::pair<Side, std::string>>& who,
            std::vector<Bytes> known = {}) {
    char letter = 'a';
    std::vector<Session> sessions;
    for (const auto& [side, place] : who) {
      const Nonce nonce = nonce_of(letter++);
      if (side == Side::client) {
        ClientHandshake client{keys, place, nonce};
        known.push_back(client.greeting());
        sessions.push_back({std::move(client), place});
      } else {
        sessions.push_back({ListenerHandshake{keys, place, nonce}, place});
      }
      nonces_.push_back(nonce);
    }
    for (const char other : {'z', 'r', 's'})  // the attacker's own, and those he has heard before
      nonces_.push_back(nonce_of(other));
    explore(sessions, known);
  }

  [[nodiscard]] std::uint64_t ends() const { return ends_; }
  [[nodiscard]] std::uint64_t met() const { return met_; }

 private:
  /// What can be said to a session: what was seen, and greetings with any nonce.
  [[nodiscard]] std::vector<Bytes> words(const Session& session, std::vector<Bytes> known) const {
    for (const Nonce& nonce : nonces_) {
      if (session.is_client())
        known.push_back(greeting_bytes(passel::detail::ListenerGreeting{.nonce = nonce}));
      else
        known.push_back(
            greeting_bytes(passel::detail::ClientGreeting{.has_key = 1, .nonce = nonce}));
    }
    std::sort(known.begin(), known.end());
    known.erase(std::unique(known.begin(), known.end()), known.end());
    return known;
  }

  void explore(const std::vector<Session>& sessions, const std::vector<Bytes>& known) {
    bool all_over = true;
    for (std::size_t who = 0; who < sessions.size(); ++who) {
      if (sessions[who].over) continue;
      all_over = false;
      for (const Bytes& word : words(sessions[who], known)) {
        std::vector<Session> next = sessions;
        Session& hears = next[who];
        const HandshakeStep step =
            std::visit([&](auto& machine) { return machine.step(word); }, hears.machine);
        hears.welcome = step.next == HandshakeStep::Next::welcome;
        hears.over = step.next != HandshakeStep::Next::listen;
        // Whoever dropped the attacker is of no further use to him: that branch ends here.
        if (hears.over && !hears.welcome) continue;
        std::vector<Bytes> more = known;
        if (!step.say.empty()) more.push_back(step.say);
        check(next, who);
        explore(next, more);
      }
    }
    if (all_over) ++ends_;
  }

  /// Who believes that he knows his peer is right: there is one honest session of the other side
  /// that saw the same two nonces at the same place, and nobody else believes to have met it.
  void check(const std::vector<Session>& sessions, std::size_t who) {
    if (!sessions[who].welcome) return;
    std::size_t partners = 0;
    for (std::size_t other = 0; other < sessions.size(); ++other) {
      if (sessions[other].is_client() == sessions[who].is_client()) continue;
      if (transcript(sessions, other) == transcript(sessions, who)) ++partners;
    }
    ASSERT_EQ(partners, 1U) << "session " << who << " met nobody, or too many";
    ++met_;
  }

  [[nodiscard]] std::string transcript(const std::vector<Session>& sessions,
                                       std::size_t who) const {
    const char mine = static_cast<char>(nonces_[who][0]);
    const auto* client = std::get_if<ClientHandshake>(&sessions[who].machine);
    const auto* listener = std::get_if<ListenerHandshake>(&sessions[who].machine);
    const char theirs = static_cast<char>(client != nullptr ? client->listener_nonce()[0]
                                                            : listener->client_nonce()[0]);
    return (client != nullptr ? std::string{mine, theirs} : std::string{theirs, mine}) +
           sessions[who].place;
  }

  std::vector<Nonce> nonces_;
  std::uint64_t ends_ = 0;
  std::uint64_t met_ = 0;
};

/// All that two who know the key have said to each other until both were content.
std::vector<Bytes> recorded(const Keys& keys, const std::string& place) {
  ClientHandshake client{keys, place, nonce_of('r')};
  ListenerHandshake listener{keys, place, nonce_of('s')};
  std::vector<Bytes> said{client.greeting()};
  for (bool to_listener = true;; to_listener = !to_listener) {
    const HandshakeStep step = to_listener ? listener.step(said.back()) : client.step(said.back());
    if (step.say.empty()) return said;
    said.push_back(step.say);
  }
}

TEST(Fault41Replay, EveryScheduleOfWhatWasRecorded) {
  const Keys keys = keys_of(Carrier::host, {AuthKey{"a key that the attacker has not"}});
  constexpr Side c = Side::client;
  constexpr Side l = Side::listener;
  const auto said = recorded(keys, "/run/x");
  EXPECT_GE(said.size(), 3U);
  EXPECT_EQ(Schedules(keys, {{l, "/run/x"}}, said).met(), 0U);
  EXPECT_EQ(Schedules(keys, {{c, "/run/x"}}, said).met(), 0U);
  EXPECT_EQ(Schedules(keys, {{l, "/run/x"}, {l, "/run/x"}}, said).met(), 0U);
  EXPECT_EQ(Schedules(keys, {{c, "/run/x"}, {c, "/run/x"}}, said).met(), 0U);
  EXPECT_GT(Schedules(keys, {{c, "/run/x"}, {l, "/run/x"}}, said).met(), 0U);
}

TEST(Fault42Reflection, EveryScheduleOfTwoSessions) {
  const Keys keys = keys_of(Carrier::host, {AuthKey{"a key that the attacker has not"}});
  constexpr Side c = Side::client;
  constexpr Side l = Side::listener;
  EXPECT_EQ(Schedules(keys, {{c, "/run/x"}, {c, "/run/x"}}).met(), 0U);  // nobody else has the key
  EXPECT_EQ(Schedules(keys, {{l, "/run/x"}, {l, "/run/x"}}).met(), 0U);
  EXPECT_EQ(Schedules(keys, {{c, "/run/x"}, {l, "/run/y"}}).met(), 0U);  // relayed from y to x
  EXPECT_GT(Schedules(keys, {{c, "/run/x"}, {l, "/run/x"}}).met(), 0U);  // he can be a wire
}

TEST(Fault42Reflection, EveryScheduleOfThreeSessions) {
  const Keys keys = keys_of(Carrier::host, {AuthKey{"a key that the attacker has not"}});
  constexpr Side c = Side::client;
  constexpr Side l = Side::listener;
  EXPECT_GT(Schedules(keys, {{c, "/run/x"}, {c, "/run/x"}, {l, "/run/x"}}).met(), 0U);
  EXPECT_GT(Schedules(keys, {{c, "/run/x"}, {l, "/run/x"}, {l, "/run/x"}}).met(), 0U);
  EXPECT_EQ(Schedules(keys, {{c, "/run/x"}, {c, "/run/x"}, {l, "/run/y"}}).met(), 0U);
}

TEST(Handshake, HasNoSecondChances) {
  const Keys keys = keys_of(Carrier::host, {AuthKey{"k"}});
  ListenerHandshake listener{keys, "x", nonce_of('l')};
  EXPECT_EQ(listener.step(bytes_of("GET / HTTP/1.1")).next, HandshakeStep::Next::drop);
  ClientHandshake client{keys, "x", nonce_of('c')};
  EXPECT_EQ(listener.step(client.greeting()).next, HandshakeStep::Next::drop);
  EXPECT_EQ(client.step(bytes_of("nonsense")).next, HandshakeStep::Next::refuse);
  EXPECT_EQ(client.step(greeting_bytes(passel::detail::ListenerGreeting{})).next,
            HandshakeStep::Next::refuse);
}

TEST(Handshake, MoreKeysThanAnybodyNeedsAreRefused) {
  const std::vector<AuthKey> many(9, AuthKey{"k"});
  EXPECT_EQ(HandshakeKeys::make(Carrier::host, many).error(), Errc::invalid_argument);
}

// ---- a stream without a socket ------------------------------------------------------------------

struct TwoStreams {
  TwoStreams(const Keys& a, const Keys& b)
      : client{SecureStream::make(Side::client, a, "x").unwrap()},
        listener{SecureStream::make(Side::listener, b, "x").unwrap()} {}

  /// What one of them has to say, in pieces of that size, to the other one.
  static Result<void> carry(SecureStream& from, SecureStream& to, std::size_t piece) {
    Bytes bytes;
    from.take(bytes);
    for (std::span<const std::byte> rest{bytes}; !rest.empty();) {
      const std::size_t size = std::min(piece, rest.size());
      PASSEL_CHECK(to.feed(rest.first(size)));
      rest = rest.subspan(size);
    }
    return {};
  }
  Result<void> meet(std::size_t piece = 100'000) {
    for (int round = 0; round < 4; ++round) {
      PASSEL_CHECK(carry(*client, *listener, piece));
      PASSEL_CHECK(carry(*listener, *client, piece));
    }
    return {};
  }
  static std::string read_all(SecureStream& stream) {
    std::string out;
    std::array<std::byte, 1000> buffer;
    while (true) {
      const auto count = stream.read(buffer);
      if (!count || *count == 0) return out;
      out.append(reinterpret_cast<const char*>(buffer.data()), *count);
    }
  }
  std::unique_ptr<SecureStream> client;
  std::unique_ptr<SecureStream> listener;
};

const AuthKey right{"the right key, which is long enough"};
const AuthKey wrong{"the wrong key, which is long enough"};

class StreamOver : public testing::TestWithParam<Carrier> {};
INSTANTIATE_TEST_SUITE_P(Carriers, StreamOver, testing::Values(Carrier::host, Carrier::network),
                         [](const auto& one) {
                           return one.param == Carrier::host ? "Host" : "Network";
                         });

TEST_P(StreamOver, CarriesBytesHoweverTheyAreCut) {
  for (const std::size_t piece : {1U, 2U, 5U, 17U, 64U, 1000U, 100'000U}) {
    TwoStreams two{keys_of(GetParam(), {right}), keys_of(GetParam(), {wrong, right})};
    EXPECT_EQ(two.client->write(bytes_of("too early")).error(), Errc::invalid_state);
    two.meet(piece).unwrap();
    ASSERT_TRUE(two.client->established() && two.listener->established());
    EXPECT_EQ(two.client->encrypts(), GetParam() == Carrier::network);
    const std::string large(50'000, 'x');
    two.client->write(bytes_of("hello")).unwrap();
    two.client->write(bytes_of(large)).unwrap();
    two.listener->write(bytes_of("to you, too")).unwrap();
    two.meet(piece).unwrap();
    EXPECT_EQ(TwoStreams::read_all(*two.listener), "hello" + large);
    EXPECT_EQ(TwoStreams::read_all(*two.client), "to you, too");
  }
}

TEST_P(StreamOver, AWrongKeyIsRefusedInTheSameWords) {
  TwoStreams two{keys_of(GetParam(), {wrong}), keys_of(GetParam(), {right})};
  EXPECT_EQ(two.meet().error().to_string(), "auth_failed: authentication failed");
  EXPECT_FALSE(two.client->established());
  EXPECT_FALSE(two.listener->established());
  const auto told = TwoStreams::carry(*two.listener, *two.client, 1);
  EXPECT_EQ(told.error().to_string(), "auth_failed: authentication failed");
}

TEST_P(StreamOver, NoKeyWhereOneIsWantedAndOneWhereNoneIs) {
  TwoStreams without{keys_of(GetParam(), {}), keys_of(GetParam(), {right})};
  EXPECT_EQ(without.meet().error(), Errc::auth_failed);
  TwoStreams with{keys_of(GetParam(), {right}), keys_of(GetParam(), {})};
  EXPECT_EQ(with.meet().error(), Errc::auth_failed);
  TwoStreams neither{keys_of(GetParam(), {}), keys_of(GetParam(), {})};
  neither.client->write(bytes_of("at once")).unwrap();
  neither.meet(3).unwrap();
  EXPECT_EQ(TwoStreams::read_all(*neither.listener), "at once");
}

/// The bytes of one side of a meeting, in the order in which they were said.
struct Recorded {
  explicit Recorded(Carrier carrier) {
    TwoStreams two{keys_of(carrier, {right}), keys_of(carrier, {right})};
    for (int round = 0; round < 4; ++round) {
      Bytes said;
      two.client->take(said);
      if (!said.empty()) two.listener->feed(said).unwrap();
      whole.insert(whole.end(), said.begin(), said.end());
      TwoStreams::carry(*two.listener, *two.client, 1000).unwrap();
    }
  }
  Bytes whole;
};

TEST_P(StreamOver, Fault41AReplayedHandshakeIsRefused) {
  const Recorded recorded{GetParam()};
  TwoStreams two{keys_of(GetParam(), {right}), keys_of(GetParam(), {right})};
  const auto fed = two.listener->feed(recorded.whole);
  EXPECT_EQ(fed.error(), Errc::auth_failed);
  EXPECT_FALSE(two.listener->established());
}

TEST_P(StreamOver, Fault44CutAtEveryByteNobodyIsLetIn) {
  // Of each cut the listener sees the beginning; without the rest there is no peer.
  const Keys keys = keys_of(GetParam(), {right});
  std::size_t length = 0;
  for (std::size_t cut = 0; cut == 0 || cut < length; ++cut) {
    TwoStreams two{keys, keys};
    std::size_t carried = 0;
    for (int round = 0; round < 4; ++round) {
      Bytes said;
      two.client->take(said);
      const std::size_t passes = std::min(said.size(), cut > carried ? cut - carried : 0);
      if (length == 0 || cut > carried) two.listener->feed(std::span{said}.first(passes)).unwrap();
      carried += said.size();
      TwoStreams::carry(*two.listener, *two.client, 1000).unwrap();
    }
    ASSERT_FALSE(two.listener->established()) << "cut at " << cut;
    if (length == 0) length = Recorded{GetParam()}.whole.size();
  }
  EXPECT_GT(length, 100U);
}

/// Bytes that mean nothing: the version of a TLS record in the clear, which everybody has to ignore
/// (RFC 8446, 5.1). TLS begins after the greeting.
std::set<std::size_t> bytes_without_meaning(const Bytes& said) {
  std::set<std::size_t> out;
  constexpr std::size_t greeting = 16 + sizeof(passel::detail::ClientGreeting);
  for (std::size_t at = greeting; at + 5 <= said.size();) {
    const bool clear = said[at] == std::byte{20} || said[at] == std::byte{22};
    if (clear) out.insert({at + 1, at + 2});
    at += 5 + (std::to_integer<std::size_t>(said[at + 3]) << 8 |
               std::to_integer<std::size_t>(said[at + 4]));
  }
  return out;
}

TEST_P(StreamOver, Fault46EveryFlippedBitOfTheHandshakeIsNoticed) {
  const Keys keys = keys_of(GetParam(), {right});
  const Bytes whole = Recorded{GetParam()}.whole;
  const std::size_t length = whole.size();
  std::set<std::size_t> meaningless;
  if (GetParam() == Carrier::network) meaningless = bytes_without_meaning(whole);
  EXPECT_LE(meaningless.size(), 4U);
  for (std::size_t bit = 0; bit < length * 8; ++bit) {
    if (meaningless.contains(bit / 8)) continue;
    TwoStreams two{keys, keys};
    std::size_t carried = 0;
    bool failed = false;
    for (int round = 0; round < 4 && !failed; ++round) {
      Bytes said;
      two.client->take(said);
      if (bit / 8 >= carried && bit / 8 < carried + said.size())
        said[bit / 8 - carried] ^= std::byte{1} << (bit % 8);
      carried += said.size();
      failed = !two.listener->feed(said);
      if (!failed) failed = !TwoStreams::carry(*two.listener, *two.client, 1000);
    }
    // A length that grew waits for bytes that never come, and is dropped by the clock.
    ASSERT_FALSE(two.listener->established() && two.client->established()) << "bit " << bit;
  }
}

TEST_P(StreamOver, Fault45LengthsThatAreLiesTakeNoMemory) {
  for (const std::uint64_t length :
       {std::uint64_t{257}, std::uint64_t{1} << 31, std::uint64_t{1} << 63, ~std::uint64_t{0}}) {
    for (const Side side : {Side::client, Side::listener}) {
      auto stream = SecureStream::make(side, keys_of(GetParam(), {right})).unwrap();
      Bytes header(16);
      std::memcpy(header.data(), &length, sizeof length);
      header[14] = std::byte{2};
      EXPECT_EQ(stream->feed(header).error(), Errc::auth_failed) << length;
    }
  }
}

// ---- TLS ----------------------------------------------------------------------------------------

struct TwoChannels {
  TwoChannels(const Secret& a, const std::vector<Secret>& b)
      : client{TlsChannel::make(Side::client, {&a, 1}).unwrap()},
        listener{TlsChannel::make(Side::listener, b).unwrap()} {}
  explicit TwoChannels(const Secret& both) : TwoChannels{both, {both}} {
    EXPECT_FALSE(client->shake_hands().unwrap());
    carry(*client, *listener);
    EXPECT_FALSE(listener->shake_hands().unwrap());
    carry(*listener, *client);
    EXPECT_TRUE(client->shake_hands().unwrap());
    carry(*client, *listener);
    EXPECT_TRUE(listener->shake_hands().unwrap());
  }
  static Bytes said_by(TlsChannel& channel) {
    Bytes bytes;
    channel.take(bytes);
    return bytes;
  }
  static void carry(TlsChannel& from, TlsChannel& to) {
    const Bytes bytes = said_by(from);
    for (std::span<const std::byte> rest{bytes}; !rest.empty();) {
      const std::size_t piece = std::min(rest.size(), to.wanted().unwrap());
      to.put(rest.first(piece));
      rest = rest.subspan(piece);
    }
  }
  static Result<std::string> read(TlsChannel& channel) {
    std::array<std::byte, 20'000> buffer;
    PASSEL_TRY(const std::size_t count, channel.read(buffer));
    return std::string{reinterpret_cast<const char*>(buffer.data()), count};
  }
  std::unique_ptr<TlsChannel> client;
  std::unique_ptr<TlsChannel> listener;
};

Secret secret_of(char letter) {
  Secret secret;
  secret.fill(static_cast<std::byte>(letter));
  return secret;
}

TEST(TlsChannel, AgreesOnlyOverAKeyOfBoth) {
  TwoChannels two{secret_of('a'), {secret_of('b'), secret_of('c')}};
  EXPECT_FALSE(two.client->shake_hands().unwrap());
  TwoChannels::carry(*two.client, *two.listener);
  EXPECT_EQ(two.listener->shake_hands().error(), Errc::auth_failed);
  TwoChannels::carry(*two.listener, *two.client);
  EXPECT_EQ(two.client->shake_hands().error(), Errc::auth_failed);
}

TEST(TlsChannel, ALengthThatNoRecordHasIsRefused) {
  const TwoChannels two{secret_of('a'), {secret_of('a')}};
  const std::array<std::byte, 5> header{std::byte{23}, std::byte{3}, std::byte{3}, std::byte{0xff},
                                        std::byte{0xff}};
  two.listener->put(header);
  EXPECT_EQ(two.listener->wanted().error(), Errc::malformed);
}

TEST(TlsChannel, BeforeTheProofLittleIsTaken) {
  const TwoChannels two{secret_of('a'), {secret_of('a')}};
  // The beginning of a greeting that would be 16 KiB long.
  std::array<std::byte, 5> header{std::byte{22}, std::byte{3}, std::byte{1}, std::byte{0x40}};
  EXPECT_EQ(two.listener->feed(header).error(), Errc::malformed);
  const TwoChannels again{secret_of('a'), {secret_of('a')}};
  Bytes pieces;
  // A greeting in pieces of one record each, which never ends.
  Bytes record(5 + 1024);
  record[0] = std::byte{22};
  record[1] = std::byte{3};
  record[2] = std::byte{1};
  record[3] = std::byte{4};
  record[5] = std::byte{1};
  record[7] = std::byte{0x3f};
  for (int i = 0; i < 5; ++i) pieces.insert(pieces.end(), record.begin(), record.end());
  EXPECT_FALSE(again.listener->feed(pieces).is_ok());
}

TEST(TlsChannel, ChangesItsKeyInTheMiddle) {
  TwoChannels two{secret_of('a')};
  for (int round = 0; round < 3; ++round) {
    two.client->renew_key();
    two.client->write(bytes_of("after it")).unwrap();
    two.listener->write(bytes_of("and back")).unwrap();
    TwoChannels::carry(*two.client, *two.listener);
    TwoChannels::carry(*two.listener, *two.client);
    std::string got;
    while (got.empty()) got = TwoChannels::read(*two.listener).unwrap();
    EXPECT_EQ(got, "after it");
    got.clear();
    while (got.empty()) got = TwoChannels::read(*two.client).unwrap();
    EXPECT_EQ(got, "and back");
  }
}

TEST(TlsChannel, Fault41ARecordThatCameBeforeIsRefused) {
  TwoChannels two{secret_of('a')};
  two.client->write(bytes_of("pay 10")).unwrap();
  const Bytes record = TwoChannels::said_by(*two.client);
  two.listener->feed(record).unwrap();
  EXPECT_EQ(TwoChannels::read(*two.listener).unwrap(), "pay 10");
  two.listener->feed(record).unwrap();
  EXPECT_EQ(TwoChannels::read(*two.listener).error(), Errc::malformed);
}

TEST(TlsChannel, Fault42RecordsAreOfTheirSessionAndTheirDirection) {
  TwoChannels one{secret_of('a')};
  TwoChannels other{secret_of('a')};
  one.client->write(bytes_of("x")).unwrap();
  const Bytes record = TwoChannels::said_by(*one.client);
  other.listener->feed(record).unwrap();
  EXPECT_EQ(TwoChannels::read(*other.listener).error(), Errc::malformed);
  one.client->feed(record).unwrap();
  EXPECT_EQ(TwoChannels::read(*one.client).error(), Errc::malformed);
}

TEST(TlsChannel, Fault44ACutRecordIsNoMessage) {
  for (std::size_t cut = 0;; ++cut) {
    TwoChannels two{secret_of('a')};
    two.client->write(bytes_of("hello")).unwrap();
    const Bytes record = TwoChannels::said_by(*two.client);
    if (cut == record.size()) break;
    two.listener->feed(std::span{record}.first(cut)).unwrap();
    EXPECT_EQ(TwoChannels::read(*two.listener).unwrap(), "") << cut;
  }
}

TEST(TlsChannel, Fault46EveryFlippedBitOfARecordIsNoticed) {
  std::size_t bits = 1;
  for (std::size_t bit = 0; bit < bits; ++bit) {
    TwoChannels two{secret_of('a')};
    two.client->write(bytes_of("hello")).unwrap();
    Bytes record = TwoChannels::said_by(*two.client);
    bits = record.size() * 8;
    record[bit / 8] ^= std::byte{1} << (bit % 8);
    const auto fed = two.listener->feed(record);
    const auto got = TwoChannels::read(*two.listener);
    // A record that became longer waits for the rest; every other one is an error.
    ASSERT_TRUE(!fed || !got || got->empty()) << "bit " << bit;
  }
  EXPECT_GT(bits, 150U);
}

// ---- who guesses --------------------------------------------------------------------------------

TEST(Fault40WrongKey, WhoGuessesGetsSlower) {
  Refusals refusals;
  Refusals::Clock::time_point now{};
  for (int i = 0; i < 3; ++i) refusals.refused("10.0.0.1", now);
  EXPECT_EQ(refusals.listened_to("10.0.0.1", now), now);
  std::vector<std::chrono::milliseconds> pauses;
  for (int i = 0; i < 9; ++i) {
    refusals.refused("10.0.0.1", now);
    const auto until = refusals.listened_to("10.0.0.1", now);
    pauses.push_back(std::chrono::duration_cast<std::chrono::milliseconds>(until - now));
    now = until;
  }
  EXPECT_EQ(pauses, (std::vector{10ms, 20ms, 40ms, 80ms, 160ms, 320ms, 640ms, 1000ms, 1000ms}));
  EXPECT_EQ(refusals.listened_to("10.0.0.2", now), now);  // nobody else waits
  refusals.let_in("10.0.0.1");
  refusals.refused("10.0.0.1", now);
  EXPECT_EQ(refusals.listened_to("10.0.0.1", now), now);
}

TEST(Fault40WrongKey, AnHourWithoutOneIsForgotten) {
  Refusals refusals;
  Refusals::Clock::time_point now{};
  for (int i = 0; i < 4; ++i) refusals.refused("10.0.0.1", now);
  EXPECT_GT(refusals.listened_to("10.0.0.1", now), now);
  now += Refusals::forgotten_after;
  refusals.refused("10.0.0.1", now);
  EXPECT_EQ(refusals.listened_to("10.0.0.1", now), now);
}

TEST(Fault40WrongKey, WhoeverHasAWholeNetworkOfAddressesCountsAsOne) {
  EXPECT_EQ(crowd_of("10.0.0.1"), "10.0.0.1");
  EXPECT_EQ(crowd_of("::ffff:10.0.0.1"), "10.0.0.1");
  EXPECT_EQ(crowd_of("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::/64");
  EXPECT_EQ(crowd_of("2001:db8:1:2::7"), "2001:db8:1:2::/64");
  EXPECT_NE(crowd_of("2001:db8:1:3::7"), crowd_of("2001:db8:1:2::7"));
}

TEST(Fault40WrongKey, OneLineInASecondCountsAllOfThem) {
  Refusals refusals;
  Refusals::Clock::time_point now{};
  std::uint64_t told = 0;
  int lines = 0;
  for (int i = 0; i < 10'000; ++i, now += 1ms) {
    refusals.refused("", now);
    if (const auto count = refusals.to_be_told(now)) {
      told += *count;
      ++lines;
    }
  }
  EXPECT_EQ(lines, 10);
  now += 1s;
  told += refusals.to_be_told(now).value_or(0);
  EXPECT_EQ(told, 10'000U);
  EXPECT_EQ(refusals.to_be_told(now + 1h), std::nullopt);
}

TEST(Fault40WrongKey, AMillionHostsTakeNoMoreMemoryThanAThousand) {
  Refusals refusals;
  Refusals::Clock::time_point now{};
  for (int host = 0; host < 5000; ++host, now += 1ms) refusals.refused(std::to_string(host), now);
  EXPECT_EQ(refusals.hosts(), Refusals::most_hosts);
  EXPECT_EQ(refusals.total(), 5000U);
}

}  // namespace
