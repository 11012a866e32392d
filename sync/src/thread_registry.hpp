// Layer sync: the threads of this process: who there is, who is calling, and their end.
#pragma once

#include <passel/detail/deadline.hpp>
#include <passel/thread.hpp>
#include <passel/thread_hooks.hpp>

#include <pthread.h>
#include <atomic>
#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

namespace passel::inline v0::detail {

enum class ThreadPhase : std::uint32_t { initial, starting, started, stopped };
enum class ThreadKind : std::uint8_t { regular, main, dummy };
/// What became of the kernel's part of a regular thread: somebody has to join it, or detach it.
enum ThreadRest : std::uint32_t { unclaimed = 0, claimed = 1, gone = 2 };

struct ThreadState : std::enable_shared_from_this<ThreadState> {
  using Place = std::list<std::shared_ptr<ThreadState>>::iterator;

  ThreadState(ThreadKind kind_of, std::string_view class_of)
      : kind{kind_of}, class_name{class_of} {}
  ThreadState(const ThreadState&) = delete;
  ThreadState& operator=(const ThreadState&) = delete;
  ~ThreadState();

  [[nodiscard]] ThreadPhase phase() const noexcept {
    return static_cast<ThreadPhase>(phase_word.load(std::memory_order_acquire));
  }
  bool change(ThreadPhase from, ThreadPhase to) noexcept {
    auto expected = static_cast<std::uint32_t>(from);
    return phase_word.compare_exchange_strong(expected, static_cast<std::uint32_t>(to),
                                              std::memory_order_acq_rel);
  }
  /// Wakes who waits for the phase to change.
  void tell() noexcept;
  void stop() noexcept {
    phase_word.store(static_cast<std::uint32_t>(ThreadPhase::stopped));
    tell();
  }
  /// Waits while it is starting or started. False when the time was up.
  bool wait_stopped(Deadline deadline) noexcept;
  /// Waits until nothing is left of a regular thread that was started. False when the time was up.
  bool wait_gone(Deadline deadline) noexcept;
  /// Writes the kernel's number, for those who wait for it.
  void set_native(int id) noexcept;
  [[nodiscard]] std::optional<int> wait_native() noexcept;

  // Guarded by the registry's mutex.
  std::string name;
  std::unique_ptr<ThreadBody> body;
  bool body_taken = false;
  std::shared_ptr<const ThreadHook> hook;  ///< to be called at its end
  Place place;
  const ThreadState* joining = nullptr;  ///< whom it waits for, as long as that takes
  ThreadKind kind;
  std::string_view class_name;

  std::atomic<bool> daemon{false};
  std::atomic<std::uint32_t> phase_word{0};
  std::atomic<std::uint32_t> watchers{0};  ///< how many sleep on phase_word
  std::atomic<std::uint32_t> rest{unclaimed};
  std::atomic<std::uint32_t> native{0};  ///< 0: not up yet
  std::atomic<std::uint64_t> ident{0};
};

/// All living threads of this process. Never destroyed: daemons use it until the process is gone. A
/// fork waits for the mutex, so that the child finds it free and the rest in order; nothing of the
/// user's is called or destroyed under it.
struct ThreadRegistry {
  std::mutex mutex;
  std::list<std::shared_ptr<ThreadState>> alive;  ///< in the order in which they were started
  std::shared_ptr<ThreadState> main;
  std::uint64_t next_number = 1;
  std::shared_ptr<const ThreadExceptHook> except_hook;
  std::shared_ptr<const ThreadHook> hook;
  std::vector<std::function<void()>> at_exit;
  bool ending = false;  ///< hooks for the end have been called, threads are being joined
  bool forker_is_main = false;
  std::atomic<std::size_t> stack_size{0};
  std::atomic<bool> has_exit_step{false};

  static ThreadRegistry& get();

  void enter(const std::shared_ptr<ThreadState>& state) {
    state->place = alive.insert(alive.end(), state);
  }
  /// Takes it out; the caller lets go of it without the lock.
  std::shared_ptr<ThreadState> leave(ThreadState& state) {
    std::shared_ptr<ThreadState> kept = std::move(*state.place);
    alive.erase(state.place);
    return kept;
  }

 private:
  ThreadRegistry();
};

/// The calling thread; makes a stand-in for one that is not known yet.
[[nodiscard]] std::shared_ptr<ThreadState> current_state();
/// Makes `state` the calling thread until it ends.
void set_current_state(std::shared_ptr<ThreadState> state);
/// The calling thread if it is known already, else nullptr.
[[nodiscard]] ThreadState* known_current() noexcept;
/// With the registry's lock held: whether `state` waits in join for `other`, perhaps for one that
/// waits for it; or is it.
[[nodiscard]] bool waits_for(const ThreadState& state, const ThreadState* other) noexcept;

/// Has the end of the process wait for threads. Idempotent.
void ensure_exit_step();

/// In a catch block: tells the excepthook of what left the target of `state`.
void report_exception(ThreadState& state) noexcept;
/// Calls a thread's hook, if there is one; reports what it throws.
void call_hook(const std::shared_ptr<const ThreadHook>& hook, ThreadState& state,
               ThreadMoment moment) noexcept;

}  // namespace passel::inline v0::detail
