// Layer pool: what a task of a pool asks of that pool.
#pragma once

#include "worker_channel.hpp"

#include <passel/detail/pool_job.hpp>

#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

namespace passel::inline v0::detail {

/// The head of a message over an inner line; the arguments of a call follow. Bytes of the same
/// build on both sides, and of one boot: times are those of the steady clock.
struct InnerMessage {
  enum class Kind : std::uint32_t {
    call,     ///< run the task
    stop,     ///< the call of that number shall not go on
    nothing,  ///< its number belongs to a call that is open for long
  };
  Kind kind = Kind::call;
  std::uint32_t attempts = 1;
  std::int32_t priority = 0;
  std::uint16_t retry_failures = 0;
  std::uint16_t streams = 0;
  std::uint64_t number = 0;  ///< stop: of the call
  std::int64_t backoff_ns = 0;
  std::int64_t deadline_ns = 0;  ///< 0: none
  std::int64_t limit_ns = 0;
  std::int64_t grace_ns = 0;

  [[nodiscard]] static InnerMessage call_with(const PoolTerms& terms) {
    InnerMessage message;
    message.attempts = terms.attempts;
    message.priority = terms.priority;
    message.retry_failures = terms.retry_failures ? 1 : 0;
    message.streams = terms.streams ? 1 : 0;
    message.backoff_ns = terms.backoff.count();
    if (terms.deadline != Deadline::Clock::time_point::max())
      message.deadline_ns = terms.deadline.time_since_epoch().count();
    message.limit_ns = terms.limit.count();
    message.grace_ns = terms.grace.count();
    return message;
  }
  [[nodiscard]] std::unique_ptr<PoolTerms> terms() const {
    auto terms = std::make_unique<PoolTerms>();
    terms->attempts = attempts;
    terms->priority = priority;
    terms->retry_failures = retry_failures != 0;
    terms->streams = streams != 0;
    terms->backoff = std::chrono::nanoseconds{backoff_ns};
    if (deadline_ns != 0)
      terms->deadline = Deadline::Clock::time_point{std::chrono::nanoseconds{deadline_ns}};
    terms->limit = std::chrono::nanoseconds{limit_ns};
    terms->grace = std::chrono::nanoseconds{grace_ns};
    return terms;
  }

  /// The message in bytes, with `args` behind it, written over `out`.
  void write(std::span<const std::byte> args, std::vector<std::byte>& out) const {
    out.resize(sizeof *this + args.size());
    std::memcpy(out.data(), this, sizeof *this);
    if (!args.empty()) std::memcpy(out.data() + sizeof *this, args.data(), args.size());
  }
  /// False when it is too short.
  [[nodiscard]] bool read(std::span<const std::byte> bytes) {
    if (bytes.size() < sizeof *this) return false;
    std::memcpy(this, bytes.data(), sizeof *this);
    return true;
  }
};

}  // namespace passel::inline v0::detail
