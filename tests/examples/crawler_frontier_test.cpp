// Tests of the crawler's frontier, by a virtual clock: what is fetched when, and what is made of
// the answers.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "frontier_world.hpp"

#include <chrono>
#include <string>
#include <utility>
#include <vector>

namespace crawler {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAre;

TEST(Frontier, EachPageOnceAndOnlyOfItsHosts) {
  World world{plain()};
  world.frontier.add_seed("http://a/");
  EXPECT_FALSE(world.frontier.idle());
  auto first = world.jobs();
  EXPECT_THAT(urls(first), ElementsAre("http://a/"));
  world.page(first[0], {"http://a/1", "http://b/", "http://a/", "http://a/2", "http://a/1"});
  const auto finished = world.frontier.take_finished();
  ASSERT_THAT(finished, SizeIs(1));
  EXPECT_THAT(finished[0].queued, ElementsAre("http://a/1", "http://a/2"));
  auto second = world.jobs();
  EXPECT_THAT(urls(second), ElementsAre("http://a/1", "http://a/2"));
  world.page(second[0], {"http://a/2", "http://a/"});
  world.answer(second[1], {.status = 404});
  EXPECT_THAT(world.jobs(), IsEmpty());
  EXPECT_TRUE(world.frontier.idle());
  const auto records = world.records();
  ASSERT_THAT(records, SizeIs(2));
  EXPECT_EQ(records[1].error, "HTTP 404");
  EXPECT_TRUE(records[1].broken());
  EXPECT_EQ(records[1].referrer, "http://a/");
  EXPECT_THAT(world.frontier.referrers("http://a/2"), ElementsAre("http://a/", "http://a/1"));
}

TEST(Frontier, SecondAnswerToOneJobIsDropped) {
  World world{plain()};
  world.frontier.add_seed("http://a/");
  const auto jobs = world.jobs();
  world.page(jobs[0]);
  world.page(jobs[0], {"http://a/new"});
  EXPECT_THAT(world.records(), SizeIs(1));
  EXPECT_EQ(world.frontier.duplicates(), 1u);
  EXPECT_TRUE(world.frontier.idle());
}

TEST(Frontier, PausesBetweenRequestsToOneHost) {
  auto options = plain();
  options.delay = 1s;
  World world{options};
  for (const char* url : {"http://a/1", "http://a/2", "http://b/1"}) world.frontier.add_seed(url);
  EXPECT_THAT(urls(world.jobs()), UnorderedElementsAre("http://a/1", "http://b/1"));
  EXPECT_EQ(world.frontier.wake_at(world.now), world.now + 1s);
  world.now += 999ms;
  EXPECT_THAT(world.jobs(), IsEmpty());
  world.now += 1ms;
  EXPECT_THAT(urls(world.jobs()), ElementsAre("http://a/2"));
}

TEST(Frontier, FewAtATimeForOneHost) {
  auto options = plain();
  options.per_host = 2;
  World world{options};
  for (const char* url : {"http://a/1", "http://a/2", "http://a/3"}) world.frontier.add_seed(url);
  const auto jobs = world.jobs();
  EXPECT_THAT(jobs, SizeIs(2));
  world.page(jobs[1]);
  EXPECT_THAT(urls(world.jobs()), ElementsAre("http://a/3"));
}

TEST(Frontier, RetriesBackOffAndGiveUp) {
  auto options = plain();
  options.retries = 2;
  options.backoff = 1s;
  World world{options};
  world.frontier.add_seed("http://a/");
  world.answer(world.jobs().at(0), {.status = 500});
  EXPECT_THAT(world.jobs(), IsEmpty());
  EXPECT_EQ(world.frontier.wake_at(world.now), world.now + 1s);
  world.now += 1s;
  world.answer(world.jobs().at(0), {.failure = Failure::connect, .error = "refused"});
  EXPECT_EQ(world.frontier.wake_at(world.now), world.now + 2s);
  world.now += 2s;
  world.answer(world.jobs().at(0), {.failure = Failure::timeout, .error = "timed out"});
  EXPECT_TRUE(world.frontier.idle());
  const auto records = world.records();
  ASSERT_THAT(records, SizeIs(1));
  EXPECT_EQ(records[0].attempts, 3);
  EXPECT_EQ(records[0].error, "timed out");
  EXPECT_EQ(world.frontier.retries(), 2u);
}

TEST(Frontier, RetryAfterHoldsTheWholeHost) {
  World world{plain()};
  world.frontier.add_seed("http://a/1");
  const auto jobs = world.jobs();
  world.frontier.add_seed("http://a/2");
  world.answer(jobs[0], {.status = 503, .retry_after = 7});
  EXPECT_THAT(world.jobs(), IsEmpty());
  world.now += 7s;
  EXPECT_THAT(world.jobs(), SizeIs(2));
}

TEST(Frontier, RetryAfterThatIsTooLongIsAFailure) {
  World world{plain()};
  world.frontier.add_seed("http://a/1");
  world.answer(world.jobs().at(0), {.status = 429, .retry_after = 3600});
  EXPECT_EQ(world.records().at(0).error, "HTTP 429, Retry-After 3600 s is over the limit of 60 s");
}

TEST(Frontier, PermanentFailuresAreNotRetried) {
  World world{plain()};
  world.frontier.add_seed("http://a/");
  world.answer(world.jobs().at(0), {.failure = Failure::no_such_host, .error = "no such host: a"});
  EXPECT_EQ(world.records().at(0).error, "no such host: a");
  EXPECT_TRUE(world.frontier.idle());
}

TEST(Frontier, RedirectsAreFollowedHopByHop) {
  World world{plain()};
  world.frontier.add_seed("http://a/1");
  world.answer(world.jobs().at(0), {.status = 301, .location = "http://a/2"});
  const auto hop = world.jobs();
  EXPECT_THAT(urls(hop), ElementsAre("http://a/2"));
  world.page(hop[0], {"http://a/1", "http://a/2", "http://a/3"});
  const auto records = world.records();
  ASSERT_THAT(records, SizeIs(1));
  EXPECT_EQ(records[0].url, "http://a/1");
  EXPECT_EQ(records[0].final_url, "http://a/2");
  EXPECT_THAT(urls(world.jobs()), ElementsAre("http://a/3"));
}

TEST(Frontier, RedirectsEnd) {
  auto options = plain();
  options.max_hops = 3;
  World world{options};
  world.frontier.add_seed("http://a/0");
  for (int hop = 1; hop <= 4; ++hop) {
    world.answer(world.jobs().at(0),
                 {.status = 302, .location = "http://a/" + std::to_string(hop)});
  }
  EXPECT_EQ(world.records().at(0).error, "more than 3 redirects");

  world.frontier.add_seed("http://a/loop");
  world.answer(world.jobs().at(0), {.status = 302, .location = "http://a/pool"});
  world.answer(world.jobs().at(0), {.status = 302, .location = "http://a/loop"});
  EXPECT_EQ(world.records().at(0).error, "redirect loop: back to http://a/loop");

  world.frontier.add_seed("http://a/lost");
  world.answer(world.jobs().at(0), {.status = 302});
  EXPECT_EQ(world.records().at(0).error, "redirect without a Location");
  EXPECT_TRUE(world.frontier.idle());
}

TEST(Frontier, RedirectToAKnownPageIsNotFetchedAgain) {
  World world{plain()};
  world.frontier.add_seed("http://a/1");
  world.frontier.add_seed("http://a/2");
  const auto jobs = world.jobs();
  world.answer(jobs[0], {.status = 301, .location = "http://a/2"});
  world.page(jobs[1]);
  EXPECT_THAT(world.jobs(), IsEmpty());
  const auto records = world.records();
  EXPECT_EQ(records.at(0).final_url, "http://a/2");
  EXPECT_FALSE(records.at(0).broken());
  EXPECT_THAT(world.frontier.referrers("http://a/2"), ElementsAre("http://a/1"));
}

TEST(Frontier, RedirectOutOfTheCrawlAndOfAStartPage) {
  World world{plain()};
  world.frontier.add_seed("http://a/");
  world.answer(world.jobs().at(0), {.status = 301, .location = "http://www.a/"});
  auto moved = world.jobs();
  ASSERT_THAT(urls(moved), ElementsAre("http://www.a/")) << "a start page may move to another host";
  world.page(moved[0], {"http://www.a/out"});
  EXPECT_THAT(world.records(), SizeIs(1));
  world.answer(world.jobs().at(0), {.status = 302, .location = "http://elsewhere/"});
  const auto records = world.records();
  EXPECT_TRUE(records.at(0).skipped);
  EXPECT_FALSE(records.at(0).broken());
}

TEST(Frontier, DepthIsThatOfTheShortestWay) {
  auto options = plain();
  options.max_depth = 2;
  World world{options};
  world.frontier.add_seed("http://a/");
  world.page(world.jobs().at(0), {"http://a/slow", "http://a/quick"});
  auto level = world.jobs();
  ASSERT_THAT(level, SizeIs(2));
  world.page(level[1], {"http://a/x"});
  EXPECT_THAT(world.jobs(), IsEmpty()) << "the next level waits for the slow page";
  world.page(level[0]);
  world.page(world.jobs().at(0), {"http://a/too-deep"});
  EXPECT_THAT(world.jobs(), IsEmpty());
  EXPECT_TRUE(world.frontier.idle());
  EXPECT_EQ(world.frontier.done(), 4u);
}

TEST(Frontier, PageLimitLeavesTheRest) {
  auto options = plain();
  options.max_pages = 2;
  World world{options};
  world.frontier.add_seed("http://a/");
  world.page(world.jobs().at(0), {"http://a/1", "http://a/2", "http://a/3"});
  auto jobs = world.jobs();
  ASSERT_THAT(jobs, SizeIs(1));
  EXPECT_FALSE(world.frontier.idle());
  world.page(jobs[0], {"http://a/4"});
  EXPECT_THAT(world.jobs(), IsEmpty());
  EXPECT_TRUE(world.frontier.idle());
  EXPECT_EQ(world.frontier.left(), 3u);
  EXPECT_EQ(world.frontier.open(), 0u);
}

TEST(Frontier, RobotsAreAskedFirstAndObeyed) {
  auto options = plain();
  options.robots = true;
  World world{options};
  world.frontier.add_seed("http://a/ok");
  world.frontier.add_seed("http://a/secret");
  auto rules = world.jobs();
  ASSERT_THAT(urls(rules), ElementsAre("http://a/robots.txt"));
  EXPECT_TRUE(rules[0].robots);
  world.answer(rules[0],
               {.status = 200, .body = "User-agent: *\nDisallow: /secret\nCrawl-delay: 3"});
  EXPECT_THAT(world.jobs(), IsEmpty()) << "the pause counts from robots.txt on";
  world.now += 3s;
  auto jobs = world.jobs();
  ASSERT_THAT(urls(jobs), ElementsAre("http://a/ok"));
  world.page(jobs[0]);
  world.now += 3s;
  EXPECT_THAT(world.jobs(), IsEmpty());
  const auto records = world.records();
  ASSERT_THAT(records, SizeIs(2));
  EXPECT_EQ(records[0].url, "http://a/secret");
  EXPECT_EQ(records[0].error, "disallowed by robots.txt");
  EXPECT_TRUE(records[0].skipped);
  EXPECT_TRUE(world.frontier.idle());
}

TEST(Frontier, RobotsThatAreNotThere) {
  auto options = plain();
  options.robots = true;
  options.retries = 1;
  World world{options};
  world.frontier.add_seed("http://none/");
  world.answer(world.jobs().at(0), {.status = 404});
  EXPECT_THAT(urls(world.jobs()), ElementsAre("http://none/"));

  world.frontier.add_seed("http://broken/");
  world.answer(world.jobs().at(0), {.status = 503});
  world.now += 10s;
  world.answer(world.jobs().at(0), {.status = 503});
  EXPECT_THAT(world.jobs(), IsEmpty());
  EXPECT_EQ(world.records().at(0).error, "robots.txt unreachable: HTTP 503");

  world.frontier.add_seed("http://moved/");
  for (int hop = 1; hop <= 6; ++hop) {
    const auto job = world.jobs().at(0);
    EXPECT_TRUE(job.robots);
    world.answer(job, {.status = 301, .location = "http://moved/r" + std::to_string(hop)});
  }
  EXPECT_THAT(urls(world.jobs()), ElementsAre("http://moved/"))
      << "endless redirects mean no rules";
}

TEST(Frontier, WantedDecidesButNotAboutStartPages) {
  auto options = plain();
  options.wanted = [](const std::string& url) { return url.ends_with(".html"); };
  World world{options};
  world.frontier.add_seed("http://a/");
  world.page(world.jobs().at(0), {"http://a/x.html", "http://a/x.png"});
  EXPECT_THAT(urls(world.jobs()), ElementsAre("http://a/x.html"));
}

TEST(Frontier, StopFinishesWhatIsInFlight) {
  World world{plain()};
  world.frontier.add_seed("http://a/1");
  world.frontier.add_seed("http://a/2");
  const auto jobs = world.jobs();
  world.frontier.stop();
  world.frontier.take_back(jobs[1]);
  EXPECT_FALSE(world.frontier.idle());
  world.page(jobs[0], {"http://a/3"});
  EXPECT_TRUE(world.frontier.idle());
  EXPECT_THAT(world.jobs(), IsEmpty());
  EXPECT_EQ(world.frontier.open(), 2u);
}

TEST(Frontier, RestoredPagesAreNotFetchedAgain) {
  World world{plain()};
  world.frontier.add_seed("http://a/");
  world.frontier.restore({.url = "http://a/", .final_url = "http://a/b", .hops = {"http://a/b"}});
  EXPECT_FALSE(world.frontier.add("http://a/b", 1, "http://a/"));
  EXPECT_TRUE(world.frontier.add("http://a/c", 1, "http://a/"));
  EXPECT_THAT(urls(world.jobs()), ElementsAre("http://a/c"));
}

}  // namespace
}  // namespace crawler
