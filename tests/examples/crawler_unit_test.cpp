// Tests of the crawler's parts that need no network: URLs, robots.txt, pages, charsets, the
// frontier and the journal.
#include "charset.hpp"
#include "frontier.hpp"
#include "journal.hpp"
#include "nesting.hpp"
#include "page.hpp"
#include "progress.hpp"
#include "robots.hpp"
#include "url.hpp"
#include "verify.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

namespace crawler {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAre;

// ---- URLs

TEST(Url, CanonicalSpelling) {
  const std::vector<std::pair<const char*, const char*>> cases{
      {"HTTP://Example.COM", "http://example.com/"},
      {"http://a.org:80/x", "http://a.org/x"},
      {"https://a.org:443/x", "https://a.org/x"},
      {"http://a.org:443/x", "http://a.org:443/x"},
      {"http://a.org/x#part", "http://a.org/x"},
      {"http://a.org/a/./b/../c", "http://a.org/a/c"},
      {"http://a.org/a/%2e%2E/c", "http://a.org/c"},
      {"http://a.org/%7Euser/%c3%a9", "http://a.org/~user/%C3%A9"},
      {"http://a.org/\xC3\xA9 b", "http://a.org/%C3%A9%20b"},
      {"http://a.org/100%", "http://a.org/100%25"},
      {"http://a.org?q=a b", "http://a.org/?q=a%20b"},
      {"http://user:secret@a.org/", "http://a.org/"},
      {" http://a.org/x\n", "http://a.org/x"},
      {"http://[::1]:8080/x", "http://[::1]:8080/x"},
      {"http://b\xC3\xBC"
       "cher.de/",
       "http://b\xC3\xBC"
       "cher.de/"},
  };
  for (const auto& [text, expected] : cases) {
    const auto url = canonical_url(text);
    ASSERT_TRUE(url) << text << ": " << url.error().what();
    EXPECT_EQ(*url, expected) << text;
    EXPECT_EQ(*canonical_url(*url), *url) << "not a fixed point: " << text;
  }
}

TEST(Url, MistakesAreNamed) {
  for (const char* text :
       {"nothing", "http://", "http://[bad/", "http://a.org:99999/", "", "//a.org/"}) {
    const auto url = canonical_url(text);
    ASSERT_FALSE(url) << text;
    EXPECT_EQ(url.error().code(), passel::Errc::malformed) << text;
    EXPECT_THAT(url.error().what(), HasSubstr(text));
  }
  EXPECT_EQ(canonical_url("ftp://a.org/").error().code(), passel::Errc::unsupported);
}

TEST(Url, ReferencesResolveAgainstTheirPage) {
  const std::string base = "http://a.org/d/page.html?q=1";
  const std::vector<std::pair<const char*, const char*>> cases{
      {"other.html", "http://a.org/d/other.html"},
      {"../up.html", "http://a.org/up.html"},
      {"../../../top", "http://a.org/top"},
      {"/root", "http://a.org/root"},
      {"?q=2", "http://a.org/d/page.html?q=2"},
      {"#part", "http://a.org/d/page.html?q=1"},
      {"", "http://a.org/d/page.html?q=1"},
      {"//B.org/x", "http://b.org/x"},
      {"https://c.org", "https://c.org/"},
      {"a b.html", "http://a.org/d/a%20b.html"},
      {"./", "http://a.org/d/"},
      {"x?y=../z", "http://a.org/d/x?y=../z"},
      {"x.html\n  ", "http://a.org/d/x.html"},
  };
  for (const auto& [reference, expected] : cases) {
    const auto url = resolve_url(base, reference);
    ASSERT_TRUE(url) << reference << ": " << url.error().what();
    EXPECT_EQ(*url, expected) << reference;
  }
  EXPECT_EQ(resolve_url(base, "mailto:me@a.org").error().code(), passel::Errc::unsupported);
  EXPECT_EQ(resolve_url(base, "JavaScript:void(0)").error().code(), passel::Errc::unsupported);
  EXPECT_EQ(resolve_url(base, "http://[bad/").error().code(), passel::Errc::malformed);
}

TEST(Url, Parts) {
  const UrlParts parts = split_url("http://a.org:81/x/y?z");
  EXPECT_EQ(parts.origin, "http://a.org:81");
  EXPECT_EQ(parts.host, "a.org:81");
  EXPECT_EQ(parts.path, "/x/y?z");
}

// ---- robots.txt

TEST(Robots, ExamplesOfTheRfc) {
  const auto robots = Robots::parse(
      "User-Agent: *\nDisallow: *.gif$\nDisallow: /example/\nAllow: /publications/\n\n"
      "User-Agent: foobot\nDisallow:/\nAllow:/example/page.html\nAllow:/example/allowed.gif\n\n"
      "User-Agent: barbot\nUser-Agent: bazbot\nDisallow: /example/page.html\n\nUser-Agent: "
      "quxbot\n",
      "foobot");
  EXPECT_TRUE(robots.allows("/example/page.html"));
  EXPECT_TRUE(robots.allows("/example/allowed.gif"));
  EXPECT_FALSE(robots.allows("/example/other.html"));
  EXPECT_TRUE(robots.allows("/robots.txt"));
}

TEST(Robots, GroupOfEverybodyAppliesOnlyWhenNobodyNamesUs) {
  const char* text =
      "User-agent: *\nDisallow: /\nUser-agent: One\nUser-agent: two\nDisallow: /x\n\nuser-agent: "
      "ONE/2.0\nDisallow: /y\n";
  const auto one = Robots::parse(text, "one");
  EXPECT_TRUE(one.allows("/z"));
  EXPECT_FALSE(one.allows("/x1"));
  EXPECT_FALSE(one.allows("/y1")) << "all groups of one crawler count together";
  EXPECT_TRUE(Robots::parse(text, "two").allows("/y"));
  EXPECT_FALSE(Robots::parse(text, "three").allows("/z"));
  EXPECT_TRUE(
      Robots::parse("User-agent: quxbot\n\nUser-agent: *\nDisallow: /x", "quxbot").allows("/y"));
}

TEST(Robots, LongestRuleDecidesAndAllowWinsATie) {
  const auto robots = Robots::parse(
      "\xEF\xBB\xBFUser-agent: *\r\nDisallow: /a # secret\r\nAllow: /a/b\r\nDisallow: "
      "/a/b/c\r\nDisallow: /t\r\nAllow: /t\r\nDisallow:\r\n",
      "x");
  EXPECT_FALSE(robots.allows("/a"));
  EXPECT_TRUE(robots.allows("/a/b/d"));
  EXPECT_FALSE(robots.allows("/a/b/c/d"));
  EXPECT_TRUE(robots.allows("/t"));
}

TEST(Robots, StarsAndAnchors) {
  const auto robots = Robots::parse(
      "User-agent: *\nDisallow: /*.php$\nDisallow: /a*b*c\nDisallow: /\xC3\xBC\nDisallow: /%7Eme",
      "x");
  EXPECT_FALSE(robots.allows("/x.php"));
  EXPECT_FALSE(robots.allows("/x.php.php"));
  EXPECT_TRUE(robots.allows("/x.php?y"));
  EXPECT_FALSE(robots.allows("/a1b2c3"));
  EXPECT_TRUE(robots.allows("/a1c2b3"));
  EXPECT_FALSE(robots.allows("/%C3%BC"));
  EXPECT_FALSE(robots.allows("/~me/x"));
}

TEST(Robots, DelayAndRubbish) {
  EXPECT_EQ(Robots::parse("User-agent: *\nCrawl-delay: 2.5", "x").crawl_delay(), 2.5);
  EXPECT_EQ(Robots::parse("User-agent: *\nCrawl-delay: soon", "x").crawl_delay(), std::nullopt);
  EXPECT_EQ(Robots::parse("User-agent: *\nCrawl-delay: -1", "x").crawl_delay(), std::nullopt);
  EXPECT_TRUE(Robots::parse("<html>no such page</html>\n:::\nDisallow: /\n", "x").allows("/a"));
  EXPECT_TRUE(Robots::parse("", "x").allows("/a"));
}

TEST(Robots, HostilePatternEnds) {
  std::string stars = "User-agent: *\nDisallow: /";
  for (int i = 0; i < 2000; ++i) stars += "*a";
  const auto robots = Robots::parse(stars + "*b", "x");
  EXPECT_TRUE(robots.allows("/" + std::string(10000, 'a')));
}

// ---- pages and charsets

Page parsed(const std::string& html, PageOptions options = {}) {
  return parse_page(html, "", "http://a.org/d/p.html", options);
}

TEST(Page, LinksInOrderOnceEach) {
  const Page page = parsed(
      "<title> A\n  title </title><a href=x.html>1</a><a name=y>2</a><a href='X.html#z'>3</a><a "
      "href=x.html#f>4</a>"
      "<map><area href=/area></map><link rel=next href=n.html><link rel=stylesheet href=s.css>"
      "<a href=mailto:me>5</a><a href='http://[bad'>6</a><img "
      "src=i.png><svg><title>no</title></svg>");
  EXPECT_EQ(page.title, "A title");
  EXPECT_THAT(page.links, ElementsAre("http://a.org/d/x.html", "http://a.org/d/X.html",
                                      "http://a.org/area", "http://a.org/d/n.html"));
  EXPECT_THAT(page.malformed, ElementsAre("http://[bad"));
  EXPECT_THAT(parsed("<img src=i.png>", {.images = true}).links,
              ElementsAre("http://a.org/d/i.png"));
}

TEST(Page, BaseMovesTheReferences) {
  EXPECT_THAT(parsed("<base href='/other/'><base href='/late/'><a href=x>1</a>").links,
              ElementsAre("http://a.org/other/x"));
}

TEST(Page, NofollowAndNoindex) {
  EXPECT_THAT(parsed("<a rel='x nofollow' href=a>1</a><a href=b>2</a>").links,
              ElementsAre("http://a.org/d/b"));
  EXPECT_THAT(parsed("<meta name=Robots content='NoIndex, nofollow'><a href=b>2</a>").links,
              IsEmpty());
  EXPECT_TRUE(parsed("<meta name=robots content=none>").noindex);
  EXPECT_THAT(parsed("<meta name=robots content=none><a rel=nofollow href=b>2</a>",
                     {.obey_nofollow = false})
                  .links,
              SizeIs(1));
}

TEST(Page, EntitiesAndBrokenMarkup) {
  EXPECT_THAT(parsed("<p><a href='x?a=1&amp;b=2'>1<p></b></table><a href=y").links,
              ElementsAre("http://a.org/d/x?a=1&b=2"));
  EXPECT_THAT(parsed("").links, IsEmpty());
  EXPECT_THAT(parsed(std::string("\0\xff\xfe<a href=x>", 14)).malformed, IsEmpty());
}

TEST(Page, NestingIsLimited) {
  EXPECT_EQ(nesting_of("<html><body><p>1<p>2<ul><li>3<li><br></ul><b>4</b><div><div></div></div>"),
            2u);
  EXPECT_EQ(nesting_of("<script>for(i=0;i<n;++i)if(a<b)x('<div><div>')</SCRIPT><!-- <i><i> -->< p"),
            1u);
  EXPECT_EQ(nesting_of("<script>never closed <div><div>"), 1u);
  std::string deep;
  for (std::size_t i = 0; i < max_nesting; ++i) deep += "<div>";
  EXPECT_THAT(parsed(deep + "<a href=x>").too_deep, true);
  deep.erase(0, 5);
  EXPECT_THAT(parsed(deep + "<a href=x>").links, SizeIs(1));
}

TEST(Charset, FoundInTheRightOrder) {
  EXPECT_EQ(charset_of("\xEF\xBB\xBFx", "iso-8859-2"), "utf-8");
  EXPECT_EQ(charset_of("<meta charset=koi8-r>", "iso-8859-2"), "iso-8859-2");
  EXPECT_EQ(charset_of("<meta http-equiv=Content-Type content=\"text/html; charset=KOI8-R\">", ""),
            "koi8-r");
  EXPECT_EQ(charset_of("<meta charset='utf-16'>", ""), "utf-8");
  EXPECT_EQ(charset_of("caf\xC3\xA9", ""), "utf-8");
  EXPECT_EQ(charset_of("caf\xE9", ""), "windows-1252");
  EXPECT_EQ(charset_of("x", "x-nobody-knows"), "windows-1252");
  EXPECT_EQ(charset_of("x", "ISO-8859-1"), "windows-1252");
  EXPECT_EQ(charset_parameter("text/html; charset=\"UTF-8\"; x=y"), "utf-8");
  EXPECT_EQ(charset_parameter("text/html"), "");
}

TEST(Charset, ConvertsAndReplacesWhatIsNothing) {
  EXPECT_EQ(to_utf8("\x80 caf\xE9", "windows-1252"), "\xE2\x82\xAC caf\xC3\xA9");
  EXPECT_EQ(to_utf8(std::string_view("\xFF\xFEx\0\xE9\0", 6), "utf-16le"), "x\xC3\xA9");
  EXPECT_EQ(to_utf8("a\xFF"
                    "b",
                    "utf-8"),
            "a\xEF\xBF\xBD"
            "b");
  EXPECT_EQ(to_utf8("\xC1\xC2", "koi8-r"), "\xD0\xB0\xD0\xB1");
  EXPECT_THAT(parse_page("<title>\xC1</title>", "koi8-r", "http://a.org/", {}).title, "\xD0\xB0");
}

// ---- the frontier, by a virtual clock

struct World {
  explicit World(FrontierOptions options) : frontier{std::move(options)} {}
  Time now{};
  Frontier frontier;

  std::vector<Job> jobs() {
    std::vector<Job> all;
    while (auto job = frontier.next(now)) all.push_back(*job);
    return all;
  }
  void answer(const Job& job, PageResult result) {
    result.id = job.id;
    frontier.take(result, now);
  }
  void page(const Job& job, std::vector<std::string> links = {}) {
    answer(job, {.status = 200, .html = true, .links = std::move(links)});
  }
  std::vector<Record> records() {
    std::vector<Record> all;
    for (auto& finished : frontier.take_finished()) all.push_back(finished.record);
    return all;
  }
};

FrontierOptions plain() {
  FrontierOptions options;
  options.robots = false;
  options.per_host = 0;
  return options;
}

std::vector<std::string> urls(const std::vector<Job>& jobs) {
  std::vector<std::string> all;
  for (const Job& job : jobs) all.push_back(job.url);
  return all;
}

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

// ---- journal and results

class JournalTest : public ::testing::Test {
 protected:
  JournalTest() {
    std::string name = (std::filesystem::temp_directory_path() / "crawler_test_XXXXXX").string();
    directory_ = ::mkdtemp(name.data());
  }
  ~JournalTest() override { std::filesystem::remove_all(directory_); }
  [[nodiscard]] std::string path(const char* name) const { return directory_ + "/" + name; }
  static std::string content(const std::string& path) {
    std::ostringstream text;
    text << std::ifstream{path}.rdbuf();
    return text.str();
  }
  std::string directory_;
};

Frontier::Finished done(const std::string& url, std::vector<std::string> queued = {}) {
  return {.record = {.url = url, .final_url = url, .status = 200, .title = "t\xFF"},
          .queued = std::move(queued)};
}

TEST_F(JournalTest, GoesOnWhereItEnded) {
  const std::vector<std::string> seeds{"http://a/"};
  {
    auto journal = Journal::open(path("state"), seeds).unwrap();
    EXPECT_THAT(journal.finished(), IsEmpty());
    journal.append(done("http://a/", {"http://a/1", "http://a/2"}));
    journal.append(done("http://a/1"));
    journal.commit().unwrap();
    journal.append(done("http://a/2"));  // never committed
  }
  std::ofstream{path("state"), std::ios::app} << R"({"page":{"url":"http://a/2","fin)";
  auto journal = Journal::open(path("state"), seeds).unwrap();
  EXPECT_THAT(journal.finished(), SizeIs(2));
  World world{plain()};
  world.frontier.add_seed("http://a/");
  journal.restore(world.frontier);
  EXPECT_THAT(urls(world.jobs()), ElementsAre("http://a/2"));
  journal.append(done("http://a/2"));
  journal.commit().unwrap();
  EXPECT_THAT(Journal::open(path("state"), seeds).unwrap().finished(), SizeIs(3))
      << "the torn line is gone";
}

TEST_F(JournalTest, RefusesWhatIsNotItsOwn) {
  Journal::open(path("state"), {"http://a/"}).unwrap();
  const auto other = Journal::open(path("state"), {"http://b/"});
  ASSERT_FALSE(other);
  EXPECT_THAT(other.error().what(), HasSubstr("belongs to a crawl of http://a/, not of http://b/"));
  std::ofstream{path("rubbish")} << "{\"crawl\":[\"http://a/\"]}\nrubbish\n";
  EXPECT_THAT(Journal::open(path("rubbish"), {"http://a/"}).error().what(), HasSubstr("line 2"));
  EXPECT_THAT(Journal::open(path("no/such/state"), {}).error().what(), HasSubstr("No such file"));
}

TEST_F(JournalTest, ResultsAreCompletedAfterACut) {
  const std::vector<Frontier::Finished> earlier{done("http://a/"), done("http://a/1")};
  {
    auto output = Output::open(path("out"), {}).unwrap();
    output.append(earlier[0].record);
    output.flush().unwrap();
  }
  std::ofstream{path("out"), std::ios::app} << R"({"url":"http://a/1","st)";
  Output::open(path("out"), earlier).unwrap();
  std::istringstream lines{content(path("out"))};
  std::vector<std::string> found;
  for (std::string line; std::getline(lines, line);) {
    found.push_back(nlohmann::json::parse(line).at("url").get<std::string>());
  }
  EXPECT_THAT(found, ElementsAre("http://a/", "http://a/1"));
}

TEST_F(JournalTest, VerifySeesEveryDifference) {
  std::ofstream{path("index.html")} << "<a href=a.html>x</a><a href=gone.html>x</a>";
  std::ofstream{path("a.html")} << "<a href=b.html>x</a>";
  std::ofstream{path("b.html")} << "<a href=index.html>x</a>";
  const std::string origin = "http://h/";
  const auto page = [&](const std::string& name, int status) {
    return Record{
        .url = origin + name, .final_url = origin + name, .status = status, .html = status == 200};
  };
  const std::vector<Record> wrong{page("a.html", 200), page("a.html", 200), page("b.html", 404),
                                  page("c.html", 200), page("", 200)};
  const Differences found = verify(directory_, origin, wrong, false, true);
  EXPECT_THAT(found.missed, ElementsAre(origin + "b.html", origin + "index.html"));
  EXPECT_THAT(found.invented, ElementsAre(origin + "c.html"));
  EXPECT_THAT(found.missed_dead, ElementsAre(origin + "gone.html"));
  EXPECT_THAT(found.invented_dead, ElementsAre(origin + "b.html"));
  EXPECT_THAT(found.twice, ElementsAre(origin + "a.html"));
  const std::vector<Record> right{page("", 200), page("index.html", 200), page("a.html", 200),
                                  page("b.html", 200), page("gone.html", 404)};
  EXPECT_TRUE(verify(directory_, origin, right, false, true).none());
}

TEST(Progress, BarFitsTheTerminal) {
  const Progress progress{Progress::Style::bar};
  const ProgressFigures figures{.done = 50, .open = 50, .in_flight = 4, .broken = 3};
  EXPECT_EQ(progress.bar(figures, 12.4, 80),
            "[############............] 50/100 pages, 12/s, 4 in flight, 3 broken");
  for (std::size_t width : {0u, 10u, 27u, 40u, 60u}) {
    EXPECT_LE(progress.bar(figures, 12.4, width).size(), std::max<std::size_t>(width, 27));
  }
  EXPECT_THAT(Progress{Progress::Style::coloured_bar}.bar(figures, 1, 80), HasSubstr("\x1b[32m"));
}

}  // namespace
}  // namespace crawler
