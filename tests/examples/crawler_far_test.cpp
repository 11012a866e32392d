// The crawler with its list of pages on one host and its fetchers on others.
#include "crawler_support.hpp"
#include "support/net_namespace.hpp"
#include "support/process_census.hpp"

#include <passel/authkey.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <cstdlib>
#include <optional>
#include <string>
#include <thread>

namespace crawler_test {
namespace {

using namespace std::chrono_literals;
using passel_test::ThirdHost;
using passel_test::TwoHosts;
using ::testing::HasSubstr;
using Host = TwoHosts::Host;

class FarCrawler : public ::testing::Test {
 protected:
  FarCrawler() {
    passel::AuthKey::generate().save(directory.file("key")).unwrap();
    ::setenv("no_proxy", "*", 1);
  }
  /// The one with the list of pages.
  [[nodiscard]] std::vector<std::string> list(const std::string& host) const {
    return {"--listen",
            host + ":0",
            "--key-file",
            directory.file("key"),
            "--delay",
            "0",
            "--per-host",
            "6",
            "--quiet",
            "--report",
            directory.file("report"),
            "--output",
            directory.file("out"),
            site.url("/page/0")};
  }
  [[nodiscard]] std::vector<std::string> fetchers(const std::string& address) const {
    return {"--connect", address, "--key-file", directory.file("key"), "--fetchers", "2"};
  }
  /// Where the list waits for fetchers.
  static std::string address_of(const Program& list) {
    const std::string begin = "waiting for fetchers at ";
    std::string said = list.errors();
    while (said.find('\n') == std::string::npos) {
      std::this_thread::sleep_for(1ms);
      said = list.errors();
    }
    EXPECT_THAT(said, HasSubstr(begin));
    said.erase(0, said.find(begin) + begin.size());
    return said.substr(0, said.find('\n'));
  }

  Site site;
  TemporaryDirectory directory;
  TemporaryDirectory elsewhere;
};

TEST_F(FarCrawler, FetchersOfAnotherProgramFindEveryPageOnce) {
  const auto expected = site.many_pages(100);
  site.start();
  const auto before = passel_test::ProcessCensus::take();
  {
    Program list{directory, this->list("127.0.0.1")};
    Program fetching{elsewhere, fetchers(address_of(list))};
    EXPECT_EQ(list.wait(), 0) << list.errors();
    EXPECT_EQ(names(results_of(directory.file("out"), site)), expected);
    EXPECT_EQ(site.all_requests(), 101) << "each page and robots.txt once";
    fetching.signal(SIGTERM);
    EXPECT_EQ(fetching.wait(), 0) << fetching.errors();
  }
  EXPECT_EQ(before.left_over(passel_test::ProcessCensus::take()).find("crawler"),
            std::string::npos);
}

TEST_F(FarCrawler, APageIsNotLostWithTheHostThatFetchesIt) {
  if (const auto why = TwoHosts::missing(); !why.empty()) GTEST_SKIP() << why;
  const auto expected = site.many_pages(80);
  site.set_answer_time(30ms);
  TwoHosts hosts;
  const std::string here = TwoHosts::address(Host::left);
  std::optional<Program> list;
  std::optional<Program> far;
  std::optional<Program> near;
  hosts.on(Host::left, [&] {
    site.start(here);
    list.emplace(directory, this->list(here));
  });
  const std::string address = address_of(*list);
  hosts.on(Host::right, [&] { far.emplace(elsewhere, fetchers(address)); });
  site.wait_for_requests(20);
  hosts.cut();
  TemporaryDirectory third;
  hosts.on(Host::left, [&] { near.emplace(third, fetchers(address)); });
  EXPECT_EQ(list->wait(), 0) << list->errors();
  EXPECT_EQ(names(results_of(directory.file("out"), site)), expected);
  EXPECT_THAT(content_of(directory.file("report")), HasSubstr("broken links: none"));
}

TEST_F(FarCrawler, OfTwoHostsThatFetchOneIsLostAndTheOtherOneFinishes) {
  if (const auto why = TwoHosts::missing(); !why.empty()) GTEST_SKIP() << why;
  const auto expected = site.many_pages(80);
  site.set_answer_time(30ms);
  TwoHosts hosts;
  const ThirdHost third{hosts};
  const std::string here = TwoHosts::address(Host::left);
  TemporaryDirectory further;
  std::optional<Program> list;
  std::optional<Program> lost;
  std::optional<Program> left;
  hosts.on(Host::left, [&] {
    site.start(here);
    list.emplace(directory, this->list(here));
  });
  const std::string address = address_of(*list);
  hosts.on(Host::right, [&] { lost.emplace(elsewhere, fetchers(address)); });
  third.on([&] { left.emplace(further, fetchers(address)); });
  site.wait_for_requests(30);
  hosts.cut();
  EXPECT_EQ(list->wait(), 0) << list->errors();
  EXPECT_EQ(names(results_of(directory.file("out"), site)), expected);
  EXPECT_THAT(content_of(directory.file("report")), HasSubstr("broken links: none"));
  left->signal(SIGTERM);
  EXPECT_EQ(left->wait(), 0) << left->errors();
}

TEST_F(FarCrawler, OptionsThatDoNotGoTogetherAreRefused) {
  const auto refused = [&](std::vector<std::string> arguments, const std::string& why) {
    Program program{directory, std::move(arguments)};
    EXPECT_EQ(program.wait(), 2);
    EXPECT_THAT(program.errors(), HasSubstr(why));
  };
  refused({"--listen", "127.0.0.1:0", "http://a/"}, "--key-file");
  refused({"--connect", "127.0.0.1:1", "--key-file", "x", "http://a/"}, "--connect");
}

}  // namespace
}  // namespace crawler_test
