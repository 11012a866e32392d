// `passel serve`, `worker` and the clients among its commands with certificates in place of a key.
#include "support/started_program.hpp"
#include "support/test_authority.hpp"

#include <passel/certificates.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

namespace {

using passel::Certificates;
using passel_test::StartedProgram;
using passel_test::TestAuthority;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;
using Words = std::vector<std::string>;

Words with(Words words, const Words& more) {
  words.insert(words.end(), more.begin(), more.end());
  return words;
}
Words flags(const Certificates& shown) {
  return {"--ca",       shown.ca_file,  "--cert",      shown.certificate_file,
          "--cert-key", shown.key_file, "--peer-name", shown.peer_name};
}
std::string address_in(StartedProgram& server) {
  const std::string line = server.line();
  EXPECT_THAT(line, StartsWith("listening at "));
  return line.substr(std::string{"listening at "}.size());
}

struct Outcome {
  int code;
  std::string said;  ///< on stdout and on stderr
};
Outcome run(const Words& words) {
  std::string line;
  for (const std::string& word : words) line += "'" + word + "' ";
  StartedProgram program{{"/bin/sh", "-c", PASSEL_BINARY + (" " + line) + "2>&1"}};
  std::string said = program.rest();
  return {program.wait(), std::move(said)};
}

class MutualTlsTest : public ::testing::Test {
 protected:
  TestAuthority authority_;
  Certificates own_ = authority_.issue("127.0.0.1");
  Certificates client_ = authority_.issue("client.example");
};

TEST_F(MutualTlsTest, ServerWorkerAndClientsShowCertificates) {
  StartedProgram server{
      with({PASSEL_BINARY, "serve", "--address", "127.0.0.1:0", "--log", "error"}, flags(own_))};
  const std::string address = address_in(server);
  const Words there{"--connect", address};
  EXPECT_EQ(run(with(with({"put", "jobs", "7"}, there), flags(client_))).code, 0);
  EXPECT_EQ(run(with(with({"get", "jobs"}, there), flags(client_))).said, "7\n");

  // What the worker is told its program is told, by the environment.
  StartedProgram worker{
      with(with(with({PASSEL_BINARY, "worker", "--processes", "1"}, there), flags(client_)),
           {"--", SQUARES_BINARY, "work"})};
  ::setenv("PASSEL_CONNECT", address.c_str(), 1);
  ::setenv("PASSEL_CA_FILE", client_.ca_file.c_str(), 1);
  ::setenv("PASSEL_CERT_FILE", client_.certificate_file.c_str(), 1);
  ::setenv("PASSEL_CERT_KEY_FILE", client_.key_file.c_str(), 1);
  StartedProgram asking{{SQUARES_BINARY}};
  const Outcome ping = run({"ping", "--count", "1"});
  for (const char* const name :
       {"PASSEL_CONNECT", "PASSEL_CA_FILE", "PASSEL_CERT_FILE", "PASSEL_CERT_KEY_FILE"})
    ::unsetenv(name);
  EXPECT_EQ(ping.code, 0) << ping.said;
  EXPECT_EQ(asking.rest(), "1\n4\n9\n16\n25\n");
  EXPECT_EQ(asking.wait(), 0);
  worker.signal(SIGTERM);
  EXPECT_EQ(worker.wait(), 0);
  server.signal(SIGTERM);
  EXPECT_EQ(server.wait(), 0);
}

TEST_F(MutualTlsTest, OptionsOfAServerComeFromItsFile) {
  const std::string config = authority_.ca_file() + ".json";
  std::ofstream{config} << R"({"address": "127.0.0.1:0", "log": "error", "ca": ")" << own_.ca_file
                        << R"(", "cert": ")" << own_.certificate_file << R"(", "cert-key": ")"
                        << own_.key_file << R"(", "peer-name": "client.example"})";
  StartedProgram server{{PASSEL_BINARY, "serve", "--config", config}};
  const std::string address = address_in(server);
  const auto ping = [&](const Certificates& shown) {
    return run(with({"ping", "--count", "1", "--connect", address}, flags(shown)));
  };
  EXPECT_EQ(ping(client_).code, 0);
  const Outcome other = ping(authority_.issue("other.example"));
  EXPECT_EQ(other.code, 1);
  EXPECT_THAT(other.said, HasSubstr("auth_failed"));
  Certificates doubter = client_;
  doubter.peer_name = "another.server";
  EXPECT_THAT(ping(doubter).said, HasSubstr("auth_failed"));
}

TEST_F(MutualTlsTest, AKeyBesideThemAndHalfOfThemAreMisuse) {
  for (const Words& command :
       {Words{"ping"}, Words{"get"}, Words{"put", "a", "1"}, Words{"call", "a", "size"},
        Words{"bench"}, Words{"worker", "true"}}) {
    const Words there = with(command, {"--connect", "127.0.0.1:1"});
    const Outcome both = run(with(there, with(flags(client_), {"--key-file", "key"})));
    EXPECT_EQ(both.code, 2) << command[0];
    EXPECT_THAT(both.said, AllOf(HasSubstr("PASSEL_AUTHKEY_FILE"), HasSubstr("one or the other")));
    const Outcome half = run(with(there, {"--cert", "a", "--ca", "b"}));
    EXPECT_EQ(half.code, 2) << command[0];
    EXPECT_THAT(half.said, HasSubstr("--cert-key (PASSEL_CERT_KEY_FILE) is missing"));
  }
  const Outcome nothing = run({"ping", "--connect", "127.0.0.1:1"});
  EXPECT_EQ(nothing.code, 2);
  EXPECT_THAT(nothing.said, HasSubstr("no key: --key-file"));
  const Outcome serve = run(with({"serve", "--key-file", "key"}, flags(own_)));
  EXPECT_EQ(serve.code, 2);
  EXPECT_THAT(serve.said, HasSubstr("one or the other"));
  const Outcome file = run(with({"serve", "--address", "./socket"}, flags(own_)));
  EXPECT_EQ(file.code, 1);
  EXPECT_THAT(file.said, HasSubstr("'./socket'"));
}

}  // namespace
