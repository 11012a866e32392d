// Tests of the crawler's parts that need no network: URLs, robots.txt, pages, charsets, the journal
// and the progress bar.
#include "charset.hpp"
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

#include "frontier_world.hpp"

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

namespace crawler {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

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
