// Tests of the crawler as a program: what it finds, what it survives, how it ends.
#include "crawler_support.hpp"
#include "support/process_census.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <random>

namespace crawler_test {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

class Crawler : public ::testing::TestWithParam<const char*> {
 protected:
  /// A crawl without pauses and with quick retries; `more` comes on top.
  std::vector<std::string> arguments(std::vector<std::string> more) const {
    std::vector<std::string> all{"--reach",
                                 GetParam(),
                                 "--delay",
                                 "0",
                                 "--per-host",
                                 "0",
                                 "--backoff",
                                 "0.01",
                                 "--quiet",
                                 "--report",
                                 directory.file("report"),
                                 "--output",
                                 directory.file("out")};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }
  int crawl(std::vector<std::string> more) const {
    Program program{directory, arguments(std::move(more))};
    return program.wait();
  }
  auto results() const { return results_of(directory.file("out"), site); }
  std::string report() const { return content_of(directory.file("report")); }
  std::string errors() const { return content_of(directory.file("stderr")); }

  // Before the site, whose last handlers may still ask it.
  std::atomic<bool> over{false};
  Site site;
  TemporaryDirectory directory;
};

INSTANTIATE_TEST_SUITE_P(Reach, Crawler, ::testing::Values("processes", "threads"),
                         [](const auto& parameter) { return std::string{parameter.param}; });

TEST_P(Crawler, FindsEveryPageOnce) {
  const auto expected = site.many_pages(300);
  site.start();
  const auto before = passel_test::ProcessCensus::take();
  EXPECT_EQ(crawl({site.url("/page/0")}), 0) << errors();
  EXPECT_EQ(names(results()), expected);
  EXPECT_EQ(site.all_requests(), 301) << "each page and robots.txt once";
  EXPECT_THAT(report(), HasSubstr("300 pages"));
  EXPECT_THAT(report(), HasSubstr("broken links: none"));
  EXPECT_EQ(before.left_over(passel_test::ProcessCensus::take()).find("crawler"),
            std::string::npos);
}

TEST_P(Crawler, FollowsRedirectsHopByHop) {
  site.page("/", {"/old", "/loop", "/far/0", "/away", "/nowhere"});
  site.page("/new", {});
  const auto redirect = [this](const char* from, const std::string& to) {
    site.http().Get(from, [to](const httplib::Request&, httplib::Response& response) {
      response.status = 302;
      if (!to.empty()) response.set_header("Location", to);
    });
  };
  redirect("/old", "older");
  redirect("/older", "/x/../new#part");
  redirect("/loop", "/loop2");
  redirect("/loop2", "/loop");
  redirect("/away", "http://elsewhere.invalid/");
  redirect("/nowhere", "");
  site.http().Get(
      R"(/far/(\d+))", [](const httplib::Request& request, httplib::Response& response) {
        response.set_redirect("/far/" + std::to_string(std::stoi(request.matches[1].str()) + 1));
      });
  site.start();
  EXPECT_EQ(crawl({site.url("/")}), 0) << errors();
  const auto found = results();
  EXPECT_THAT(names(found), ElementsAre("/", "/away", "/far/0", "/loop", "/nowhere", "/old"));
  EXPECT_EQ(found.at("/old").at("final_url"), site.url("/new"));
  EXPECT_EQ(found.at("/old").at("status"), 200);
  EXPECT_EQ(found.at("/loop").at("error"), "redirect loop: back to " + site.url("/loop"));
  EXPECT_EQ(found.at("/far/0").at("error"), "more than 10 redirects");
  EXPECT_EQ(found.at("/nowhere").at("error"), "redirect without a Location");
  EXPECT_EQ(found.at("/away").at("error"), "redirect out of the crawl");
  EXPECT_EQ(site.requests("/far/10"), 1);
  EXPECT_EQ(site.requests("/far/11"), 0);
  EXPECT_EQ(site.requests("/new"), 1);
}

TEST_P(Crawler, RetriesWhatMayPassAndReportsDeadLinks) {
  site.page("/", {"/missing", "/shaky", "/down"});
  std::atomic<int> asked{0};
  site.http().Get("/shaky", [&](const httplib::Request&, httplib::Response& response) {
    if (++asked < 3) {
      response.status = 500;
    } else {
      response.set_content("<title>at last</title>", "text/html");
    }
  });
  site.http().Get("/down", [](const httplib::Request&, httplib::Response& response) {
    response.status = 503;
    response.set_header("Retry-After", "0");
  });
  site.start();
  EXPECT_EQ(crawl({site.url("/"), "--retries", "2", "--strict"}), 7) << errors();
  const auto found = results();
  EXPECT_EQ(found.at("/shaky").at("title"), "at last");
  EXPECT_EQ(found.at("/shaky").at("attempts"), 3);
  EXPECT_EQ(found.at("/down").at("error"), "HTTP 503");
  EXPECT_EQ(site.requests("/down"), 3);
  EXPECT_EQ(site.requests("/missing"), 1);
  EXPECT_THAT(report(), HasSubstr("broken links: 2\n"));
  EXPECT_THAT(report(), HasSubstr(site.url("/missing") + ": HTTP 404\n    in " + site.url("/")));
}

TEST_P(Crawler, LimitOfTime) {
  site.page("/", {"/slow"});
  site.http().Get("/slow", [&](const httplib::Request&, httplib::Response& response) {
    response.set_chunked_content_provider("text/html", [&](std::size_t, httplib::DataSink& sink) {
      if (over || !sink.is_writable()) return false;
      std::this_thread::sleep_for(20ms);
      return sink.write("x", 1);
    });
  });
  site.start();
  EXPECT_EQ(crawl({site.url("/"), "--timeout", "1", "--retries", "1"}), 0);
  over = true;
  const auto found = results();
  EXPECT_THAT(found.at("/slow").at("error").get<std::string>(), HasSubstr("timed out"));
  EXPECT_EQ(found.at("/slow").at("attempts"), 2);
}

TEST_P(Crawler, LimitOfSize) {
  site.page("/", {"/large", "/endless"});
  site.http().Get("/large", [](const httplib::Request&, httplib::Response& response) {
    response.set_content(std::string(20'001, 'x'), "text/html");
  });
  site.http().Get("/endless", [&](const httplib::Request&, httplib::Response& response) {
    response.set_chunked_content_provider("text/html", [&](std::size_t, httplib::DataSink& sink) {
      static const std::string block(4096, 'x');
      return !over && sink.is_writable() && sink.write(block.data(), block.size());
    });
  });
  site.start();
  EXPECT_EQ(crawl({site.url("/"), "--max-bytes", "20000"}), 0);
  over = true;
  const auto found = results();
  EXPECT_EQ(found.at("/large").at("error"), "page over the size limit of 20000 bytes");
  EXPECT_EQ(found.at("/endless").at("error"), "page over the size limit of 20000 bytes");
  EXPECT_EQ(site.requests("/endless"), 1) << "no retry makes it smaller";
}

TEST_P(Crawler, CharsetsAndOtherTypes) {
  site.page("/", {"/header", "/meta", "/guess", "/picture", "/text"});
  const auto serve = [this](const char* path, const std::string& body, const char* type) {
    site.http().Get(path, [=](const httplib::Request&, httplib::Response& response) {
      response.set_content(body, type);
    });
  };
  serve("/header", "<title>\xC1\xC2</title>", "text/html; charset=KOI8-R");
  serve("/meta", "<meta charset='iso-8859-2'><title>\xE8</title>", "text/html");
  serve("/guess", "<title>\x80 5</title><a href='/caf\xE9'>x</a>",
        "text/html; charset=no-such-charset");
  serve("/picture", std::string(300'000, '\x7F'), "image/png");
  serve("/text", "<a href='/never'>", "text/plain");
  site.start();
  EXPECT_EQ(crawl({site.url("/")}), 0);
  const auto found = results();
  EXPECT_EQ(found.at("/header").at("title"), "\xD0\xB0\xD0\xB1");
  EXPECT_EQ(found.at("/meta").at("title"), "\xC4\x8D");
  EXPECT_EQ(found.at("/guess").at("title"), "\xE2\x82\xAC 5");
  EXPECT_EQ(found.at("/picture").at("error"), "");
  EXPECT_FALSE(found.contains("/never"));
  EXPECT_TRUE(found.contains("/caf%C3%A9")) << "links are read in the page's charset";
  EXPECT_THAT(report(), HasSubstr("2 of other types"));
}

TEST_P(Crawler, ObeysRobots) {
  site.http().Get("/robots.txt", [](const httplib::Request& request, httplib::Response& response) {
    EXPECT_THAT(request.get_header_value("User-Agent"), HasSubstr("tester/1"));
    response.set_content(
        "User-agent: *\nDisallow: /\n\nUser-agent: tester\nDisallow: /private\nAllow: "
        "/private/open$\n",
        "text/plain");
  });
  site.page("/", {"/private/x", "/private/open", "/moved"});
  site.page("/private/x", {});
  site.page("/private/open", {});
  site.http().Get("/moved", [](const httplib::Request&, httplib::Response& response) {
    response.set_redirect("/private/y");
  });
  site.start();
  EXPECT_EQ(crawl({site.url("/"), "--user-agent", "tester/1"}), 0) << errors();
  const auto found = results();
  EXPECT_EQ(found.at("/private/x").at("error"), "disallowed by robots.txt");
  EXPECT_EQ(found.at("/private/open").at("status"), 200);
  EXPECT_EQ(found.at("/moved").at("error"), "disallowed by robots.txt")
      << "a redirect is no way around";
  EXPECT_EQ(site.requests("/private/x"), 0);
  EXPECT_EQ(site.requests("/private/y"), 0);
  EXPECT_EQ(site.requests("/robots.txt"), 1);
  EXPECT_THAT(report(), HasSubstr("broken links: none"));
}

TEST_P(Crawler, ScopeAndLimits) {
  site.page("/", {"/a.html", "/b.html", "/c.txt", "http://elsewhere.invalid/"});
  site.page("/a.html", {"/d.html"});
  site.page("/b.html", {"/skip.html"});
  site.page("/c.txt", {});
  site.page("/d.html", {"/e.html"});
  site.page("/e.html", {});
  site.start();
  EXPECT_EQ(crawl({site.url("/"), "--include", "\\.html$", "--exclude", "/skip"}), 0);
  EXPECT_THAT(names(results()), ElementsAre("/", "/a.html", "/b.html", "/d.html", "/e.html"));
  EXPECT_EQ(crawl({site.url("/"), "--depth", "1"}), 0);
  EXPECT_THAT(names(results()), ElementsAre("/", "/a.html", "/b.html", "/c.txt"));
  EXPECT_EQ(crawl({site.url("/"), "--pages", "3"}), 0);
  EXPECT_EQ(results().size(), 3u);
  EXPECT_THAT(report(), HasSubstr("left out by the page limit"));
}

TEST_P(Crawler, FewRequestsAtATimeAndPausesBetweenThem) {
  site.many_pages(12);
  site.set_answer_time(5ms);
  site.start();
  const auto begun = std::chrono::steady_clock::now();
  EXPECT_EQ(crawl({site.url("/page/0"), "--per-host", "2", "--delay", "0.05", "--no-robots"}), 0);
  EXPECT_GE(std::chrono::steady_clock::now() - begun, 11 * 50ms);
  EXPECT_LE(site.most_at_once(), 2);
  EXPECT_EQ(results().size(), 12u);
}

TEST_P(Crawler, GoesOnAfterBeingKilled) {
  const auto expected = site.many_pages(200);
  site.set_answer_time(2ms);
  site.start();
  const std::vector<std::string> command =
      arguments({site.url("/page/0"), "--state", directory.file("state")});
  {
    Program program{directory, command};
    site.wait_for_requests(80);
    program.signal(SIGKILL);
    EXPECT_EQ(program.wait(), -SIGKILL);
  }
  // The last line of each file may be torn; make sure that it is.
  std::ofstream{directory.file("state"), std::ios::app} << R"({"page":{"url":"http)";
  std::ofstream{directory.file("out"), std::ios::app} << R"({"url":)";
  const int before = site.all_requests();
  Program program{directory, command};
  EXPECT_EQ(program.wait(), 0) << errors();
  EXPECT_EQ(names(results()), expected);
  EXPECT_LT(site.all_requests() - before, 200) << "what was done has not been fetched again";
  EXPECT_THAT(report(), HasSubstr("more from earlier runs"));
}

TEST_P(Crawler, InterruptEndsInOrderAndTheNextRunGoesOn) {
  const auto expected = site.many_pages(150);
  site.set_answer_time(3ms);
  site.start();
  const std::vector<std::string> command =
      arguments({site.url("/page/0"), "--state", directory.file("state")});
  {
    Program program{directory, command};
    site.wait_for_requests(50);
    program.press_ctrl_c();
    EXPECT_EQ(program.wait(), 130) << errors();
    EXPECT_THAT(errors(), HasSubstr("interrupted: finishing"));
  }
  EXPECT_LT(results().size(), 150u);
  EXPECT_THAT(report(), HasSubstr("pages were waiting"));
  for (const auto& [name, result] : results()) EXPECT_EQ(result.at("error"), "") << name;
  EXPECT_EQ(Program(directory, command).wait(), 0) << errors();
  EXPECT_EQ(names(results()), expected);
  for (const std::string& page : expected) EXPECT_EQ(site.requests(page), 1) << page;
}

TEST_P(Crawler, PageOfNothingButOpeningTags) {
  site.page("/", {"/deep", "/ok"});
  site.page("/ok", {});
  site.http().Get("/deep", [](const httplib::Request&, httplib::Response& response) {
    std::string html;
    for (int i = 0; i < 500'000; ++i) html += "<div>";
    response.set_content(html, "text/html");
  });
  site.start();
  EXPECT_EQ(crawl({site.url("/")}), 0) << errors();
  EXPECT_EQ(results().at("/deep").at("error"), "page over the nesting limit of 2000 elements");
  EXPECT_EQ(results().at("/ok").at("status"), 200);
}

TEST_P(Crawler, ComplainsInWords) {
  site.http().Get("/text", [](const httplib::Request&, httplib::Response& response) {
    response.set_content("x", "text/plain");
  });
  site.http().Get("/large", [](const httplib::Request&, httplib::Response& response) {
    response.set_content(std::string(5000, 'x'), "text/html");
  });
  site.start();
  EXPECT_EQ(crawl({"http://no-such-host.invalid/"}), 3);
  EXPECT_THAT(errors(), HasSubstr("no such host: no-such-host.invalid"));
  EXPECT_EQ(crawl({site.url("/text")}), 3);
  EXPECT_THAT(errors(), HasSubstr("is text/plain, not HTML"));
  EXPECT_EQ(crawl({site.url("/large"), "--max-bytes", "4999"}), 3);
  EXPECT_THAT(errors(), HasSubstr("page over the size limit of 4999 bytes"));
  EXPECT_EQ(crawl({"http://[bad/"}), 2);
  EXPECT_THAT(errors(), HasSubstr("malformed URL \"http://[bad/\""));
  EXPECT_EQ(crawl({site.url("/"), "--include", "("}), 2);
  EXPECT_EQ(crawl({}), 2);
  EXPECT_EQ(crawl({"--serve", directory.file("nothing")}), 5);
  EXPECT_THAT(errors(), HasSubstr("cannot read directory"));
  EXPECT_EQ(crawl({site.url("/"), "--state", directory.file("no/state")}), 5);
  const std::string port = site.url("").substr(site.url("").rfind(':') + 1);
  EXPECT_EQ(crawl({"--serve", directory.path(), "--port", port}), 6);
  EXPECT_THAT(errors(), HasSubstr("cannot listen at 127.0.0.1:" + port));
}

TEST_P(Crawler, ServesADirectoryAndVerifiesTheCrawl) {
  const std::string root = directory.file("site");
  std::filesystem::create_directories(root + "/deep/er");
  const auto write = [&](const std::string& name, const std::string& text) {
    std::ofstream{root + "/" + name} << text;
  };
  write("index.html",
        "<a href=deep/>x</a><a href='a%20b.html'>x</a><a href=gone.html>x</a><a href=x.css>x</a>");
  write("a b.html", "<a href=deep/er/page.html#part>x</a>");
  write("deep/index.html", "<a href=..>x</a><a href=er/page.html?q>x</a>");
  write("deep/er/page.html",
        "<a href='http://elsewhere.invalid/'>x</a><a href='http://[bad'>x</a>");
  write("x.css", "a {}");
  write("lonely.html", "nobody links here");
  EXPECT_EQ(crawl({"--serve", root, "--verify"}), 0) << errors();
  EXPECT_THAT(errors(),
              HasSubstr("reaches 5 pages and 1 dead links: the crawl found exactly these"));
  EXPECT_THAT(report(), HasSubstr("broken links: 3\n"));
  EXPECT_THAT(report(), HasSubstr("\"http://[bad\": malformed URL"));
  EXPECT_THAT(report(), Not(HasSubstr("lonely")));
}

/// Things that only processes can be put through.
class FetcherProcesses : public Crawler {};
INSTANTIATE_TEST_SUITE_P(Reach, FetcherProcesses, ::testing::Values("processes"));

TEST_P(FetcherProcesses, KilledFetchersLoseNoPageAndDoubleNone) {
  const auto expected = site.many_pages(400);
  site.set_answer_time(2ms);
  site.start();
  Program program{directory, arguments({site.url("/page/0"), "--fetchers", "4"})};
  std::minstd_rand random{42};
  int kills = 0;
  for (int requests = 20; requests < 380; requests += 15) {
    site.wait_for_requests(requests);
    const auto fetchers = program.fetchers();
    if (fetchers.empty()) continue;
    if (::kill(fetchers[random() % fetchers.size()], SIGKILL) == 0) ++kills;
  }
  EXPECT_EQ(program.wait(), 0) << errors();
  EXPECT_GT(kills, 10);
  EXPECT_EQ(names(results()), expected);
  EXPECT_THAT(report(), HasSubstr("broken links: none"));
}

TEST_P(FetcherProcesses, AllFetchersAtOnce) {
  const auto expected = site.many_pages(100);
  site.set_answer_time(2ms);
  site.start();
  Program program{directory, arguments({site.url("/page/0"), "--fetchers", "3"})};
  site.wait_for_requests(30);
  for (pid_t fetcher : program.fetchers()) ::kill(fetcher, SIGKILL);
  EXPECT_EQ(program.wait(), 0) << errors();
  EXPECT_EQ(names(results()), expected);
}

TEST_P(FetcherProcesses, PageThatKillsItsFetchersIsGivenUp) {
  site.page("/", {"/deadly", "/ok"});
  site.page("/ok", {});
  std::atomic<Program*> running{nullptr};
  site.http().Get("/deadly", [&](const httplib::Request&, httplib::Response&) {
    for (pid_t fetcher : running.load()->fetchers()) ::kill(fetcher, SIGKILL);
  });
  site.start();
  Program program{directory, arguments({site.url("/"), "--fetchers", "1", "--no-robots"})};
  running = &program;
  EXPECT_EQ(program.wait(), 0) << errors();
  EXPECT_EQ(results().at("/deadly").at("error"), "25 fetchers died with this page in hand");
  EXPECT_EQ(results().at("/ok").at("status"), 200);
  EXPECT_EQ(site.requests("/deadly"), 25);
  EXPECT_THAT(report(), HasSubstr("5 restarts"));
}

TEST_P(FetcherProcesses, NothingIsLeftWhenTheCrawlerIsKilled) {
  site.many_pages(300);
  site.set_answer_time(5ms);
  site.start();
  Program program{directory, arguments({site.url("/page/0")})};
  site.wait_for_requests(30);
  const auto fetchers = program.fetchers();
  EXPECT_EQ(fetchers.size(), 4u);
  program.signal(SIGKILL);
  program.wait();
  for (pid_t fetcher : fetchers) {
    while (::kill(fetcher, 0) == 0) std::this_thread::yield();  // ends, or the watchdog tells
  }
}

TEST_P(FetcherProcesses, SecondInterruptLeavesAtOnce) {
  site.page("/", {"/hangs"});
  site.http().Get("/hangs", [&](const httplib::Request&, httplib::Response& response) {
    while (!over) std::this_thread::sleep_for(1ms);
    response.set_content("late", "text/html");
  });
  site.start();
  Program program{directory, arguments({site.url("/"), "--no-robots"})};
  site.wait_for_requests(2);
  program.press_ctrl_c();
  while (program.errors().find("interrupted") == std::string::npos) std::this_thread::yield();
  EXPECT_FALSE(program.ended()) << "the page in flight is waited for";
  program.press_ctrl_c();
  EXPECT_EQ(program.wait(), 130);
  over = true;
  EXPECT_THAT(report(), HasSubstr("interrupted"));
}

}  // namespace
}  // namespace crawler_test
