// Layer pool: tasks that stream their results, and the jobs behind them.
#pragma once

#include <passel/detail/future_task.hpp>
#include <passel/detail/pool_jobs.hpp>
#include <passel/pool_options.hpp>
#include <passel/task_stream.hpp>

#include <cstdint>
#include <cstring>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>

namespace passel::inline v0::detail {

/// What a task that streams sends, and the other arguments that it takes, by its signature.
template <class Signature>
struct StreamSignature {
  static constexpr bool streams = false;
};
template <class R, class T, class... P>
struct StreamSignature<R (*)(TaskOutput<T>&, P...)> {
  static constexpr bool streams = true;
  using item = T;
  using stored = std::tuple<stored_argument<P>...>;
};
template <class R, class... P>
struct StreamSignature<R (*)(P...) noexcept> : StreamSignature<R (*)(P...)> {};
template <class R, class C, class... P>
struct StreamSignature<R (C::*)(P...)> : StreamSignature<R (*)(P...)> {};
template <class R, class C, class... P>
struct StreamSignature<R (C::*)(P...) const> : StreamSignature<R (*)(P...)> {};
template <class R, class C, class... P>
struct StreamSignature<R (C::*)(P...) noexcept> : StreamSignature<R (*)(P...)> {};
template <class R, class C, class... P>
struct StreamSignature<R (C::*)(P...) const noexcept> : StreamSignature<R (*)(P...)> {};

template <class Target>
struct StreamTargetOf {
  static constexpr bool streams = false;
};
template <auto F>
struct StreamTargetOf<FunctionTarget<F>> : StreamSignature<std::remove_cv_t<decltype(F)>> {};
template <class Target>
requires requires { &Target::operator(); }
struct StreamTargetOf<Target> : StreamSignature<decltype(&Target::operator())> {};

/// StreamTargetOf, with a word to those who give something else.
template <class Target>
struct StreamTarget : StreamTargetOf<Target> {
  static_assert(StreamTargetOf<Target>::streams,
                "passel: a task that streams is a function or a lambda whose first parameter is a "
                "TaskOutput<T>&");
};

/// Why a stream cannot be had.
[[nodiscard]] inline std::optional<Error> stream_options_error(const StreamOptions& options) {
  if (options.window >= 1 && options.window <= StreamOptions::most_window) return std::nullopt;
  return Error{Errc::invalid_argument, "the window of a stream must be 1 to " +
                                           std::to_string(StreamOptions::most_window) +
                                           " items, not " + std::to_string(options.window)};
}

/// Calls the target with `output` and its arguments. What it throws or returns, as a Result<void>.
template <class Target, class T, class... Stored>
[[nodiscard]] Result<void> run_stream(Target& target, TaskOutput<T>& output, Stored&... stored) {
  const auto pass = []<class S>(S& argument) -> decltype(auto) {
    if constexpr (std::is_invocable_v<Target&, TaskOutput<T>&, Stored&&...>)
      return std::move(argument);
    else if constexpr (std::is_same_v<S, std::string> &&
                       !std::is_invocable_v<Target&, TaskOutput<T>&, Stored&...>)
      return argument.c_str();
    else
      return (argument);
  };
  using Returned = decltype(std::invoke(target, output, pass(stored)...));
  static_assert(std::is_void_v<Returned> || std::is_same_v<Returned, Result<void>>,
                "passel: a task that streams returns nothing, or Result<void>");
  if constexpr (std::is_void_v<Returned>) {
    std::invoke(target, output, pass(stored)...);
    return {};
  } else {
    return std::invoke(target, output, pass(stored)...);
  }
}

/// The task that runs `Target` in a worker process. Its message: the window, then the arguments.
template <class Target>
struct StreamTask {
  using Item = typename StreamTarget<Target>::item;
  using Stored = typename StreamTarget<Target>::stored;
  static_assert(Encodable<Item>,
                "passel: the items of this stream cannot travel to another process: specialise "
                "passel::codec for their type, or make it an aggregate of types that can");

  static Result<Encoded> run(std::span<const std::byte> bytes, DescriptorSpan descriptors) {
    ChunkReader in{bytes, descriptors};
    PASSEL_TRY(const std::uint64_t window, in.number());
    PASSEL_TRY(Stored args, ArgumentList<Stored>::read(in));
    auto output = StreamAccess::output<Item>(static_cast<std::uint32_t>(window));
    Encoded out;
    ChunkWriter writer{out};
    try {
      Target target{};
      const Result<void> outcome =
          std::apply([&](auto&... stored) { return run_stream(target, output, stored...); }, args);
      writer.put_mark(outcome ? 1 : 0);
      if (!outcome) writer.put_error(outcome.error());
    } catch (...) {
      writer.put_mark(0);
      writer.put_error(current_exception_as_error());
    }
    return out;
  }

  static inline const TaskNode node{&run};
  [[nodiscard]] static TaskId id() {
    static const TaskId known = id_of_task(node.function);
    return known;
  }
};

/// A task in a worker process whose items go into a StreamCore.
template <class T>
class StreamTaskJob final : public PoolJob {
 public:
  StreamTaskJob(TaskId task, std::string (*namer)(), Encoded& args,
                std::shared_ptr<StreamCore<T>> core)
      : PoolJob{task}, name_{namer}, args_{args}, core_{std::move(core)} {}

  [[nodiscard]] std::size_t count() const noexcept override { return 1; }
  [[nodiscard]] std::string name() const override { return name_(); }
  [[nodiscard]] Payload payload(std::size_t) noexcept override { return args_.payload(); }
  [[nodiscard]] bool begin(std::size_t) noexcept override { return !core_->is_unwanted(); }
  void item(std::size_t, std::span<const std::byte> bytes,
            DescriptorSpan descriptors) noexcept override {
    ChunkReader in{bytes, descriptors};
    try {
      core_->add(in.template read<T>());
    } catch (...) {
      core_->add(current_exception_as_error());
    }
  }
  void value(std::size_t, std::span<const std::byte> bytes,
             DescriptorSpan descriptors) noexcept override {
    ChunkReader in{bytes, descriptors};
    const Result<void> end = read_answer<void>(in);
    leave_place();
    core_->finish(end ? nullptr : &end.error());
  }
  void error(std::size_t, const Error& error) noexcept override {
    leave_place();
    core_->finish(&error);
  }
  [[nodiscard]] bool has_failed(std::size_t, std::span<const std::byte> bytes,
                                DescriptorSpan descriptors) noexcept override {
    ChunkReader in{bytes, descriptors};
    return read_answer<void>(in).is_err();
  }
  void finished() noexcept override { delete this; }

 private:
  std::string (*name_)();
  CallArguments args_;
  std::shared_ptr<StreamCore<T>> core_;
};

/// Has a pool of processes run the task.
template <class Target, class... A>
[[nodiscard]] auto stream_from(const std::shared_ptr<PoolHandle>& pool, Deadline deadline,
                               const StreamOptions& options, A&&... args)
    -> Result<TaskStream<typename StreamTask<Target>::Item>> {
  using Task = StreamTask<Target>;
  using Item = typename Task::Item;
  using Core = StreamCore<Item>;
  if (auto wrong = stream_options_error(options)) return *std::move(wrong);
  if (auto refusal = pool->refusal()) return *std::move(refusal);
  PASSEL_TRY(std::shared_ptr<void> ticket, pool->admit(deadline));
  EncodingScratch scratch;
  ChunkWriter writer{scratch.encoded};
  writer.put(options.window);
  PASSEL_CHECK(ArgumentList<typename Task::Stored>::write(writer, std::forward<A>(args)...));
  auto core = std::make_shared<Core>(options.window);
  auto job =
      std::make_unique<StreamTaskJob<Item>>(Task::id(), &task_name<Target>, scratch.encoded, core);
  auto terms = terms_of(options.task, 1);
  terms->streams = true;
  terms->ticket = std::move(ticket);
  job->set_terms(std::move(terms));
  const auto* const which = static_cast<const PoolJob*>(job.get());
  const auto reach = [weak = std::weak_ptr{pool}](auto what) {
    if (const auto present = weak.lock()) what(*present);
  };
  const std::uint64_t serial = job->serial();
  core->set_reins({.stop = [=] { reach([=](PoolHandle& handle) { handle.stop(which, serial); }); },
                   .tell_taken =
                       [=](std::uint32_t items) {
                         reach(
                             [=](PoolHandle& handle) { handle.tell_taken(which, serial, items); });
                       }});
  pool->submit(std::move(job));
  return StreamAccess::stream<Item>(std::move(core));
}

/// Runs the task here and now, before the first item can be read.
template <class F, class... A>
[[nodiscard]] auto stream_at_once(std::optional<Error> refusal, const StreamOptions& options,
                                  F&& function, A&&... args)
    -> Result<TaskStream<typename StreamTarget<std::decay_t<F>>::item>> {
  using Item = typename StreamTarget<std::decay_t<F>>::item;
  if (auto wrong = stream_options_error(options)) return *std::move(wrong);
  if (refusal) return *std::move(refusal);
  auto core = std::make_shared<StreamCore<Item>>(std::numeric_limits<std::size_t>::max());
  auto call = [&](std::decay_t<A>... stored) -> Result<void> {
    auto output = StreamAccess::output<Item>(*core);
    return run_stream(function, output, stored...);
  };
  const Result<void> end = call_for_result<void>(call, std::forward<A>(args)...);
  core->finish(end ? nullptr : &end.error());
  return StreamAccess::stream<Item>(std::move(core));
}

/// Has the threads of a crew run the task.
template <class F, class... A>
[[nodiscard]] auto stream_from_threads(ThreadCrew& crew, Deadline deadline,
                                       const StreamOptions& options, F&& function, A&&... args)
    -> Result<TaskStream<typename StreamTarget<std::decay_t<F>>::item>> {
  using Target = std::decay_t<F>;
  using Item = typename StreamTarget<Target>::item;
  using Core = StreamCore<Item>;
  if (auto wrong = stream_options_error(options)) return *std::move(wrong);
  PASSEL_TRY(CallPlace place, crew.admit(deadline));
  auto core = std::make_shared<Core>(options.window);
  auto call = [core, target = Target(std::forward<F>(function))](
                  std::decay_t<A>... stored) mutable -> Result<void> {
    auto output = StreamAccess::output<Item>(*core);
    return run_stream(target, output, stored...);
  };
  auto done = std::make_shared<Future<void>>(
      submit_admitted(crew, std::move(place), std::move(call), std::forward<A>(args)...));
  core->set_reins({.stop = [done] { done->request_stop(); }});
  done->on_done([core](const Result<void>& end) { core->finish(end ? nullptr : &end.error()); });
  return StreamAccess::stream<Item>(std::move(core));
}

}  // namespace passel::inline v0::detail
