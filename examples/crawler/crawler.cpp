// Example crawler: the program.
#include "crawl.hpp"
#include "crew.hpp"
#include "server.hpp"
#include "verify.hpp"

#include <passel/runtime.hpp>

#include <iostream>
#include <memory>

namespace {

using namespace crawler;

int complain(const passel::Error& error, ExitCode code) {
  std::cerr << "crawler: " << error.what() << '\n';
  return code;
}

int compare_with_files(const Options& options, const Crawl& crawl) {
  const Differences found = verify(options.serve, options.seeds.front(), crawl.pages(),
                                   options.fetch.images, options.fetch.obey_nofollow);
  std::cerr << "verify: a walk over the files reaches " << found.pages << " pages and "
            << found.dead << " dead links: "
            << (found.none() ? "the crawl found exactly these" : "the crawl differs") << '\n';
  for (const auto& url : found.missed) std::cerr << "  missed: " << url << '\n';
  for (const auto& url : found.invented) std::cerr << "  only in the crawl: " << url << '\n';
  for (const auto& url : found.missed_dead) std::cerr << "  missed dead link: " << url << '\n';
  for (const auto& url : found.invented_dead)
    std::cerr << "  dead in the crawl only: " << url << '\n';
  for (const auto& url : found.twice) std::cerr << "  twice in the results: " << url << '\n';
  return found.none() ? exit_ok : exit_verify;
}

int run(Options& options) {
  if (!options.far.connect.empty()) {
    const auto worked = work_far_away(options.far, options.fetchers);
    return worked ? exit_ok : complain(worked.error(), exit_internal);
  }
  std::unique_ptr<DemoServer> server;
  if (!options.serve.empty()) {
    auto started = DemoServer::start(options.serve, options.port, options.fetchers);
    if (!started) {
      return complain(started.error(),
                      started.error() == passel::Errc::refused ? exit_port : exit_file);
    }
    server = *std::move(started);
    options.seeds = {server->url()};
  }
  auto prepared = Crawl::prepare(options);
  if (!prepared) return complain(prepared.error(), exit_file);
  const auto crawl = *std::move(prepared);
  if (auto done = crawl->run(); !done) {
    return complain(done.error(), done.error() == passel::Errc::system ? exit_file : exit_internal);
  }
  auto code = crawl->conclude();
  if (!code) return complain(code.error(), exit_file);
  if (!options.verify || crawl->interrupted()) return *code;
  const int compared = compare_with_files(options, *crawl);
  return compared != exit_ok ? compared : *code;
}

}  // namespace

int main(int argc, char** argv) {
  passel::Runtime runtime{argc, argv};  // a fetcher process never gets behind this line
  CommandLine line = read_command_line(argc, argv);
  if (line.exit_code >= 0) return line.exit_code;
  try {
    return run(line.options);
  } catch (const std::exception& error) {
    std::cerr << "crawler: " << error.what() << '\n';
    return exit_internal;
  }
}
