// Layer pool: ExposedTasks, the functions of a program that others may ask for by name.
#pragma once

#include <passel/detail/exposed_task.hpp>
#include <passel/export.hpp>
#include <passel/result.hpp>

#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace passel::inline v0 {

/// The tasks that a program offers to others, or asks of them, by name. Between hosts nothing else
/// names a task: the programs there may be other builds, and nobody may ask for what is not listed.
///
///     Page fetch(std::string url, int depth);
///     const auto tasks =
///         passel::ExposedTasks::of<&fetch, passel::exposed<"count", &count_words>>();
///
///     // Where they run:
///     auto worker = passel::RemoteWorker::join(tasks, {.address = server}).unwrap();
///     // Where they are asked for:
///     auto executor =
///         passel::RemoteExecutor::connect({.address = server, .tasks = tasks}).unwrap();
///     passel::Future<Page> page = executor.submit<fetch>(url, 1);
///
/// A function that is listed as itself has its own name, without namespace. Arguments and results
/// travel by `codec<T>` and say what they are, so that a program that calls a task with other types
/// than it takes is told so: "argument 2: expected int, found str 'x'".
///
/// A value; copies are cheap enough to be made. One thread at a time.
class PASSEL_API ExposedTasks {
 public:
  ExposedTasks() = default;
  /// Those. Two of one name do not compile.
  template <auto... Spec>
  [[nodiscard]] static ExposedTasks of() {
    static_assert(all_differ<Spec...>(), "passel: two exposed tasks have the same name");
    ExposedTasks tasks;
    (tasks.add_unchecked<Spec>(), ...);
    return tasks;
  }
  /// One more, of a part of the program that is put together elsewhere. Errors: invalid_argument
  /// when there is one of that name.
  template <auto Spec>
  Result<void> add() {
    const std::string_view name = detail::ExposedFunction<Spec>::name();
    if (find(name) != nullptr)
      return Error{Errc::invalid_argument, "a task '" + std::string{name} + "' is exposed already"};
    add_unchecked<Spec>();
    return {};
  }
  /// All of those. Errors: the same; then none of them is added.
  Result<void> add(const ExposedTasks& others);

  /// "fetch(str, int) -> object", sorted by name.
  [[nodiscard]] std::vector<std::string> signatures() const;
  [[nodiscard]] bool empty() const noexcept { return entries_.empty(); }

  struct Entry {
    detail::TaskSign sign;
    detail::TaskId task;
  };
  /// For executors and workers.
  [[nodiscard]] const std::vector<Entry>& entries() const noexcept { return entries_; }
  [[nodiscard]] const Entry* find(std::string_view name) const noexcept;
  [[nodiscard]] const Entry* find(detail::TaskId task) const noexcept;

 private:
  [[nodiscard]] static Error exposed_already(std::string_view name);
  template <auto... Spec>
  static constexpr bool all_differ() {
    constexpr std::string_view names[] = {std::string_view{},
                                          detail::ExposedFunction<Spec>::name()...};
    for (std::size_t i = 1; i < std::size(names); ++i)
      for (std::size_t k = 1; k < i; ++k)
        if (names[i] == names[k]) return false;
    return true;
  }
  template <auto Spec>
  void add_unchecked() {
    using Function = detail::ExposedFunction<Spec>;
    using Target = detail::FunctionTarget<Function::function>;
    using Chunk = detail::ExposedChunk<Target, detail::task_arguments<Target>>;
    entries_.push_back({Chunk::sign(Function::name()), Chunk::id()});
  }

  std::vector<Entry> entries_;
};

}  // namespace passel::inline v0
