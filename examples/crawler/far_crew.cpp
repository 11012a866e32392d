// Example crawler: fetchers on other hosts. The parent is the server that they come to; a page is a
// task of a pool that spans hosts, so that one whose host is lost is fetched by another.
#include "crew.hpp"
#include "fetcher.hpp"

#include <passel/manager.hpp>
#include <passel/parse_address.hpp>
#include <passel/queue.hpp>
#include <passel/remote_executor.hpp>
#include <passel/remote_worker.hpp>

#include <atomic>
#include <iostream>
#include <utility>

namespace crawler {
namespace {

using passel::Errc;
using passel::Error;
using passel::Result;

constexpr std::size_t most_waiting = 1000;
// A page that has cost so many fetchers, or hosts, is not tried again.
constexpr unsigned attempts = 25;

/// The task: any process of any host may run it, and keeps its connections from one to the next.
PageResult fetch_page(const FetchOptions& options, const Job& job) {
  static std::optional<std::pair<FetchOptions, std::unique_ptr<Fetcher>>> kept;
  if (!kept || kept->first != options) kept.emplace(options, std::make_unique<Fetcher>(options));
  return kept->second->fetch(job);
}

passel::ExposedTasks tasks() { return passel::ExposedTasks::of<&fetch_page>(); }

PageResult failed(const Job& job, const Error& error) {
  return {.id = job.id, .failure = Failure::deadly, .error = error.what()};
}

class FarCrew final : public Crew {
 public:
  FarCrew(passel::ManagerServer server, passel::RemoteExecutor executor, FetchOptions options)
      : options_{std::move(options)}, server_{std::move(server)}, executor_{std::move(executor)} {}
  ~FarCrew() override { FarCrew::kill(); }

  bool give(const Job& job) override {
    if (waiting_ >= most_waiting) return false;
    ++waiting_;
    executor_.submit<fetch_page>({.attempts = attempts, .name = job.url}, options_, job)
        .on_done([this, job](const Result<PageResult>& result) {
          --waiting_;
          static_cast<void>(results_.put(result ? *result : failed(job, result.error())).is_ok());
        });
    return true;
  }
  std::optional<PageResult> receive(std::chrono::nanoseconds wait) override {
    auto result = results_.get_for(wait);
    if (!result) return std::nullopt;
    return *std::move(result);
  }
  // Who has begun what is known at their hosts alone: all of it is finished.
  std::vector<Job> take_back() override { return {}; }
  // Hosts come and go by themselves.
  Result<std::vector<std::size_t>> restart_dead(std::uint64_t) override {
    return std::vector<std::size_t>{};
  }
  void dismiss(std::chrono::milliseconds limit) override {
    if (!executor_.shutdown_for(limit)) kill();
  }
  void kill() override { static_cast<void>(executor_.shutdown({.cancel_futures = true}).is_ok()); }

 private:
  const FetchOptions options_;
  std::atomic<std::size_t> waiting_{0};
  passel::Queue<PageResult> results_{
      passel::Queue<PageResult>::create({.reach = passel::Reach::threads}).unwrap()};
  passel::ManagerServer server_;
  passel::RemoteExecutor executor_;
};

}  // namespace

Result<std::unique_ptr<Crew>> start_far_crew(const FarOptions& far, const FetchOptions& options) {
  PASSEL_TRY(const auto address, passel::parse_address(far.listen));
  PASSEL_TRY(const auto key, passel::AuthKey::load(far.key_file));
  passel::Manager manager{{.address = address, .authkey = key, .name = "crawler"}};
  PASSEL_TRY(auto server, manager.get_server());
  std::cerr << "waiting for fetchers at " << passel::to_string(server.address()) << '\n';
  PASSEL_TRY(auto executor, passel::RemoteExecutor::connect(
                                {.address = server.address(), .authkey = key, .tasks = tasks()}));
  return std::unique_ptr<Crew>{
      std::make_unique<FarCrew>(std::move(server), std::move(executor), options)};
}

Result<void> work_far_away(const FarOptions& far, std::size_t fetchers) {
  PASSEL_TRY(const auto address, passel::parse_address(far.connect));
  PASSEL_TRY(const auto key, passel::AuthKey::load(far.key_file));
  return passel::serve_tasks(
      tasks(),
      {.address = address, .authkey = key, .processes = {.processes = static_cast<int>(fetchers)}});
}

}  // namespace crawler
