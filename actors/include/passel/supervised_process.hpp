// Layer actors: OS processes as children of a Supervisor.
#pragma once

#include <passel/process.hpp>
#include <passel/supervisor.hpp>

#include <functional>
#include <memory>
#include <string>
#include <tuple>
#include <utility>

namespace passel::inline v0 {

/// Settings of a supervised process.
struct SupervisedProcess {
  std::string name;         ///< of the child and of its processes
  ChildOptions child = {};  ///< when it is restarted, how long it may take to stop
  StartMethod method = StartMethod::forkserver;
};

namespace detail {
PASSEL_API ChildSpec process_child(SupervisedProcess options, TaskId task,
                                   std::function<Result<Encoded>()> encode);
}  // namespace detail

/// A process for a supervision tree, beside actors and other supervisors:
///
///     auto sup = passel::Supervisor::start({.max_restarts = 10, .within = 60s}).unwrap();
///     sup.add(passel::supervised<fetch>({.name = "fetcher 1"}, jobs, results)).unwrap();
///
/// Each life is a new process that runs the target with copies of the arguments; handles among them
/// stay the same objects. Exit code 0 is a normal end, which a permanent child answers with a new
/// life; any other code, or a signal that the supervisor did not send, is a failure (worker_lost,
/// with pid and signal). To stop it the supervisor sends SIGTERM, and SIGKILL when `child.shutdown`
/// has passed. Its processes are daemons: they go when this one ends.
template <auto F, class... A>
[[nodiscard]] ChildSpec supervised(SupervisedProcess options, A&&... args) {
  using Target = detail::FunctionTarget<F>;
  using Stored = detail::task_arguments<Target, A...>;
  static_assert(std::tuple_size_v<Stored> == sizeof...(A),
                "passel: this task is given another number of arguments than it takes");
  auto kept = std::make_shared<const Stored>(std::forward<A>(args)...);
  return detail::process_child(std::move(options), detail::Task<Target, Stored>::id(), [kept] {
    return std::apply([](const auto&... stored) { return detail::encode_pack(stored...); }, *kept);
  });
}

}  // namespace passel::inline v0
