// Managers whose server and clients show certificates instead of knowing a key.
#include <passel/authkey.hpp>
#include <passel/process.hpp>
#include <passel/sync_manager.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/test_authority.hpp"

#include <cstdlib>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>

namespace {

using passel::Address;
using passel::AuthKey;
using passel::Certificates;
using passel::Errc;
using passel::ListProxy;
using passel::ManagerOptions;
using passel::ManagerRole;
using passel::Process;
using passel::Result;
using passel::SyncManager;
using passel::TcpAddress;
using passel_test::TestAuthority;
using ::testing::HasSubstr;

const AuthKey key{"a key that is of no use where certificates are"};

class CertificatesTest : public testing::Test {
 protected:
  SyncManager started(Certificates shown) {
    return SyncManager::started({.address = TcpAddress{}, .certificates = std::move(shown)})
        .unwrap();
  }
  /// As another process would: this one knows the server already.
  static Result<void> meet(const Address& address, std::optional<Certificates> shown) {
    auto elsewhere =
        Process::spawn<meet_from_elsewhere>(std::get<TcpAddress>(address).port, shown).unwrap();
    const int code = elsewhere.join().unwrap();
    if (code == 0) return {};
    return passel::Error{static_cast<Errc>(code), "from elsewhere"};
  }
  static void meet_from_elsewhere(std::uint16_t port, const std::optional<Certificates>& shown) {
    ManagerOptions options{.address = TcpAddress{"127.0.0.1", port}, .certificates = shown};
    if (!shown) options.authkey = key;
    SyncManager manager{std::move(options)};
    auto connected = manager.connect();
    if (connected) connected = manager.list<int>().map([](const auto&) {});
    if (!connected) std::exit(static_cast<int>(connected.error().code()));
  }

  TestAuthority authority;
};

void append_to(const ListProxy<int>& list, int n) { list.append(n).unwrap(); }

TEST_F(CertificatesTest, WhoShowsOneOfTheAuthorityIsServedAndHisChildrenAre) {
  auto manager = started(authority.issue("127.0.0.1"));
  const auto list = manager.list<int>({1}).unwrap();
  EXPECT_EQ(Process::spawn<append_to>(list, 2).unwrap().join().unwrap(), 0);
  EXPECT_EQ(list.at(1).unwrap(), 2);
  EXPECT_TRUE(meet(manager.address(), authority.issue("client.example")));
}

TEST_F(CertificatesTest, AKeyIsNoCertificate) {
  auto manager = started(authority.issue("127.0.0.1"));
  EXPECT_EQ(meet(manager.address(), std::nullopt).error(), Errc::auth_failed);
}

TEST_F(CertificatesTest, ACertificateIsNoKey) {
  auto manager = SyncManager::started({.address = TcpAddress{}, .authkey = key}).unwrap();
  EXPECT_EQ(meet(manager.address(), authority.issue("client.example")).error(), Errc::auth_failed);
}

TEST_F(CertificatesTest, AnotherAuthorityIsNobodyToEitherSide) {
  auto manager = started(authority.issue("127.0.0.1"));
  TestAuthority other;
  Certificates stranger = other.issue("client.example");
  EXPECT_EQ(meet(manager.address(), stranger).error(), Errc::auth_failed);
  stranger.ca_file = authority.ca_file();  // it believes the server, and the server does not it
  EXPECT_EQ(meet(manager.address(), stranger).error(), Errc::auth_failed);
  Certificates doubter = authority.issue("client.example");
  doubter.ca_file = other.ca_file();
  EXPECT_EQ(meet(manager.address(), doubter).error(), Errc::auth_failed);
}

TEST_F(CertificatesTest, AClientExpectsTheHostThatItConnectsTo) {
  auto manager = started(authority.issue("server.example"));
  Certificates client = authority.issue("client.example");
  EXPECT_EQ(meet(manager.address(), client).error(), Errc::auth_failed);
  client.peer_name = "server.example";
  EXPECT_TRUE(meet(manager.address(), client));
  client.peer_name = "other.example";
  EXPECT_EQ(meet(manager.address(), client).error(), Errc::auth_failed);
}

TEST_F(CertificatesTest, AServerMayExpectAName) {
  Certificates server = authority.issue("127.0.0.1");
  server.peer_name = "client.example";
  auto manager = started(server);
  EXPECT_TRUE(meet(manager.address(), authority.issue("client.example")));
  EXPECT_EQ(meet(manager.address(), authority.issue("other.example")).error(), Errc::auth_failed);
}

TEST_F(CertificatesTest, OneThatHasEndedIsNone) {
  auto manager = started(authority.issue("127.0.0.1"));
  EXPECT_EQ(meet(manager.address(), authority.issue("client.example", -3600)).error(),
            Errc::auth_failed);
}

TEST_F(CertificatesTest, FilesThatAreNotThereOrNotAPairAreNamed) {
  const auto error_of = [](Certificates shown) {
    SyncManager manager{{.address = TcpAddress{}, .certificates = std::move(shown)}};
    return manager.start().error();
  };
  const Certificates good = authority.issue("127.0.0.1");
  Certificates bad = good;
  bad.ca_file = "/nowhere/ca.pem";
  EXPECT_THAT(error_of(bad).what(), HasSubstr("'/nowhere/ca.pem'"));
  bad = good;
  bad.certificate_file = good.key_file;
  EXPECT_THAT(error_of(bad).what(), HasSubstr("no certificate in '" + good.key_file));
  bad = good;
  bad.key_file = authority.issue("127.0.0.1").key_file;
  EXPECT_EQ(error_of(bad), Errc::invalid_argument);
  EXPECT_THAT(error_of(bad).what(), HasSubstr(bad.key_file));
}

TEST_F(CertificatesTest, APrivateKeyThatOthersMayUseIsRefused) {
  const Certificates shown = authority.issue("127.0.0.1");
  namespace fs = std::filesystem;
  for (const auto forbidden : {fs::perms::group_read, fs::perms::group_write,
                               fs::perms::others_read, fs::perms::others_write}) {
    fs::permissions(shown.key_file, fs::perms::owner_read | fs::perms::owner_write | forbidden);
    SyncManager manager{{.address = TcpAddress{}, .certificates = shown}};
    const auto refused = manager.start();
    EXPECT_EQ(refused.error(), Errc::refused);
    EXPECT_THAT(refused.error().what(), HasSubstr("private key file " + shown.key_file));
    EXPECT_THAT(refused.error().what(), HasSubstr("others may use it"));
    EXPECT_EQ(manager.connect().error(), Errc::refused);
  }
  fs::permissions(shown.key_file, fs::perms::owner_read);
  EXPECT_TRUE(meet(started(shown).address(), shown));
  fs::remove(shown.key_file);
  SyncManager manager{{.address = TcpAddress{}, .certificates = shown}};
  EXPECT_EQ(manager.start().error(), Errc::not_found);
}

TEST_F(CertificatesTest, AKeyThatNeedsAPassphraseIsAnErrorAndNobodyIsAsked) {
  const Certificates locked = authority.issue("127.0.0.1", 3600, "a passphrase");
  SyncManager manager{{.address = TcpAddress{}, .certificates = locked}};
  const auto refused = manager.start();
  EXPECT_EQ(refused.error(), Errc::invalid_argument);
  EXPECT_THAT(refused.error().what(), HasSubstr(locked.key_file));
}

TEST_F(CertificatesTest, AKeyBesideThemAUnixSocketAndHalfOfThemAreErrors) {
  const auto says = [](const ManagerOptions& options) {
    SyncManager manager{options};
    const auto started = manager.start();
    EXPECT_EQ(started.error(), Errc::invalid_argument);
    EXPECT_EQ(manager.connect().error().what(), started.error().what());
    EXPECT_EQ(manager.get_server().error().what(), started.error().what());
    return started.error().what();
  };
  const Certificates whole = authority.issue("127.0.0.1");
  EXPECT_THAT(says({.address = TcpAddress{}, .authkey = key, .certificates = whole}),
              HasSubstr("instead of a key"));
  EXPECT_THAT(says({.address = TcpAddress{}, .former_authkeys = {key}, .certificates = whole}),
              HasSubstr("instead of a key"));
  EXPECT_THAT(says({.address = passel::UnixAddress{"/a/socket"}, .certificates = whole}),
              HasSubstr("'/a/socket'"));
  Certificates half = whole;
  half.key_file.clear();
  EXPECT_THAT(says({.address = TcpAddress{}, .certificates = half}),
              HasSubstr("without a key_file"));
}

TEST_F(CertificatesTest, RolesNeedKeys) {
  SyncManager manager{{.address = TcpAddress{},
                       .certificates = authority.issue("127.0.0.1"),
                       .roles = {{"readers", AuthKey{"another one, long enough"}, {}}}}};
  EXPECT_EQ(manager.start().error(), Errc::invalid_argument);
}

}  // namespace
