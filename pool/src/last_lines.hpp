// Layer pool: the end of what a worker wrote to stderr.
#pragma once

#include <passel/detail/descriptor.hpp>
#include <passel/result.hpp>

#include <cstddef>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

namespace passel::inline v0::detail {

/// A pipe in place of a worker's stderr. What comes out of it is passed on to the stderr of this
/// process, as far as that takes it without waiting, and its end is remembered. From any thread.
class LastLines {
 public:
  /// The pipe, and the end for the worker.
  [[nodiscard]] static Result<std::pair<std::shared_ptr<LastLines>, Descriptor>> create();
  explicit LastLines(Descriptor from) : from_{std::move(from)} {}

  [[nodiscard]] int descriptor() const noexcept { return from_.get(); }
  /// Takes out what is there. Never waits. False when there was so much that some was left.
  [[nodiscard]] bool drain() noexcept;
  /// The last lines, at most `count`.
  [[nodiscard]] std::vector<std::string> take(std::size_t count);

 private:
  static constexpr std::size_t kept = std::size_t{16} << 10;

  Descriptor from_;
  std::mutex mutex_;
  std::string tail_;
};

}  // namespace passel::inline v0::detail
