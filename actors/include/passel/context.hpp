// Layer actors: one start method with the functions that start processes, as Python's contexts bind
// them.
#pragma once

#include <passel/process.hpp>

#include <string>
#include <utility>

namespace passel::inline v0 {

/// Starts processes by one start method, whatever the program's default is (Python's get_context).
/// A plain value; any number of them may be in use at once, and handles made under one work in
/// processes started under another.
///
///     auto spawning = passel::get_context("spawn").unwrap();
///     auto p = spawning.spawn<crawl>(seed).unwrap();
class Context {
 public:
  explicit Context(StartMethod method) noexcept : method_{method} {}

  [[nodiscard]] StartMethod method() const noexcept { return method_; }

  /// Process::spawn by this context's start method; errors as there.
  template <auto F, class... A>
  Result<Process> spawn(A&&... args) const {
    return Process::spawn<F>(ProcessOptions{.method = method_}, std::forward<A>(args)...);
  }
  template <class L, class... A>
  requires std::is_class_v<L> Result<Process> spawn(L target, A&&... args)
  const {
    return Process::spawn(ProcessOptions{.method = method_}, target, std::forward<A>(args)...);
  }

 private:
  StartMethod method_;
};

/// The context of a start method by its name. Errors: invalid_argument naming the known ones.
inline Result<Context> get_context(const std::string& method) {
  PASSEL_TRY(const StartMethod parsed, parse_start_method(method));
  return Context{parsed};
}

}  // namespace passel::inline v0
