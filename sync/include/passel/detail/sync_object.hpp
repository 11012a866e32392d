// Layer sync: a small object in shared memory, as this process holds it.
#pragma once

#include <passel/detail/futex.hpp>
#include <passel/detail/shared_object.hpp>
#include <passel/detail/spin.hpp>
#include <passel/reach.hpp>
#include <passel/result.hpp>
#include <passel/wire_value.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

namespace passel::inline v0 {

/// Told to the repair function of a lock: its last holder died while it held it.
struct Abandonment {
  int pid = 0;              ///< the process that died
  std::uint64_t token = 0;  ///< of the grant that came after it
};

namespace detail {

class SyncArena;
struct ObjectHeader;
struct Waiter;

/// What an object is; decides what its state looks like and how it is mended after a death.
enum class SyncKind : std::uint32_t {
  none,
  lock,
  rlock,
  semaphore,
  bounded_semaphore,
  condition,
  event,
  barrier,
  bytes,
};

/// One of the small objects that the processes of a host share: a lock, an event, a value. All
/// objects a process makes lie in one piece of shared memory (an arena), so that they cost one
/// descriptor together; those of reach threads lie in memory of the process alone.
///
/// The object lives until no process holds it any more. A process that dies is noticed by its
/// parent, which gives back what the dead one held: `process_lost`. Safe from any thread.
class PASSEL_API SyncObject final : public SharedObject,
                                    public std::enable_shared_from_this<SyncObject> {
 public:
  /// A new object with `size` zeroed bytes of state. Errors: no_space, invalid_argument (a name of
  /// more than 27 bytes).
  [[nodiscard]] static Result<std::shared_ptr<SyncObject>> create(SyncKind kind, std::size_t size,
                                                                  Reach reach,
                                                                  std::string_view name = {});
  /// The same in the arena of another object, wherever that was made.
  [[nodiscard]] static Result<std::shared_ptr<SyncObject>> create_beside(
      const SyncObject& other, SyncKind kind, std::size_t size, std::string_view name = {});
  /// The object behind a handle that `handle` made, here or in another process. `what` is what
  /// people call it. Errors: type_mismatch, invalid_state (closed, or reach threads), malformed,
  /// stale_object when it is gone.
  [[nodiscard]] static Result<std::shared_ptr<SyncObject>> open(std::string_view what,
                                                                const std::string& type,
                                                                const WireValue& value);
  /// How it travels to a process that is being started; `object` may be null (a closed handle).
  [[nodiscard]] static WireValue handle(std::string_view what, const std::string& type,
                                        const std::shared_ptr<SyncObject>& object);
  ~SyncObject() override;

  /// The state; aligned to a cache line.
  [[nodiscard]] std::byte* state() const noexcept { return state_; }
  template <class State>
  [[nodiscard]] State& as() const noexcept {
    return *reinterpret_cast<State*>(state_);
  }
  [[nodiscard]] std::size_t size() const noexcept;
  [[nodiscard]] SyncKind kind() const noexcept;
  [[nodiscard]] Reach reach() const noexcept { return reach_; }
  [[nodiscard]] FutexScope scope() const noexcept {
    return reach_ == Reach::host ? FutexScope::host : FutexScope::process;
  }
  [[nodiscard]] std::string name() const;
  /// The same number for all handles of one object, another for every other object of the host.
  [[nodiscard]] std::uint64_t id() const noexcept;
  [[nodiscard]] bool same_as(const SyncObject& other) const noexcept {
    return header_ == other.header_;
  }

  /// The place of this process in the arena's table, from 1; 0 when the table is full. Right in a
  /// forked child, too.
  [[nodiscard]] std::uint32_t place() noexcept {
    const std::uint64_t known = place_.load(std::memory_order_relaxed);
    if (static_cast<std::uint32_t>(known >> 32) == fork_generation() + 1) [[likely]] {
      return static_cast<std::uint32_t>(known);
    }
    return find_place();
  }

  [[nodiscard]] SyncArena& arena() const noexcept { return *arena_; }
  [[nodiscard]] const std::shared_ptr<SyncArena>& arena_pointer() const noexcept { return arena_; }
  [[nodiscard]] ObjectHeader& header() const noexcept { return *header_; }
  /// This process's experience with waiting here.
  [[nodiscard]] Spinner& spinner() noexcept { return spinner_; }
  /// What this process does when it gets what a dead one held.
  void set_repair(std::function<void(const Abandonment&)> repair);
  void repair(const Abandonment& what) const;

  /// Makes room for what `renewed` will note for this thread, before the lock is given back. False
  /// when there is no memory.
  [[nodiscard]] bool expect_renewal() noexcept;
  /// A condition had the lock given back and taken again while a guard of this process stands for
  /// the grant before. Called by the holder.
  void renewed(std::uint64_t before, std::uint64_t after);
  /// The grant that a guard stands for at present.
  [[nodiscard]] std::uint64_t renewal_of(std::uint64_t word) const noexcept {
    return is_renewed_.load(std::memory_order_relaxed) ? find_renewal_of(word) : word;
  }

  /// That grant is being given back: no guard stands for it any more.
  void forget_renewals_of(std::uint64_t word) noexcept {
    if (is_renewed_.load(std::memory_order_relaxed)) erase_renewals_of(word);
  }

  /// Something of this process alone that goes with the object.
  void keep(std::shared_ptr<void> companion);
  [[nodiscard]] std::shared_ptr<void> kept() const;

  void process_lost(const ProcessId& process) noexcept override;
  void bystander_lost(const ProcessId& process) noexcept override;
  [[nodiscard]] bool used_by_others() const noexcept override;

 private:
  friend class SyncArena;
  /// A guard stands for the grant `from`, its thread has waited and holds the grant `to` since.
  struct Renewal {
    std::uint32_t thread;
    std::uint64_t from;
    std::uint64_t to;
  };
  SyncObject(std::shared_ptr<SyncArena> arena, ObjectHeader* header) noexcept;
  std::uint32_t find_place() noexcept;
  [[nodiscard]] std::uint64_t find_renewal_of(std::uint64_t word) const noexcept;
  void erase_renewals_of(std::uint64_t word) noexcept;

  std::shared_ptr<SyncArena> arena_;
  ObjectHeader* header_;
  std::uint32_t serial_;
  std::byte* state_;
  Reach reach_;
  std::atomic<std::uint64_t> place_{0};  // generation plus one, place
  Spinner spinner_;
  std::atomic<bool> is_renewed_{false};
  mutable std::mutex repair_mutex_;
  std::shared_ptr<const std::function<void(const Abandonment&)>> repair_;
  std::shared_ptr<void> companion_;
  std::vector<Renewal> renewals_;  // one for each thread that waits, or holds it after a wait
};

}  // namespace detail
}  // namespace passel::inline v0
