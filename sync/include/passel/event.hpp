// Layer sync: Python's threading.Event and multiprocessing.Event.
#pragma once

#include <passel/detail/sync_handle.hpp>
#include <passel/future.hpp>

#include <chrono>
#include <memory>
#include <string>
#include <string_view>

namespace passel::inline v0 {

struct EventOptions {
  Reach reach = Reach::host;  ///< threads: cheaper to make, but cannot go to another process
  std::string name = {};      ///< for reports, at most 27 bytes
};

/// A flag that threads and processes of one host wait for (Python's threading.Event and
/// multiprocessing.Event).
///
///     passel::Event ready;
///     auto worker = passel::Process::spawn<work>(ready);   // ... ready.wait();
///     prepare();
///     ready.set();                                         // all who wait go on
///     if (!stopped.wait_for(2s)) retry();                  // false: two seconds without it
///
/// It begins unset. An Event is a handle: copies are the same event, a copy given to another
/// process as an argument too. It lives until its last handle is gone. All functions but close()
/// and assignment may be called by any thread at any time.
///
/// **set() wakes everybody who waits at that moment**, also when clear() follows at once: each of
/// them returns true. Looking at a set event, and setting one that nobody waits for, is one atomic
/// operation; with any number of waiters set() makes one system call.
///
/// **When a process dies** while it waits, nobody counts on it. One that dies within set() has
/// either set the event, and then all wake, or not.
///
/// On a closed handle set() and clear() do nothing and waits return false at once.
///
/// Source of the semantics: Python's threading.Event.
class PASSEL_API Event : public detail::SyncHandle<Event> {
 public:
  /// Throws passel::Exception when there is no memory or descriptor left; `create` gives that as an
  /// error instead.
  Event() : Event{EventOptions{}} {}
  explicit Event(const EventOptions& options) : Event{create(options).unwrap()} {}
  /// Errors: no_space; invalid_argument when the name is too long.
  [[nodiscard]] static Result<Event> create(const EventOptions& options = {});

  /// Whether it is set now. (Python: is_set(), isSet())
  [[nodiscard]] bool is_set() const noexcept;
  /// Sets it and wakes all who wait. Never waits for a waiter, alive or dead. (Python: set())
  void set() const;
  /// Whoever waits from now on waits for the next set(). (Python: clear())
  void clear() const noexcept;

  /// Returns true at once when it is set, else when somebody sets it. (Python: wait())
  bool wait() const { return wait_until(detail::Deadline::never()); }
  /// Waits for `timeout` at most; zero and less: only looks. True when it is set, or was set while
  /// this waited; false when the time was up. (Python: wait(timeout))
  template <class Rep, class Period>
  bool wait_for(std::chrono::duration<Rep, Period> timeout) const {
    return wait_until(timeout > timeout.zero() ? detail::Deadline::after(timeout)
                                               : detail::Deadline::now_or_never());
  }
  /// Done when the event is set, at once when it is set already. Costs no thread for each wait; one
  /// thread of the library serves all of a process. Dropping or cancelling the future ends the
  /// wait. Callbacks run on that thread and must not wait there. Errors: no_space when too many
  /// wait; invalid_state on a closed handle.
  [[nodiscard]] Future<void> wait_async() const;

  /// `close()` gives up this handle; the event and other handles go on. Not while another thread
  /// uses this very handle. See also `closed()`, `reach()`, `name()` and `==`, which says whether
  /// both are handles of one event.
  using SyncHandle::close;
  /// "<Event 'name': set>", "<Event: unset>", "<closed Event>".
  [[nodiscard]] std::string to_string() const;

 private:
  friend struct detail::HandleCodec<Event>;
  static constexpr std::string_view kind = "Event";
  explicit Event(std::shared_ptr<detail::SyncObject> object) noexcept
      : SyncHandle{std::move(object)} {}
  [[nodiscard]] bool wait_until(detail::Deadline deadline) const;
};

/// An Event travels as a handle, to a process that is being started or called.
template <>
struct codec<Event> : detail::HandleCodec<Event> {};

}  // namespace passel::inline v0
