// Layer sync: a queue that lives in a manager's server, as its users have it.
#pragma once

#include <passel/container_proxies.hpp>
#include <passel/detail/checked_deadline.hpp>
#include <passel/detail/kept_call.hpp>
#include <passel/proxy.hpp>
#include <passel/queue.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

namespace passel::inline v0 {

/// A queue in a manager's server: for processes of any program, for tasks of pools, and for other
/// hosts (Python's SyncManager.Queue, JoinableQueue and their kind).
///
///     passel::QueueProxy<Job> jobs = manager.queue<Job>(100).unwrap();
///     pool.submit<fetch>(jobs, url);           // a proxy goes wherever values go
///     Job job = jobs.get().unwrap();
///
/// Items are handed out in the order in which they came, to those who wait in the order in which
/// these came. A consumer that dies while it waits is forgotten; an item goes to one that lives.
/// With `joinable_queue` an item whose consumer dies before its task_done() comes back at the head.
/// A put or get that is given up, by cancel() of its future or at its time limit, leaves the queue
/// as it was; a put whose item somebody has already is done, whatever its caller was told. An item
/// that is of another type than T is type_mismatch, and stays in the queue. Of one queue a process
/// can have so many items in its hands, on their way or without task_done, as
/// ManagerLimits::items_of_session says: one more get is full. An item that leaves no room for what
/// a message has around it (64 MiB less 64 KiB) is too_large to be put.
///
/// Time limits are the server's to keep; one that does not answer a second later ends the call with
/// Errc::timeout. Errors of all functions: those of DynamicProxy's calls (peer_lost, stale_object),
/// closed when the queue is shut down. Any number of threads. Source of the semantics: Python's
/// queue.Queue.
template <class T = WireValue>
class QueueProxy : public DynamicProxy {
 public:
  using value_type = T;
  using DynamicProxy::DynamicProxy;
  explicit QueueProxy(DynamicProxy other) noexcept : DynamicProxy{std::move(other)} {}

  /// Adds an item; waits while the queue is full. (Python: put(item))
  Result<void> put(const T& item) const { return put_until(item, true, detail::Deadline::never()); }
  /// Errors also: full when there was no room in that time, invalid_argument for a negative one.
  template <class Rep, class Period>
  Result<void> put_for(const T& item, std::chrono::duration<Rep, Period> timeout) const {
    PASSEL_TRY(const detail::Deadline deadline, detail::checked_deadline(timeout));
    return put_until(item, true, deadline);
  }
  /// Errors also: full. (Python: put_nowait)
  Result<void> try_put(const T& item) const {
    return put_until(item, false, detail::Deadline::never());
  }
  Result<void> put_nowait(const T& item) const { return try_put(item); }
  /// The future is done when the item is in the queue.
  Future<void> put_async(const T& item) const { return call_async<void>("put", item, true); }

  /// Adds items in their order, in one call: each as soon as there is room, perhaps with items of
  /// others between them. Waits until all are in. When it ends with an error those that are in
  /// stay.
  Result<void> put_many(const std::vector<T>& items) const {
    return put_all(items, true, detail::Deadline::never());
  }
  /// Errors also: full when they were not all in in that time; invalid_argument for a negative one.
  template <class Rep, class Period>
  Result<void> put_many_for(const std::vector<T>& items,
                            std::chrono::duration<Rep, Period> timeout) const {
    PASSEL_TRY(const detail::Deadline deadline, detail::checked_deadline(timeout));
    return put_all(items, true, deadline);
  }
  /// All of them or none. Errors also: full.
  Result<void> try_put_many(const std::vector<T>& items) const {
    return put_all(items, false, detail::Deadline::never());
  }

  /// Takes what is there, up to `most` items, in one call; waits while there is none.
  Result<std::vector<T>> get_many(std::size_t most) const {
    return several(most, true, detail::Deadline::never());
  }
  /// Errors also: empty when none came in that time, invalid_argument for a negative one.
  template <class Rep, class Period>
  Result<std::vector<T>> get_many_for(std::size_t most,
                                      std::chrono::duration<Rep, Period> timeout) const {
    PASSEL_TRY(const detail::Deadline deadline, detail::checked_deadline(timeout));
    return several(most, true, deadline);
  }
  /// Errors also: empty. (get_many_nowait)
  Result<std::vector<T>> try_get_many(std::size_t most) const {
    return several(most, false, detail::Deadline::never());
  }

  /// Takes the next item; waits while there is none. (Python: get())
  Result<T> get() const { return item_of(delivered(true, detail::Deadline::never())); }
  /// Errors also: empty when none came in that time, invalid_argument for a negative one.
  template <class Rep, class Period>
  Result<T> get_for(std::chrono::duration<Rep, Period> timeout) const {
    PASSEL_TRY(const detail::Deadline deadline, detail::checked_deadline(timeout));
    return item_of(delivered(true, deadline));
  }
  /// Errors also: empty. (Python: get_nowait)
  Result<T> try_get() const { return item_of(delivered(false, detail::Deadline::never())); }
  Result<T> get_nowait() const { return try_get(); }
  /// A place in the line of those who wait. A future that is cancelled or dropped before it is done
  /// takes nothing.
  Future<T> get_async() const {
    return detail::call_to_keep<T, Handed>(
        core_, "get", detail::encode_pack(true, true),
        [](Handed&& handed, const detail::SessionReply&) {
          return std::pair{std::get<0>(handed), Result<T>{std::move(std::get<2>(handed))}};
        });
  }
  /// As get, with the number of times that this item was handed out.
  Result<Delivered<T>> get_delivered() const { return delivered(true, detail::Deadline::never()); }

  /// Says that an item is finished. Of a joinable queue it is the oldest one that this process took
  /// over its present connection: what it had when one broke is handed out again. Errors also:
  /// invalid_argument "task_done() called too many times".
  Result<void> task_done() const { return call<void>("task_done"); }
  /// Waits until every item that was put is finished.
  Result<void> join() const { return call<void>("join"); }
  /// Errors also: timeout.
  template <class Rep, class Period>
  Result<void> join_for(std::chrono::duration<Rep, Period> timeout) const {
    return detail::call_object_patiently<void>(core_, "join", detail::encode_pack(),
                                               detail::Deadline::after(timeout));
  }
  /// Ends the queue for everybody: puts fail, gets take what is left and then fail. (Python:
  /// shutdown(immediate))
  Result<void> shutdown(QueueShutdown options = {}) const {
    return call<void>("shutdown", options.immediate);
  }
  [[nodiscard]] Result<bool> is_shutdown() const { return call<bool>("is_shutdown"); }

  [[nodiscard]] Result<std::size_t> qsize() const { return call<std::size_t>("qsize"); }
  [[nodiscard]] Result<bool> empty() const { return call<bool>("empty"); }
  [[nodiscard]] Result<bool> full() const { return call<bool>("full"); }
  /// The limit, 0 for none.
  [[nodiscard]] Result<std::size_t> maxsize() const { return call<std::size_t>("maxsize"); }

 private:
  // The number of the call, how often the item was handed out, the item.
  using Handed = std::tuple<std::uint64_t, std::uint64_t, T>;

  Result<void> put_until(const T& item, bool wait, detail::Deadline deadline) const {
    return detail::call_object_patiently<void>(core_, "put", detail::encode_pack(item, wait),
                                               deadline);
  }
  Result<void> put_all(const std::vector<T>& items, bool wait, detail::Deadline deadline) const {
    return detail::call_object_patiently<void>(
        core_, "put_many", detail::encode_pack(detail::to_values(items), wait), deadline);
  }
  /// Calls, and says that what was handed out has arrived, or cannot be read.
  template <class H>
  Result<H> taken(std::string_view method, Result<detail::Encoded> args,
                  detail::Deadline deadline) const {
    if (!core_) return detail::no_proxy_error();
    if (!args) return args.error();
    const auto reply = core_->call(method, *std::move(args), deadline, detail::server_patience);
    auto handed = detail::decode_reply<H>(reply);
    if (handed) {
      core_->tell("kept", std::get<0>(*handed), reply->lease);
    } else {
      detail::give_back_unread(*core_, reply);
    }
    return handed;
  }
  Result<std::vector<T>> several(std::size_t most, bool wait, detail::Deadline deadline) const {
    using Several = std::pair<std::uint64_t, std::vector<T>>;
    auto got =
        taken<Several>("get_many", detail::encode_pack(std::uint64_t{most}, wait, true), deadline);
    // More than one answer holds: they are back in the queue.
    if (!got && got.error() == Errc::too_large && most > 1)
      return several(most / 2, wait, deadline);
    if (!got) return got.error();
    return std::move(got->second);
  }
  Result<Delivered<T>> delivered(bool wait, detail::Deadline deadline) const {
    auto handed = taken<Handed>("get", detail::encode_pack(wait, true), deadline);
    if (!handed) return handed.error();
    auto& [call, delivery, item] = *handed;
    return Delivered<T>{std::move(item), static_cast<std::uint32_t>(delivery)};
  }
  static Result<T> item_of(Result<Delivered<T>> delivered) {
    if (!delivered) return delivered.error();
    return std::move(delivered->item);
  }
};

}  // namespace passel::inline v0
