// Example service: an HTTP server whose requests are computed in worker processes.
//
//   client --HTTP--> thread of cpp-httplib --submit, deadline--> Pool --> worker process
//
// A request that takes too long is answered 504, and its worker is stopped. A worker that dies
// costs the one request that it was computing (503), and is replaced. SIGTERM or SIGINT: no new
// requests, those in work are answered, then everything ends.
#include <passel/pool.hpp>
#include <passel/runtime.hpp>
#include <passel/this_task.hpp>

#include <httplib.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string>
#include <thread>

namespace {

using namespace std::chrono_literals;
using passel::Errc;
using passel::Error;
using passel::Result;

struct Options {
  int port = 8080;  // 0: any that is free
  int workers = 2;
  std::chrono::milliseconds deadline = 5s;  // of each request
};

/// How many prime numbers there are below a limit, by trial: work that keeps a CPU busy. Over its
/// deadline it stops by itself, and so need not be killed.
long count_primes(long below) {
  long count = 0;
  for (long n = 2; n < below && !passel::this_task::stop_requested(); ++n) {
    bool prime = true;
    for (long d = 2; prime && d * d <= n; ++d) prime = n % d != 0;
    if (prime) ++count;
  }
  return count;
}

std::optional<long> number(const std::string& text) {
  char* end = nullptr;
  const long value = std::strtol(text.c_str(), &end, 10);
  if (text.empty() || *end != '\0' || value < 0) return std::nullopt;
  return value;
}

/// What the client is told when there is no result.
int status_of(const Error& error) {
  switch (error.code()) {
    case Errc::timeout: return 504;        // over its deadline
    case Errc::worker_lost:                // its worker died
    case Errc::invalid_state: return 503;  // the service is ending
    case Errc::invalid_argument: return 400;
    default: return 500;
  }
}

void answer(httplib::Response& response, const Result<long>& result) {
  if (!result) {
    response.status = status_of(result.error());
    if (response.status == 503) response.set_header("Retry-After", "1");
  }
  response.set_content((result ? std::to_string(*result) : result.error().what()) + "\n",
                       "text/plain");
}

void serve_primes(passel::Pool& pool, const Options& options, const httplib::Request& request,
                  httplib::Response& response) {
  const auto below = number(request.get_param_value("below"));
  if (!below) {
    return answer(response, Error{Errc::invalid_argument, "below must be a number"});
  }
  answer(response, pool.submit<count_primes>({.deadline = options.deadline}, *below).get());
}

/// A line for each worker: its pid, and whether it computes.
void serve_workers(const passel::Pool& pool, httplib::Response& response) {
  std::string text;
  for (const auto& worker : pool.stats().workers) {
    text += std::to_string(worker.pid) + (worker.running ? " busy\n" : " idle\n");
  }
  response.set_content(text, "text/plain");
}

Result<Options> parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string name = argv[i];
    const auto value = number(argv[i + 1]);
    if (!value) return Error{Errc::invalid_argument, name + " needs a number"};
    if (name == "--port")
      options.port = static_cast<int>(*value);
    else if (name == "--workers")
      options.workers = static_cast<int>(*value);
    else if (name == "--deadline-ms")
      options.deadline = std::chrono::milliseconds{*value};
    else
      return Error{Errc::invalid_argument, "unknown option " + name};
  }
  return options;
}

Result<void> run(const Options& options) {
  // Before any thread is started, so that all of them leave these two signals to sigwait below.
  sigset_t ending;
  sigemptyset(&ending);
  sigaddset(&ending, SIGTERM);
  sigaddset(&ending, SIGINT);
  ::pthread_sigmask(SIG_BLOCK, &ending, nullptr);

  PASSEL_TRY(auto pool, passel::Pool::start({.processes = options.workers}));
  httplib::Server http;
  http.new_task_queue = [] { return new httplib::ThreadPool(32); };
  http.set_keep_alive_timeout(1);
  http.Get("/primes", [&](const httplib::Request& request, httplib::Response& response) {
    serve_primes(pool, options, request, response);
  });
  http.Get("/workers", [&pool](const httplib::Request&, httplib::Response& response) {
    serve_workers(pool, response);
  });
  const int port = options.port == 0
                       ? http.bind_to_any_port("127.0.0.1")
                       : (http.bind_to_port("127.0.0.1", options.port) ? options.port : -1);
  if (port < 0) {
    return Error{Errc::refused, "cannot listen at port " + std::to_string(options.port)};
  }
  std::thread server{[&http] { http.listen_after_bind(); }};
  while (!http.is_running()) std::this_thread::yield();
  std::printf("listening at http://127.0.0.1:%d\n", port);
  std::fflush(stdout);

  int signal = 0;
  ::sigwait(&ending, &signal);
  http.stop();
  server.join();  // the requests in work have been answered
  pool.close();
  PASSEL_CHECK(pool.join());
  std::puts("drained");
  return {};
}

}  // namespace

int main(int argc, char** argv) {
  passel::Runtime runtime{argc, argv};
  const auto ended = parse(argc, argv).and_then(run);
  if (!ended) std::fprintf(stderr, "service: %s\n", ended.error().what().c_str());
  return ended ? 0 : 1;
}
