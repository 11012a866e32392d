// Layer pool: calls that came from another program, as a job for a Pool of this one.
#pragma once

#include <passel/detail/exposed_task.hpp>
#include <passel/detail/pool_job.hpp>

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace passel::inline v0::detail {

/// What became of a chunk of exposed calls.
struct ChunkOutcome {
  std::vector<std::byte> bytes;  ///< the answers
  std::optional<Error> error;    ///< of all of them, when there are none
  bool holds_error = false;      ///< one of the calls has failed by itself

  [[nodiscard]] Result<Encoded> answer() const {
    if (error) return *error;
    return encode(bytes);
  }
};

/// One task of a Pool. `ended` is called once, on the pool's thread: it must not block.
class ChunkJob final : public PoolJob {
 public:
  using Ended = std::function<void(ChunkOutcome&&)>;
  struct Limits {
    std::chrono::nanoseconds limit{0};
    std::chrono::nanoseconds grace{std::chrono::seconds{1}};
  };

  ChunkJob(TaskId task, std::string label, std::vector<std::byte> args, Limits limits, Ended ended)
      : PoolJob{task}, label_{std::move(label)}, args_{std::move(args)}, ended_{std::move(ended)} {
    auto terms = std::make_unique<PoolTerms>();
    terms->limit = limits.limit;
    terms->grace = limits.grace;
    terms->name = label_;
    set_terms(std::move(terms));
  }
  [[nodiscard]] std::size_t count() const noexcept override { return 1; }
  [[nodiscard]] std::string name() const override { return label_; }
  [[nodiscard]] Payload payload(std::size_t) noexcept override { return {.args = args_}; }
  void value(std::size_t, std::span<const std::byte> bytes, DescriptorSpan) noexcept override {
    outcome_.bytes.assign(bytes.begin(), bytes.end());
    outcome_.holds_error = has_error(bytes);
  }
  void error(std::size_t, const Error& error) noexcept override { outcome_.error = error; }
  void finished() noexcept override {
    ended_(std::move(outcome_));
    delete this;
  }

 private:
  static bool has_error(std::span<const std::byte> bytes) {
    ChunkReader in{bytes, {}};
    while (!in.at_end()) {
      const auto mark = in.mark();
      if (!mark || *mark == 0 || !in.block()) return true;
    }
    return false;
  }

  const std::string label_;
  const std::vector<std::byte> args_;
  const Ended ended_;
  ChunkOutcome outcome_;
};

}  // namespace passel::inline v0::detail
