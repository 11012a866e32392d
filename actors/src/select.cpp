// Layer actors: waiting for the first of several channel operations.
#include <passel/detail/select_case.hpp>

#include <cstdint>
#include <vector>

namespace passel::inline v0::detail {
namespace {

/// Marsaglia's xorshift; good enough to be fair.
std::size_t random_below(std::size_t limit) noexcept {
  static thread_local std::uint32_t state = 0;
  if (state == 0) state = static_cast<std::uint32_t>(reinterpret_cast<std::uintptr_t>(&state)) | 1U;
  state ^= state << 13;
  state ^= state >> 17;
  state ^= state << 5;
  return state % limit;
}

class Selection {
 public:
  explicit Selection(std::span<SelectCase* const> cases)
      : cases_{cases}, over_(cases.size(), false) {}

  SelectOutcome run(Deadline deadline) {
    if (attempt_all() || deadline.is_try()) return outcome_;
    waiters_.resize(cases_.size());
    while (true) {
      const bool in_time = park(deadline);
      if (settled_) return outcome_;
      if (attempt_all() || !in_time) return outcome_;
    }
  }

 private:
  /// True when the select is over. Otherwise the outcome says what a passed deadline means.
  bool attempt_all() {
    const std::size_t count = cases_.size();
    const std::size_t start = count == 0 ? 0 : random_below(count);
    std::size_t open = 0;
    for (std::size_t i = 0; i < count; ++i) {
      const std::size_t index = (start + i) % count;
      if (over_[index]) continue;
      if (attempt(index)) return true;
      if (!over_[index]) ++open;
    }
    outcome_ = {open == 0 ? SelectOutcome::Kind::all_closed : SelectOutcome::Kind::timed_out};
    return open == 0;
  }

  bool attempt(std::size_t index) {
    const ChannelStatus status = cases_[index]->attempt();
    if (status == ChannelStatus::not_ready) return false;
    const bool closed = status == ChannelStatus::closed;
    if (closed && !cases_[index]->wants_closed()) {
      over_[index] = true;
      return false;
    }
    choose(index, closed);
    return true;
  }

  void choose(std::size_t index, bool closed) {
    outcome_ = {SelectOutcome::Kind::chosen, index, closed};
    settled_ = true;
  }

  /// Stands in all lines and sleeps. False when the deadline has passed.
  bool park(Deadline deadline) {
    Parker parker;
    std::size_t watching = 0;
    for (; watching < cases_.size() && !parker.settled(); ++watching) {
      if (over_[watching]) continue;
      Waiter& waiter = waiters_[watching];
      waiter = Waiter{.parker = &parker,
                      .outcome = Parker::first_case + static_cast<std::uint32_t>(watching)};
      if (cases_[watching]->watch(waiter)) parker.cancel();
    }
    const std::uint32_t outcome = parker.wait(deadline);
    for (std::size_t i = 0; i < watching; ++i) {
      if (!over_[i]) cases_[i]->unwatch(waiters_[i]);
    }
    if (outcome >= Parker::first_case) {
      // Whoever woke this thread did so for this case, and woke nobody else: it comes first.
      const std::size_t index = outcome - Parker::first_case;
      if (cases_[index]->completed()) {
        choose(index, false);
      } else {
        attempt(index);
      }
      return true;
    }
    return outcome != Parker::cancelled || !deadline.passed();
  }

  std::span<SelectCase* const> cases_;
  std::vector<bool> over_;
  std::vector<Waiter> waiters_;
  SelectOutcome outcome_{SelectOutcome::Kind::timed_out};
  bool settled_ = false;
};

}  // namespace

SelectCase::~SelectCase() = default;

SelectOutcome run_select(std::span<SelectCase* const> cases, Deadline deadline) {
  return Selection{cases}.run(deadline);
}

Error select_all_closed() { return {Errc::closed, "all channels of the select are closed"}; }

Error select_timeout() {
  return {Errc::timeout, "no channel of the select was ready in that time"};
}

Error select_none_ready() { return {Errc::empty, "no channel of the select is ready"}; }

}  // namespace passel::inline v0::detail
