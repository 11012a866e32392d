// Layer transport: who was refused lately, how long he has to wait, and what the log is told of it.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>

namespace passel::inline v0::detail {

/// A machine: who guesses keys gets slower and slower, and fills nobody's log. A host may be wrong
/// `free_tries` times; then whoever comes from there is listened to only after a pause, which
/// doubles with each further wrong key up to `longest_pause`. A right key ends it, and so does an
/// hour without a wrong one. For one thread at a time.
class Refusals {
 public:
  using Clock = std::chrono::steady_clock;

  static constexpr int free_tries = 4;
  static constexpr std::chrono::milliseconds first_pause{10};
  static constexpr std::chrono::milliseconds longest_pause{1000};
  /// Hosts that are remembered; beyond it the one that failed longest ago is forgotten.
  static constexpr std::size_t most_hosts = 1024;
  static constexpr std::chrono::seconds between_lines{1};
  static constexpr std::chrono::hours forgotten_after{1};

  /// A wrong key, or none, came from `host`; an empty one means this host, which has no pauses.
  void refused(const std::string& host, Clock::time_point now);
  /// A right key came from there.
  void let_in(const std::string& host);
  /// When whoever comes from there now is listened to.
  [[nodiscard]] Clock::time_point listened_to(const std::string& host, Clock::time_point now) const;
  /// How many refusals the log has to be told of now: at most one line in a second, and none is
  /// left out of the sum.
  [[nodiscard]] std::optional<std::uint64_t> to_be_told(Clock::time_point now);

  [[nodiscard]] std::uint64_t total() const noexcept { return total_; }
  [[nodiscard]] std::size_t hosts() const noexcept { return hosts_.size(); }

 private:
  struct Host {
    int failed = 0;
    Clock::time_point last{};
    Clock::time_point until{};
  };
  void forget_one();

  std::map<std::string, Host> hosts_;
  std::uint64_t total_ = 0;
  std::uint64_t told_ = 0;
  std::optional<Clock::time_point> last_line_{};
};

}  // namespace passel::inline v0::detail
