// Layer transport: who was refused lately, how long he has to wait, and what the log is told of it.
#include "refusals.hpp"

#include <algorithm>

namespace passel::inline v0::detail {

void Refusals::refused(const std::string& host, Clock::time_point now) {
  ++total_;
  if (host.empty()) return;
  if (!hosts_.contains(host) && hosts_.size() >= most_hosts) forget_one();
  Host& known = hosts_[host];
  if (now - known.last >= forgotten_after) known.failed = 0;
  ++known.failed;
  known.last = now;
  if (known.failed < free_tries) return;
  constexpr int doublings = 7;  // 10 ms * 2^7 is over the longest
  const int exponent = std::min(known.failed - free_tries, doublings);
  known.until = now + std::min(longest_pause, first_pause * (1 << exponent));
}

void Refusals::let_in(const std::string& host) { hosts_.erase(host); }

Refusals::Clock::time_point Refusals::listened_to(const std::string& host,
                                                  Clock::time_point now) const {
  const auto known = hosts_.find(host);
  return known == hosts_.end() ? now : std::max(now, known->second.until);
}

std::optional<std::uint64_t> Refusals::to_be_told(Clock::time_point now) {
  if (told_ == total_ || (last_line_ && now - *last_line_ < between_lines)) return std::nullopt;
  last_line_ = now;
  const std::uint64_t count = total_ - told_;
  told_ = total_;
  return count;
}

void Refusals::forget_one() {
  const auto oldest = std::min_element(
      hosts_.begin(), hosts_.end(), [](auto& a, auto& b) { return a.second.last < b.second.last; });
  hosts_.erase(oldest);
}

}  // namespace passel::inline v0::detail
