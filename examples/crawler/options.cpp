// Example crawler: the command line, with CLI11.
#include "options.hpp"

#include "url.hpp"

#include <CLI/CLI.hpp>

#include <cstdio>
#include <map>
#include <regex>

namespace crawler {
namespace {

constexpr const char* description =
    "Crawls web pages: one parent decides what comes next, several fetchers get pages and read "
    "their links.";

constexpr const char* exit_codes = R"(Exit codes:
  0    finished (dead links are listed in the report)
  1    the fetchers kept dying, or another internal failure
  2    a mistake in the command line, such as a malformed URL
  3    no start page could be fetched (no such host, refused, not HTML, too large, ...)
  4    --verify found a difference
  5    a file or directory cannot be read or written
  6    the port of --serve cannot be used
  7    --strict, and there are dead links
  130  interrupted; with --state, the same command line goes on from there)";

/// What is read as plain numbers and texts, before it becomes Options.
struct Raw {
  std::vector<std::string> include;
  std::vector<std::string> exclude;
  double delay = 0.25;
  double backoff = 0.5;
  double connect_timeout = 5;
  double timeout = 30;
  int depth = -1;
  bool no_robots = false;
  bool ignore_nofollow = false;
};

struct Given {
  CLI::Option* delay;
  CLI::Option* per_host;
  CLI::Option* agent;
};

void declare_demo(CLI::App& app, Options& options) {
  app.add_option("--serve", options.serve, "Serve this directory on loopback, and crawl it");
  app.add_option("--port", options.port, "Port for --serve, 0: a free one")
      ->check(CLI::Range(0, 65535));
  app.add_flag("--verify", options.verify, "With --serve: walk over the files as well and compare");
}

CLI::Option* declare_fetchers(CLI::App& app, Options& options, Raw& raw) {
  const std::map<std::string, Reach> reaches{{"processes", Reach::processes},
                                             {"threads", Reach::threads}};
  app.add_option("--reach", options.reach, "Fetchers are processes or threads")
      ->transform(CLI::CheckedTransformer(reaches))
      ->option_text("processes|threads [processes]");
  app.add_option("-j,--fetchers", options.fetchers, "How many fetchers")->check(CLI::Range(1, 256));
  app.add_option("--connect-timeout", raw.connect_timeout, "Seconds")->check(CLI::PositiveNumber);
  app.add_option("--timeout", raw.timeout, "Seconds for a whole answer")
      ->check(CLI::PositiveNumber);
  app.add_option("--max-bytes", options.fetch.max_bytes, "Largest page")
      ->check(CLI::PositiveNumber);
  return app.add_option("--user-agent", options.fetch.user_agent, "What we call ourselves");
}

void declare_far(CLI::App& app, Options& options) {
  app.add_option("--listen", options.far.listen,
                 "HOST:PORT where fetchers of other hosts come to, in place of those here");
  app.add_option("--connect", options.far.connect,
                 "Fetch for the crawler that listens there, in as many processes as --fetchers");
  app.add_option("--key-file", options.far.key_file, "The key of both (passel keygen)")
      ->envname("PASSEL_AUTHKEY_FILE");
}

void declare_scope(CLI::App& app, Options& options, Raw& raw) {
  app.add_option("--pages", options.frontier.max_pages, "Most pages, 0: no limit");
  app.add_option("--depth", raw.depth, "Most links away from a start page")
      ->check(CLI::NonNegativeNumber)
      ->default_str("no limit");
  app.add_option("--include", raw.include, "Only URLs in which this regular expression is found")
      ->take_all()
      ->default_str("")
      ->allow_extra_args(false);
  app.add_option("--exclude", raw.exclude, "No URLs in which this one is found")
      ->take_all()
      ->default_str("")
      ->allow_extra_args(false);
  app.add_flag("--span-hosts", options.frontier.span_hosts, "Follow links to other hosts");
  app.add_flag("--images", options.fetch.images, "Check images too");
  app.add_flag("--ignore-nofollow", raw.ignore_nofollow, "Follow rel=nofollow and nofollow pages");
}

void declare_manners(CLI::App& app, Options& options, Raw& raw, Given& given) {
  given.delay =
      app.add_option("--delay", raw.delay, "Seconds between requests to one host (0 with --serve)")
          ->check(CLI::NonNegativeNumber);
  given.per_host = app.add_option("--per-host", options.frontier.per_host,
                                  "Requests to one host at a time, 0: no limit (0 with --serve)");
  app.add_flag("--no-robots", raw.no_robots, "Do not ask for robots.txt");
  app.add_option("--retries", options.frontier.retries, "After the first attempt")
      ->check(CLI::Range(0, 20));
  app.add_option("--backoff", raw.backoff, "Seconds before the first retry, then doubled")
      ->check(CLI::NonNegativeNumber);
}

void declare_files(CLI::App& app, Options& options) {
  app.add_option("--state", options.state, "Keep the state here, and go on from it");
  app.add_option("--output", options.output, "Results as JSON lines, - for standard output");
  app.add_option("--report", options.report, "Write the report here instead of to standard error");
  app.add_flag("--strict", options.strict, "Dead links are a failure");
  app.add_flag("-q,--quiet", options.quiet, "No progress");
}

Given declare(CLI::App& app, Options& options, Raw& raw) {
  Given given{};
  app.footer(exit_codes);
  app.option_defaults()->always_capture_default()->multi_option_policy(
      CLI::MultiOptionPolicy::TakeLast);
  app.set_version_flag("--version", "crawler 0.1");
  app.add_option("URL", options.seeds, "Pages to start from")->take_all()->default_str("");
  app.option_defaults()->group("Demo");
  declare_demo(app, options);
  app.option_defaults()->group("Fetchers");
  given.agent = declare_fetchers(app, options, raw);
  app.option_defaults()->group("Other hosts");
  declare_far(app, options);
  app.option_defaults()->group("Scope");
  declare_scope(app, options, raw);
  app.option_defaults()->group("Manners");
  declare_manners(app, options, raw, given);
  app.option_defaults()->group("Files");
  declare_files(app, options);
  return given;
}

std::vector<std::regex> compiled(const std::vector<std::string>& patterns) {
  std::vector<std::regex> all;
  for (const std::string& pattern : patterns) {
    try {
      all.emplace_back(pattern, std::regex::ECMAScript | std::regex::optimize);
    } catch (const std::regex_error& error) {
      throw CLI::ValidationError("\"" + pattern + "\"",
                                 std::string{"is no regular expression: "} + error.what());
    }
  }
  return all;
}

void set_filter(Options& options, const Raw& raw) {
  if (raw.include.empty() && raw.exclude.empty()) return;
  options.frontier.wanted = [include = compiled(raw.include),
                             exclude = compiled(raw.exclude)](const std::string& url) {
    const auto found = [&url](const std::regex& pattern) {
      return std::regex_search(url, pattern);
    };
    return (include.empty() || std::any_of(include.begin(), include.end(), found)) &&
           std::none_of(exclude.begin(), exclude.end(), found);
  };
}

Duration seconds(double value) {
  return std::chrono::duration_cast<Duration>(std::chrono::duration<double>{value});
}

/// True when there is nothing to crawl from here.
bool works_for_another(const Options& options) {
  const FarOptions& far = options.far;
  if (far.listen.empty() && far.connect.empty()) return false;
  if (far.key_file.empty())
    throw CLI::ValidationError("--key-file", "goes with --listen and --connect");
  if (far.connect.empty()) return false;
  if (!far.listen.empty() || !options.seeds.empty() || !options.serve.empty())
    throw CLI::ValidationError("--connect",
                               "the pages are those of the crawler that listens there");
  return true;
}

void complete(Options& options, const Raw& raw, const Given& given) {
  if (works_for_another(options)) return;
  if (options.serve.empty() == options.seeds.empty()) {
    throw CLI::ValidationError("URL", "give at least one, or --serve DIR instead");
  }
  if (options.verify && options.serve.empty())
    throw CLI::ValidationError("--verify", "goes with --serve DIR only");
  if (options.verify && (options.frontier.max_pages != 0 || raw.depth >= 0 ||
                         !raw.include.empty() || !raw.exclude.empty())) {
    throw CLI::ValidationError(
        "--verify",
        "compares whole crawls: it goes with none of --pages, --depth, --include, --exclude");
  }
  if (!options.serve.empty() && !options.state.empty() && options.port == 0) {
    throw CLI::ValidationError(
        "--state", "with --serve needs a --port, so that the URLs are the same next time");
  }
  for (std::string& seed : options.seeds) {
    auto url = canonical_url(seed);
    if (!url) throw CLI::ValidationError("URL", url.error().what());
    seed = *std::move(url);
  }
  set_filter(options, raw);
  FrontierOptions& frontier = options.frontier;
  frontier.robots = !raw.no_robots;
  frontier.fetchers = options.fetchers;
  frontier.delay = seconds(given.delay->count() == 0 && !options.serve.empty() ? 0 : raw.delay);
  if (given.per_host->count() == 0 && !options.serve.empty()) frontier.per_host = 0;
  frontier.backoff = seconds(raw.backoff);
  if (raw.depth >= 0) frontier.max_depth = raw.depth;
  const std::string& agent = options.fetch.user_agent;
  frontier.product = agent.substr(0, agent.find_first_of("/ "));
  options.fetch.connect_timeout_ms =
      std::max<std::int64_t>(1, static_cast<std::int64_t>(raw.connect_timeout * 1000));
  options.fetch.timeout_ms =
      std::max<std::int64_t>(1, static_cast<std::int64_t>(raw.timeout * 1000));
  options.fetch.obey_nofollow = !raw.ignore_nofollow;
  options.fetch.use_proxy = options.serve.empty();
  options.fetch.compressed = options.serve.empty();
}

}  // namespace

CommandLine read_command_line(int argc, char** argv) {
  CommandLine result;
  Raw raw;
  CLI::App app{description, "crawler"};
  const Given given = declare(app, result.options, raw);
  try {
    app.parse(argc, argv);
    complete(result.options, raw, given);
  } catch (const CLI::ParseError& error) {
    result.exit_code = app.exit(error) == 0 ? exit_ok : exit_usage;
  }
  return result;
}

}  // namespace crawler
