// Pools that span hosts whose server, workers and submitters show certificates.
#include <passel/manager.hpp>
#include <passel/remote_executor.hpp>
#include <passel/remote_worker.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/test_authority.hpp"

#include <cstdlib>
#include <initializer_list>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace {

using passel::Address;
using passel::AuthKey;
using passel::Certificates;
using passel::Errc;
using passel::Error;
using passel::ExposedTasks;
using passel::Manager;
using passel::RemoteExecutor;
using passel::RemoteExecutorOptions;
using passel::RemoteWorker;
using passel::RemoteWorkerOptions;
using passel::Result;
using passel::TcpAddress;
using passel_test::TestAuthority;
using ::testing::HasSubstr;

int square(int n) { return n * n; }
ExposedTasks tasks() { return ExposedTasks::of<&square>(); }

class RemoteCertificatesTest : public ::testing::Test {
 protected:
  /// What both have to say to such settings, which has to be the same.
  [[nodiscard]] static Error refusal(const Address& address, std::optional<AuthKey> key,
                                     std::optional<Certificates> shown) {
    const Error executor =
        RemoteExecutor::connect(
            {.address = address, .authkey = key, .certificates = shown, .tasks = tasks()})
            .error();
    const Error worker = RemoteWorker::join(tasks(), {.address = address,
                                                      .authkey = std::move(key),
                                                      .certificates = std::move(shown),
                                                      .processes = {.processes = 1}})
                             .error();
    EXPECT_EQ(executor.code(), worker.code());
    EXPECT_EQ(executor.what(), worker.what());
    return executor;
  }

  TestAuthority authority_;
  Manager manager_{{.address = TcpAddress{}, .certificates = authority_.issue("127.0.0.1")}};
  std::optional<passel::ManagerServer> server_ = manager_.get_server().unwrap();
};

TEST_F(RemoteCertificatesTest, WhoShowsOneOfTheAuthorityWorksAndAsks) {
  const auto worker = RemoteWorker::join(tasks(), {.address = server_->address(),
                                                   .certificates = authority_.issue("a.worker"),
                                                   .processes = {.processes = 1}})
                          .unwrap();
  auto executor = RemoteExecutor::connect({.address = server_->address(),
                                           .certificates = authority_.issue("an.executor"),
                                           .tasks = tasks()})
                      .unwrap();
  EXPECT_EQ(executor.submit<square>(7).get().unwrap(), 49);
  std::vector<int> squares;
  for (auto& one : executor.map<square>(std::vector<int>{1, 2, 3}).unwrap())
    squares.push_back(std::move(one).unwrap());
  EXPECT_EQ(squares, (std::vector<int>{1, 4, 9}));
}

TEST_F(RemoteCertificatesTest, AWorkerShowsThemAgainToTheNextServer) {
  const auto worker = RemoteWorker::join(tasks(), {.address = server_->address(),
                                                   .certificates = authority_.issue("a.worker"),
                                                   .processes = {.processes = 1}})
                          .unwrap();
  const Address at = server_->address();
  server_.reset();
  while (worker.stats().connected) std::this_thread::yield();
  Manager next{{.address = at, .certificates = authority_.issue("127.0.0.1")}};
  const auto server = next.get_server().unwrap();
  auto executor = RemoteExecutor::connect({.address = at,
                                           .certificates = authority_.issue("an.executor"),
                                           .tasks = tasks(),
                                           .unknown_task = passel::UnknownTask::waits})
                      .unwrap();
  EXPECT_EQ(executor.submit<square>(3).get().unwrap(), 9);
  EXPECT_EQ(worker.stats().reconnects, 1U);
}

TEST_F(RemoteCertificatesTest, WhoIsOfAnotherAuthorityOrHasAKeyAloneIsNobody) {
  TestAuthority other;
  Certificates stranger = other.issue("a.worker");
  EXPECT_EQ(refusal(server_->address(), {}, stranger), Errc::auth_failed);
  stranger.ca_file = authority_.ca_file();
  EXPECT_EQ(refusal(server_->address(), {}, stranger), Errc::auth_failed);
  Certificates doubter = authority_.issue("a.worker");
  doubter.peer_name = "another.server";
  EXPECT_EQ(refusal(server_->address(), {}, doubter), Errc::auth_failed);
  EXPECT_EQ(refusal(server_->address(), AuthKey{"a key, and a long one"}, {}), Errc::auth_failed);
}

TEST_F(RemoteCertificatesTest, AKeyBesideThemAndHalfOfThemAreErrors) {
  const Certificates whole = authority_.issue("a.worker");
  const auto says = [&](std::optional<AuthKey> key, const Certificates& shown, Address address) {
    const Error error = refusal(address, std::move(key), shown);
    EXPECT_EQ(error, Errc::invalid_argument) << error.to_string();
    return error.what();
  };
  const Address at = server_->address();
  EXPECT_THAT(says(AuthKey{"a key, and a long one"}, whole, at),
              HasSubstr("certificates are instead of a key"));
  EXPECT_THAT(says({}, whole, passel::UnixAddress{"/nowhere/socket"}),
              HasSubstr("'/nowhere/socket'"));
  Certificates half = whole;
  half.ca_file.clear();
  EXPECT_THAT(says({}, half, at), HasSubstr("without a ca_file"));
  half = whole;
  half.certificate_file.clear();
  EXPECT_THAT(says({}, half, at), HasSubstr("without a certificate_file"));
  half = whole;
  half.key_file.clear();
  EXPECT_THAT(says({}, half, at), HasSubstr("without a key_file"));
}

/// Variables of the environment, while it lives.
class Environment {
 public:
  Environment(std::initializer_list<std::pair<const char*, std::string>> variables) {
    for (const auto& [name, value] : variables) {
      ::setenv(name, value.c_str(), 1);
      names_.push_back(name);
    }
  }
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;
  ~Environment() {
    for (const char* const name : names_) ::unsetenv(name);
  }

 private:
  std::vector<const char*> names_;
};

TEST(RemoteEnvironment, NamesCertificatesInPlaceOfAKey) {
  const Environment server{{"PASSEL_CONNECT", "10.0.0.1:4711"},
                           {"PASSEL_CA_FILE", "ca.pem"},
                           {"PASSEL_CERT_FILE", "node.pem"}};
  EXPECT_THAT(RemoteExecutorOptions::from_environment().error().what(),
              HasSubstr("PASSEL_CERT_KEY_FILE is not set"));
  EXPECT_EQ(RemoteWorkerOptions::from_environment().error(), Errc::invalid_argument);
  const Environment rest{{"PASSEL_CERT_KEY_FILE", "node.key"}, {"PASSEL_PEER_NAME", "a.server"}};
  const Certificates expected{.ca_file = "ca.pem",
                              .certificate_file = "node.pem",
                              .key_file = "node.key",
                              .peer_name = "a.server"};
  EXPECT_EQ(RemoteExecutorOptions::from_environment().unwrap().certificates, expected);
  EXPECT_EQ(RemoteWorkerOptions::from_environment().unwrap().certificates, expected);
  const Environment key{{"PASSEL_AUTHKEY_FILE", "key"}};
  EXPECT_THAT(RemoteExecutorOptions::from_environment().error().what(),
              HasSubstr("PASSEL_AUTHKEY_FILE and PASSEL_CERT_FILE"));
}

}  // namespace
