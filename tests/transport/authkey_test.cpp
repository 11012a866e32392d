// Layer transport, tests: connections whose both ends have to know a key, and those who do not.
#include <passel/authkey.hpp>
#include <passel/client.hpp>
#include <passel/listener.hpp>
#include <passel/log.hpp>
#include <passel/pipe.hpp>

#include <gtest/gtest.h>

#include "key_proof.hpp"
#include "middle.hpp"
#include "support/blocked_thread.hpp"
#include "support/process_census.hpp"

#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <set>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace std::chrono_literals;
using passel::Address;
using passel::AuthKey;
using passel::Client;
using passel::Connection;
using passel::Errc;
using passel::Error;
using passel::Listener;
using passel::PlaintextTcp;
using passel::TcpAddress;
using passel::UnixAddress;
using passel::detail::Secret;
using passel::detail::Side;
using passel_test::BlockedThread;
using passel_test::Middle;
using passel_test::ProcessCensus;

const AuthKey right{"the right key, which is long enough"};
const AuthKey wrong{"the wrong key, which is long enough"};

static_assert(!passel::Encodable<AuthKey>, "a key must not travel");

/// Accepts in a thread until it is closed; what was accepted echoes one message.
struct Server {
  explicit Server(Listener opened) : listener{std::move(opened)} {
    thread = std::thread{[this] {
      while (auto line = listener.accept()) {
        while (auto message = line->recv_bytes())
          static_cast<void>(line->send_bytes(*message).is_ok());
      }
    }};
  }
  ~Server() {
    listener.close();
    thread.join();
  }
  Listener listener;
  std::thread thread;
};

class KeyedListener : public testing::TestWithParam<Address> {
 protected:
  [[nodiscard]] static Listener open(const std::optional<AuthKey>& key) {
    return Listener::open(GetParam(),
                          {.authkey = key, .insecure_plaintext = PlaintextTcp::on_loopback})
        .unwrap();
  }
  [[nodiscard]] static passel::Result<Connection> connect(const Server& server,
                                                          const std::optional<AuthKey>& key) {
    return Client::connect(server.listener.address(),
                           {.authkey = key, .insecure_plaintext = PlaintextTcp::on_loopback});
  }
};
INSTANTIATE_TEST_SUITE_P(Addresses, KeyedListener,
                         testing::Values(Address{UnixAddress{}}, Address{TcpAddress{}}),
                         [](const auto& address) {
                           return address.param.index() == 0 ? "Unix" : "Tls";
                         });

TEST_P(KeyedListener, BothKnowTheKey) {
  const auto before = ProcessCensus::take();
  for (const AuthKey& key : {right, AuthKey{""}, AuthKey{"abc"}, AuthKey::generate()}) {
    Server server{open(key)};
    Connection line = connect(server, key).unwrap();
    line.send_bytes("hello").unwrap();
    EXPECT_EQ(line.recv_bytes().unwrap().size(), 5U);
    EXPECT_FALSE(line.poll().unwrap());
    line.send_bytes("").unwrap();
    EXPECT_EQ(line.recv_bytes().unwrap().size(), 0U);
    std::vector<std::byte> large(std::size_t{3} << 20);
    for (std::size_t i = 0; i < large.size(); ++i) large[i] = static_cast<std::byte>(i * 7);
    line.send_bytes(large).unwrap();
    EXPECT_EQ(line.recv_bytes().unwrap(), large);
    EXPECT_FALSE(line.poll().unwrap());
    EXPECT_EQ(line.recv_bytes_for(1ms).error(), Errc::timeout);
    EXPECT_EQ(server.listener.rejected(), 0U);
  }
  EXPECT_EQ(ProcessCensus::settle(before), "");
}

TEST_P(KeyedListener, WrongKeysAreTurnedAwayAndServedClientsAreNot) {
  Server server{open(right)};
  for (int i = 0; i < 3; ++i)
    EXPECT_EQ(connect(server, wrong).error().to_string(), "auth_failed: authentication failed");
  EXPECT_EQ(connect(server, AuthKey{""}).error(), Errc::auth_failed);
  Connection line = connect(server, right).unwrap();
  line.send_bytes("x").unwrap();
  EXPECT_EQ(line.recv_bytes().unwrap().size(), 1U);
  EXPECT_EQ(server.listener.rejected(), 4U);
}

TEST_P(KeyedListener, FormerKeysAreAcceptedUntilEverybodyHasTheNewOne) {
  const AuthKey older{"an even older key, long enough"};
  Server server{
      Listener::open(GetParam(), {.authkey = right, .former_authkeys = {wrong, older}}).unwrap()};
  for (const AuthKey& key : {right, wrong, older}) {
    Connection line = connect(server, key).unwrap();
    line.send_bytes("x").unwrap();
    EXPECT_EQ(line.recv_bytes().unwrap().size(), 1U);
  }
  EXPECT_EQ(connect(server, AuthKey{"a key that was never right"}).error(), Errc::auth_failed);
}

TEST_P(KeyedListener, FormerKeysNeedAPresentOneAndAreNotMany) {
  EXPECT_EQ(Listener::open(GetParam(), {.former_authkeys = {right}}).error(),
            Errc::invalid_argument);
  const std::vector<AuthKey> many(8, wrong);
  EXPECT_EQ(
      Listener::open(GetParam(), {.authkey = right, .former_authkeys = many}).error().to_string(),
      "invalid_argument: 9 authkeys at once, limit 8");
}

TEST_P(KeyedListener, AClientWithoutAKeyIsToldSo) {
  Server server{open(right)};
  Connection line = connect(server, std::nullopt).unwrap();
  EXPECT_EQ(line.recv<int>().error(), Errc::auth_failed);
}

TEST_P(KeyedListener, AClientWithAKeyFailsAtOnceWhereNobodyHasOne) {
  Server server{open(std::nullopt)};
  EXPECT_EQ(connect(server, right).error(), Errc::auth_failed);
}

TEST_P(KeyedListener, ConnectingHasADeadline) {
  Listener nobody_accepts = open(right);
  EXPECT_EQ(Client::connect_for(nobody_accepts.address(), 1ms, {.authkey = right}).error(),
            Errc::timeout);
}

TEST_P(KeyedListener, OneWhoStopsInTheMiddleHoldsUpNobody) {
  Server server{open(right)};
  // Greets like one with a key, and then says nothing.
  std::vector<int> silent;
  for (int i = 0; i < 10; ++i) {
    const Address address = server.listener.address();
    int fd = -1;
    if (const auto* file = std::get_if<UnixAddress>(&address)) {
      fd = ::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
      sockaddr_un raw{};
      raw.sun_family = AF_UNIX;
      std::memcpy(raw.sun_path, file->path.data(), file->path.size());
      ASSERT_EQ(::connect(fd, reinterpret_cast<sockaddr*>(&raw), sizeof raw), 0);
    } else {
      fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
      sockaddr_in raw{};
      raw.sin_family = AF_INET;
      raw.sin_port = htons(std::get<TcpAddress>(address).port);
      raw.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
      ASSERT_EQ(::connect(fd, reinterpret_cast<sockaddr*>(&raw), sizeof raw), 0);
    }
    std::string greeting(16 + 48, '\0');
    greeting[0] = 48;
    greeting[14] = 2;
    greeting.replace(16, 8, "passelc1");
    greeting[24] = 1;
    ASSERT_EQ(::send(fd, greeting.data(), greeting.size(), MSG_NOSIGNAL), 64);
    silent.push_back(fd);
  }
  Connection line = connect(server, right).unwrap();
  line.send_bytes("x").unwrap();
  EXPECT_EQ(line.recv_bytes().unwrap().size(), 1U);
  for (const int fd : silent) ::close(fd);
}

TEST_P(KeyedListener, TheEndOfTheOtherEnd) {
  Listener listener = open(right);
  Connection there;
  std::thread client{
      [&] { there = Client::connect(listener.address(), {.authkey = right}).unwrap(); }};
  Connection here = listener.accept().unwrap();
  client.join();
  there.send(7).unwrap();
  there.close();
  EXPECT_EQ(here.recv<int>().unwrap(), 7);
  EXPECT_EQ(here.recv<int>().error(), Errc::closed);
}

TEST(TlsConnection, StaysInItsProcessAndCarriesNoHandles) {
  Server server{Listener::open(TcpAddress{}, {.authkey = right}).unwrap()};
  Connection line = Client::connect(server.listener.address(), {.authkey = right}).unwrap();
  auto [here, there] = passel::Pipe::create().unwrap();
  EXPECT_EQ(line.send(there).error(), Errc::unsupported);
  here.send(line).unwrap();
  EXPECT_EQ(there.recv<Connection>().error(), Errc::unsupported);
  line.send_bytes("x").unwrap();
  EXPECT_EQ(line.recv_bytes().unwrap().size(), 1U);
}

TEST(TlsConnection, MayListenEverywhere) {
  Listener listener = Listener::open(TcpAddress{"0.0.0.0", 0}, {.authkey = right}).unwrap();
  EXPECT_NE(std::get<TcpAddress>(listener.address()).port, 0);
}

TEST(ManInTheMiddle, SeesNothingAndIsNoticedWhenHeChangesAByte) {
  Server server{Listener::open(TcpAddress{}, {.authkey = right}).unwrap()};
  const std::uint16_t port = std::get<TcpAddress>(server.listener.address()).port;
  std::string seen;
  std::atomic<bool> flip = false;
  Middle middle{port, [&](std::string& bytes, bool from_client) {
                  seen += bytes;
                  if (flip && !from_client) bytes[bytes.size() / 2] ^= 1;
                }};
  Connection line =
      Client::connect(TcpAddress{"127.0.0.1", middle.port}, {.authkey = right}).unwrap();
  line.send(std::string{"a secret for two"}).unwrap();
  EXPECT_EQ(line.recv<std::string>().unwrap(), "a secret for two");
  EXPECT_EQ(seen.find("secret"), std::string::npos);
  flip = true;
  line.send(std::string{"again"}).unwrap();
  EXPECT_EQ(line.recv<std::string>().error(), Errc::malformed);
}

TEST(ManInTheMiddle, CannotCutWithoutBeingNoticed) {
  Server server{Listener::open(TcpAddress{}, {.authkey = right}).unwrap()};
  const std::uint16_t port = std::get<TcpAddress>(server.listener.address()).port;
  std::atomic<bool> cut = false;
  Middle middle{port, [&](std::string& bytes, bool) {
                  if (cut) bytes.clear();
                }};
  Connection line =
      Client::connect(TcpAddress{"127.0.0.1", middle.port}, {.authkey = right}).unwrap();
  cut = true;
  line.send(1).unwrap();
  EXPECT_EQ(line.recv<int>().error(), Errc::peer_lost);
}

TEST(ManInTheMiddle, CannotChangeTheGreeting) {
  for (const std::size_t at : {16 + 30U, 16 + 47U}) {
    Server server{Listener::open(TcpAddress{}, {.authkey = right}).unwrap()};
    const std::uint16_t port = std::get<TcpAddress>(server.listener.address()).port;
    bool first = true;
    Middle middle{port, [&](std::string& bytes, bool from_client) {
                    if (std::exchange(first, false) && from_client) bytes[at] ^= 1;
                  }};
    EXPECT_EQ(Client::connect(TcpAddress{"127.0.0.1", middle.port}, {.authkey = right}).error(),
              Errc::auth_failed);
  }
}

/// A listener without the key, which has two clients and lets each answer for it to the other.
TEST(Reflection, AProofOfOneSideIsNoProofOfTheOther) {
  const Secret secret = passel::detail::derive_key(right.bytes(), "x").unwrap();
  const auto a = passel::detail::fresh_nonce();
  const auto b = passel::detail::fresh_nonce();
  std::set<passel::detail::Proof> proofs;
  for (const Side side : {Side::client, Side::listener}) {
    proofs.insert(passel::detail::prove(secret, side, a, b, "x").unwrap());
    proofs.insert(passel::detail::prove(secret, side, b, a, "x").unwrap());
    proofs.insert(passel::detail::prove(secret, side, a, a, "x").unwrap());
    proofs.insert(passel::detail::prove(secret, side, a, b, "y").unwrap());
  }
  EXPECT_EQ(proofs.size(), 8U);
}

struct FakeListener {
  FakeListener() {
    std::string name = "/tmp/passel-test-XXXXXX";
    directory = ::mkdtemp(name.data());
    path = directory + "/x.sock";
    door = ::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    sockaddr_un raw{};
    raw.sun_family = AF_UNIX;
    std::memcpy(raw.sun_path, path.data(), path.size());
    EXPECT_EQ(::bind(door, reinterpret_cast<sockaddr*>(&raw), sizeof raw), 0);
    EXPECT_EQ(::listen(door, 8), 0);
  }
  ~FakeListener() {
    ::close(door);
    ::unlink(path.c_str());
    ::rmdir(directory.c_str());
  }
  std::string directory;
  std::string path;
  int door = -1;
};

std::string hear(int fd) {
  std::array<char, 512> buffer;
  const ssize_t got = ::recv(fd, buffer.data(), buffer.size(), 0);
  return {buffer.data(), static_cast<std::size_t>(std::max<ssize_t>(got, 0))};
}

std::string framed(const std::string& body) {
  std::string out(16, '\0');
  out[0] = static_cast<char>(body.size());
  out[14] = 2;
  return out + body;
}

TEST(Reflection, AFakeListenerGetsNowhere) {
  const FakeListener fake;
  const auto attempt = [&](auto&& answer) {
    Error error{Errc::system, "connected"};
    std::thread client{[&] {
      auto line = Client::connect(UnixAddress{fake.path}, {.authkey = right});
      if (!line) error = line.error();
    }};
    const int fd = ::accept4(fake.door, nullptr, nullptr, SOCK_CLOEXEC);
    const std::string greeting = hear(fd);  // 16 of header, 16 of text, 32 of nonce
    const std::string echoed = framed("passell1" + greeting.substr(32));
    ::send(fd, echoed.data(), echoed.size(), MSG_NOSIGNAL);
    const std::string proof = hear(fd);
    EXPECT_EQ(proof.size(), 48U);
    const std::string said = answer(proof);
    ::send(fd, said.data(), said.size(), MSG_NOSIGNAL);
    client.join();
    ::close(fd);
    return error;
  };
  EXPECT_EQ(attempt([](const std::string& proof) { return proof; }), Errc::auth_failed);
  EXPECT_EQ(attempt([](const std::string&) { return framed(std::string(32, '\0')); }),
            Errc::auth_failed);
  EXPECT_EQ(attempt([](const std::string&) { return framed(""); }), Errc::auth_failed);
  EXPECT_EQ(attempt([](const std::string&) { return std::string(200, '\xff'); }),
            Errc::auth_failed);
}

TEST(Reflection, ARecordedHandshakeIsOfNoUse) {
  Listener listener = Listener::open(UnixAddress{}, {.authkey = right}).unwrap();
  const std::string path = std::get<UnixAddress>(listener.address()).path;
  const auto dial = [&] {
    const int fd = ::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    sockaddr_un raw{};
    raw.sun_family = AF_UNIX;
    std::memcpy(raw.sun_path, path.data(), path.size());
    EXPECT_EQ(::connect(fd, reinterpret_cast<sockaddr*>(&raw), sizeof raw), 0);
    return fd;
  };
  const Secret secret =
      passel::detail::derive_key(right.bytes(), passel::detail::unix_key_purpose).unwrap();
  const std::string mine(32, 'n');
  std::string greeting = "passelc1";
  greeting += '\1';
  greeting += std::string(7, '\0') + mine;
  std::string recorded;
  for (int round = 0; round < 2; ++round) {
    const int fd = dial();
    const std::string said = framed(greeting);
    ::send(fd, said.data(), said.size(), MSG_NOSIGNAL);
    EXPECT_EQ(listener.try_accept().error(), Errc::empty);
    const std::string challenge = hear(fd);
    ASSERT_EQ(challenge.size(), 16U + 40U);
    if (round == 0) {  // one who knows the key
      passel::detail::Nonce ours;
      passel::detail::Nonce theirs;
      std::memcpy(ours.data(), mine.data(), 32);
      std::memcpy(theirs.data(), challenge.data() + 24, 32);
      const auto proof = passel::detail::prove(secret, Side::client, ours, theirs, path).unwrap();
      recorded = framed({reinterpret_cast<const char*>(proof.data()), proof.size()});
    }
    ::send(fd, recorded.data(), recorded.size(), MSG_NOSIGNAL);
    EXPECT_EQ(listener.try_accept().is_ok(), round == 0);
    ::close(fd);
  }
  EXPECT_EQ(listener.rejected(), 1U);
}

TEST(AuthKeys, AreSecretAndCompared) {
  EXPECT_EQ(AuthKey::generate().bytes().size(), 32U);
  EXPECT_FALSE(AuthKey::generate() == AuthKey::generate());
  EXPECT_TRUE(AuthKey{"x"} == AuthKey{"x"});
  EXPECT_FALSE(AuthKey{"x"} == AuthKey{"xy"});
  EXPECT_EQ(right.to_string(), "<AuthKey of 35 bytes>");
  AuthKey copied = right;
  copied = wrong;
  EXPECT_TRUE(copied == wrong);
  const AuthKey mine = passel::authkey();
  EXPECT_EQ(mine.bytes().size(), 32U);
  EXPECT_TRUE(mine == passel::authkey());
}

std::string hex(std::span<const std::byte> bytes) {
  std::string out;
  for (const std::byte byte : bytes) {
    out += "0123456789abcdef"[std::to_integer<unsigned>(byte) >> 4];
    out += "0123456789abcdef"[std::to_integer<unsigned>(byte) & 15U];
  }
  return out;
}

// Computed by another implementation of HKDF (RFC 5869) and scrypt (RFC 7914).
TEST(AuthKeys, OfDifferentPurposesHaveNothingInCommon) {
  EXPECT_EQ(hex(passel::detail::derive_key(right.bytes(), "passel/v1/unix").unwrap()),
            "84fb03b50ea8bf4dec2db883df0ea7b8d0bf5e631b3f14609154d88aa2352341");
  EXPECT_EQ(hex(passel::detail::derive_network_key(right).unwrap()),
            "58260845ef35b4f54b01354c0c4a5ca1335efa2c999e9aa982e59f9f4be6fc31");
  EXPECT_EQ(hex(passel::detail::derive_network_key(AuthKey{"abc"}).unwrap()),
            "0cf988359bd7217600ab1cffc9a6bc36ba210a0a55e8591b770f7ae6b885d43c");
}

// Computed by Python's hmac and hashlib.sha256.
TEST(AuthKeys, AProofIsHmacSha256OverTheSideTheNumbersAndThePlace) {
  using passel::detail::Side;
  passel::detail::Secret secret;
  for (std::size_t i = 0; i < secret.size(); ++i) secret[i] = static_cast<std::byte>(i);
  passel::detail::Nonce client;
  passel::detail::Nonce listener;
  client.fill(std::byte{1});
  listener.fill(std::byte{2});
  const auto proof = [&](Side side) {
    return hex(passel::detail::prove(secret, side, client, listener, "/run/a.socket").unwrap());
  };
  EXPECT_EQ(proof(Side::client),
            "81e230d0f19b5607dab2d0c63f90b013bdf8dad5f7a2a4f57a1d09f558816256");
  EXPECT_EQ(proof(Side::listener),
            "aca3194ba69c63a578a3a097f50d6f60d1a25285fd083b29e9534d2aba3cb230");
}

TEST(AuthKeys, ShortOnesAreStretchedOnceAndWarnedOf) {
  const AuthKey phrase{"short and unique"};
  ASSERT_EQ(phrase.bytes().size(), 16U);
  std::vector<std::string> lines;
  passel::set_log_sink([&](const passel::LogRecord& record) { lines.push_back(record.text); });
  const auto whole = passel::detail::derive_network_key(phrase).unwrap();
  EXPECT_EQ(whole, passel::detail::derive_key(phrase.bytes(), "passel/v1/psk").unwrap());
  EXPECT_TRUE(lines.empty());
  const AuthKey shorter{"fifteen bytes!!"};
  const auto stretched = passel::detail::derive_network_key(shorter).unwrap();
  EXPECT_NE(stretched, passel::detail::derive_key(shorter.bytes(), "passel/v1/psk").unwrap());
  EXPECT_EQ(stretched, passel::detail::derive_network_key(shorter).unwrap());
  passel::set_log_sink({});
  ASSERT_EQ(lines.size(), 1U);
  EXPECT_NE(lines[0].find("an authkey of 15 bytes can be guessed"), std::string::npos);
  EXPECT_EQ(lines[0].find("fifteen"), std::string::npos);
}

struct KeyDirectory {
  KeyDirectory() {
    std::string name = "/tmp/passel-test-XXXXXX";
    path = ::mkdtemp(name.data());
  }
  KeyDirectory(const KeyDirectory&) = delete;
  KeyDirectory& operator=(const KeyDirectory&) = delete;
  ~KeyDirectory() { std::filesystem::remove_all(path); }
  std::string write(const std::string& text, ::mode_t mode = 0600) const {
    std::string file = path + "/key";
    std::filesystem::remove(file);
    std::ofstream{file} << text;
    EXPECT_EQ(::chmod(file.c_str(), mode), 0);
    return file;
  }
  std::string path;
};

TEST(KeyFiles, AreMadeForTheirOwnerAlone) {
  const KeyDirectory directory;
  const std::string path = directory.path + "/key";
  const AuthKey key = AuthKey::generate();
  key.save(path).unwrap();
  struct stat made {};
  ASSERT_EQ(::stat(path.c_str(), &made), 0);
  EXPECT_EQ(made.st_mode & 07777U, 0600U);
  EXPECT_TRUE(AuthKey::load(path).unwrap() == key);
  EXPECT_EQ(AuthKey::generate().save(path).error(), Errc::refused);  // never written over
  EXPECT_TRUE(AuthKey::load(path).unwrap() == key);
  EXPECT_EQ(AuthKey{""}.save(path + "2").error(), Errc::invalid_argument);
  EXPECT_EQ(key.save(path + "/x").error(), Errc::not_found);
}

TEST(KeyFiles, ThatOthersMayUseAreRefused) {
  const KeyDirectory directory;
  for (const ::mode_t mode : {0640U, 0604U, 0620U, 0602U, 0610U, 0644U}) {
    const auto error = AuthKey::load(directory.write("passel-key-1 00ff\n", mode)).error();
    EXPECT_EQ(error, Errc::refused) << mode;
  }
  EXPECT_NE(AuthKey::load(directory.write("passel-key-1 00ff\n", 0644))
                .error()
                .to_string()
                .find("has mode 0644: others may use it, it has to be 0600 or 0400"),
            std::string::npos);
  EXPECT_TRUE(AuthKey::load(directory.write("passel-key-1 00ff\n", 0400)));
  EXPECT_EQ(AuthKey::load(directory.path + "/none").error(), Errc::not_found);
  EXPECT_EQ(AuthKey::load(directory.path).error(), Errc::malformed);
}

TEST(KeyFiles, HaveSeveralKeysForTheTimeOfAChange) {
  const KeyDirectory directory;
  const auto keys = AuthKey::load_all(directory.write("# the new one\r\npassel-key-1 616263\r\n\n"
                                                      "# the old one\npassel-key-1 6465"))
                        .unwrap();
  ASSERT_EQ(keys.size(), 2U);
  EXPECT_TRUE(keys[0] == AuthKey{"abc"});
  EXPECT_TRUE(keys[1] == AuthKey{"de"});
}

TEST(KeyFiles, ThatAreNoneAreRefusedWithoutShowingWhatIsInThem) {
  const KeyDirectory directory;
  const std::string good = "passel-key-1 6162\n";
  for (const std::string& line :
       {std::string{"hunter2"}, std::string{"passel-key-1 "}, std::string{"passel-key-1 616"},
        std::string{"passel-key-1 61G2"}, std::string{"passel-key-2 6162"},
        std::string("passel-key-1 61\0062", 17)}) {
    const auto error = AuthKey::load(directory.write(good + line + "\n" + good)).error();
    EXPECT_EQ(error, Errc::malformed) << line;
    EXPECT_NE(error.to_string().find(", line 2: expected"), std::string::npos);
    for (const char* part : {"hunter2", "61", "62"})
      EXPECT_EQ(error.to_string().find(part), std::string::npos) << error.to_string();
  }
  EXPECT_EQ(AuthKey::load(directory.write("# nothing\n")).error(), Errc::malformed);
  EXPECT_EQ(AuthKey::load(directory.write(std::string(20000, '#'))).error(), Errc::too_large);
  std::string nine;
  for (int i = 0; i < 9; ++i) nine += good;
  EXPECT_EQ(AuthKey::load(directory.write(nine)).error(), Errc::too_large);
}

}  // namespace
