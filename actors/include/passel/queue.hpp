// Layer actors: Python's multiprocessing.Queue, JoinableQueue and queue.Queue as one handle.
#pragma once

#include <passel/detail/blocking_queue.hpp>
#include <passel/detail/drain_iterator.hpp>
#include <passel/detail/queue_core.hpp>

#include <chrono>
#include <cstddef>
#include <iterator>
#include <memory>
#include <utility>
#include <vector>

namespace passel::inline v0 {

/// A first-in first-out queue for many producers and consumers: Python's multiprocessing.Queue
/// between processes and queue.Queue between threads, with the shutdown of Python 3.13.
///
///     passel::Queue<int> jobs{5};                       // at most 5 items
///     auto worker = passel::Process::spawn<work>(jobs); // the handle works over there
///     jobs.put(1).unwrap();
///     jobs.shutdown();
///
///     void work(passel::Queue<int> jobs) {
///       for (int job : jobs) handle(job);               // until shut down and empty
///     }
///
/// A Queue is a handle: copies are the same queue, a copy given to another process as an argument
/// too. The queue lives until its last handle is gone. All functions but close() and assignment may
/// be called by any thread at any time, also on one handle.
///
/// | state | put | get |
/// | --- | --- | --- |
/// | open | waits while `maxsize` items are in it | waits while it is empty |
/// | shut down | closed | the items that are left, then closed |
/// | shut down at once | closed | closed |
/// | this handle closed | invalid_state "Queue is closed" | the same |
///
/// **Between processes** (T can be encoded, the default then) items are copied through shared
/// memory; there is no feeder thread and no buffer in the process, so that an item is in the queue
/// when put returns, and a process may end, or be killed, at any time after that. A process that is
/// killed inside put or get blocks nobody; its item is in the queue whole or not at all, and an
/// item that it had got is gone (with `joinable` it comes back at the head). An item that cannot be
/// encoded or is over a limit is an error of put, and the queue goes on. Items may hold no handles
/// of shared objects.
///
/// **Between threads** (any movable T, no encoding) the items are moved. task_done() and join()
/// always work.
///
/// Source of the semantics: Python's multiprocessing.Queue and queue.Queue (shutdown, task_done).
template <class T>
class Queue {
 public:
  using value_type = T;
  using iterator = detail::DrainIterator<T, const Queue>;

  /// At most `maxsize` items; 0 or less: no limit. Throws passel::Exception when there is no memory
  /// or no descriptor left; `create` gives that as an error instead.
  explicit Queue(std::ptrdiff_t maxsize = 0) : Queue{QueueOptions{.maxsize = maxsize}} {}
  /// `Queue<Job> q{{.maxsize = 5, .reach = Reach::threads}};` Throws as the other one does.
  explicit Queue(const QueueOptions& options) : Queue{create(options).unwrap()} {}
  /// Errors: no_space; invalid_argument when T cannot be encoded but is to reach other processes.
  [[nodiscard]] static Result<Queue> create(const QueueOptions& options = {}) {
    PASSEL_TRY(auto core, detail::QueueCore<T>::create(options));
    return Queue{std::move(core)};
  }

  /// Adds an item. Waits while the queue is full. Errors: closed when it is shut down, also while
  /// this call waits; too_large when the item is over the message limit; no_space when all items
  /// are over the bytes limit; invalid_state when this handle is closed or the item holds a handle
  /// that only a new process can be given. A put that fails has not moved from `item`. (Python:
  /// put(item))
  Result<void> put(T&& item) const { return put_until(item, detail::Deadline::never()); }
  Result<void> put(const T& item) const { return copy_until(item, detail::Deadline::never()); }
  /// Waits for `timeout` at most. Errors: as put; full when there was no room in that time;
  /// invalid_argument when `timeout` is negative. (Python: put(item, timeout=t))
  template <class Rep, class Period>
  Result<void> put_for(T&& item, std::chrono::duration<Rep, Period> timeout) const {
    PASSEL_TRY(const detail::Deadline deadline, detail::checked_deadline(timeout));
    return put_until(item, deadline);
  }
  template <class Rep, class Period>
  Result<void> put_for(const T& item, std::chrono::duration<Rep, Period> timeout) const {
    PASSEL_TRY(const detail::Deadline deadline, detail::checked_deadline(timeout));
    return copy_until(item, deadline);
  }
  /// Never waits. Errors: as put; full. (Python: put_nowait(item))
  Result<void> try_put(T&& item) const { return put_until(item, detail::Deadline::now_or_never()); }
  Result<void> try_put(const T& item) const {
    return copy_until(item, detail::Deadline::now_or_never());
  }
  /// try_put under its Python name.
  Result<void> put_nowait(T&& item) const { return try_put(std::move(item)); }
  Result<void> put_nowait(const T& item) const { return try_put(item); }

  /// Takes the oldest item. Waits while the queue is empty. Errors: closed when it is shut down and
  /// nothing is left, also while this call waits; invalid_state when this handle is closed. A
  /// sleeping get that is killed takes nothing with it. (Python: get())
  Result<T> get() const { return get_until(detail::Deadline::never()); }
  /// Waits for `timeout` at most. Errors: as get; empty when no item came in that time;
  /// invalid_argument when `timeout` is negative. (Python: get(timeout=t))
  template <class Rep, class Period>
  Result<T> get_for(std::chrono::duration<Rep, Period> timeout) const {
    PASSEL_TRY(const detail::Deadline deadline, detail::checked_deadline(timeout));
    return get_until(deadline);
  }
  /// Never waits. Errors: as get; empty. (Python: get_nowait())
  Result<T> try_get() const { return get_until(detail::Deadline::now_or_never()); }
  /// try_get under its Python name.
  Result<T> get_nowait() const { return try_get(); }

  /// Adds items in their order: each as soon as there is room, those that fit together under one
  /// lock and with one wake-up; others may put between them. Waits until all are in. Errors: as
  /// put. When it ends with one, those that are in stay, and `items` has the others. (No equivalent
  /// in Python.)
  ///
  ///     queue.put_many({1, 2, 3}).unwrap();
  Result<void> put_many(std::vector<T>&& items) const {
    return put_all(items, detail::Deadline::never());
  }
  Result<void> put_many(const std::vector<T>& items) const {
    return copy_all(items, detail::Deadline::never());
  }
  /// Waits for `timeout` at most. Errors: as put_many; full when they were not all in in that time;
  /// invalid_argument when `timeout` is negative.
  template <class Rep, class Period>
  Result<void> put_many_for(std::vector<T>&& items,
                            std::chrono::duration<Rep, Period> timeout) const {
    PASSEL_TRY(const detail::Deadline deadline, detail::checked_deadline(timeout));
    return put_all(items, deadline);
  }
  template <class Rep, class Period>
  Result<void> put_many_for(const std::vector<T>& items,
                            std::chrono::duration<Rep, Period> timeout) const {
    PASSEL_TRY(const detail::Deadline deadline, detail::checked_deadline(timeout));
    return copy_all(items, deadline);
  }
  /// All of them or none; never waits. Errors: as put; full. After no_space some may be in.
  Result<void> try_put_many(std::vector<T>&& items) const {
    return put_all(items, detail::Deadline::now_or_never());
  }
  Result<void> try_put_many(const std::vector<T>& items) const {
    return copy_all(items, detail::Deadline::now_or_never());
  }

  /// Takes what is there, up to `most` items, in order, under one lock and with one wake-up of
  /// those who wait for room; waits while there is none. Items over 16 KiB come alone.
  /// Errors: as get. An item that cannot be decoded is told of in the log when others can.
  Result<std::vector<T>> get_many(std::size_t most) const {
    return several_until(most, detail::Deadline::never());
  }
  /// Waits for `timeout` at most. Errors: as get_many; empty when no item came in that time;
  /// invalid_argument when `timeout` is negative.
  template <class Rep, class Period>
  Result<std::vector<T>> get_many_for(std::size_t most,
                                      std::chrono::duration<Rep, Period> timeout) const {
    PASSEL_TRY(const detail::Deadline deadline, detail::checked_deadline(timeout));
    return several_until(most, deadline);
  }
  /// Never waits. Errors: as get_many; empty.
  Result<std::vector<T>> try_get_many(std::size_t most) const {
    return several_until(most, detail::Deadline::now_or_never());
  }
  /// try_get_many under its other name.
  Result<std::vector<T>> get_many_nowait(std::size_t most) const { return try_get_many(most); }

  /// As get, with the number of times that this item was handed out: 2 when a process died before
  /// its task_done(), so that a consumer can put an item aside that kills whoever takes it. (No
  /// equivalent in Python.)
  Result<Delivered<T>> get_delivered() const { return delivered_until(detail::Deadline::never()); }
  template <class Rep, class Period>
  Result<Delivered<T>> get_delivered_for(std::chrono::duration<Rep, Period> timeout) const {
    PASSEL_TRY(const detail::Deadline deadline, detail::checked_deadline(timeout));
    return delivered_until(deadline);
  }

  /// Says that an item which came by a get is finished: the oldest one of this thread, else of this
  /// process, else of all. Until then the item counts as in the hands of the process that got it,
  /// and comes back at the head of the queue when that process dies or closes its last handle.
  /// Errors: invalid_argument "task_done() called too many times"; invalid_state between processes
  /// without `joinable`. (Python: JoinableQueue.task_done)
  Result<void> task_done() const {
    if (!core_) return detail::queue_is_closed();
    return core_->threads ? core_->threads->task_done() : core_->host->task_done();
  }
  /// Waits until every item that was put is finished. Errors: invalid_state between processes
  /// without `joinable`. (Python: JoinableQueue.join)
  Result<void> join() const { return join_until(detail::Deadline::never()); }
  /// Waits for `timeout` at most; a negative one counts as zero. Errors: as join; timeout.
  template <class Rep, class Period>
  Result<void> join_for(std::chrono::duration<Rep, Period> timeout) const {
    return join_until(detail::Deadline::after(timeout));
  }

  /// Ends the queue for everybody: puts fail from now on, gets take what is left and then fail, and
  /// whoever waits is told. May be repeated. (Python: shutdown(immediate))
  ///
  ///     queue.shutdown();
  ///     queue.shutdown({.immediate = true});   // and throw away what is left; it counts as done
  void shutdown(QueueShutdown options = {}) const {
    if (!core_) return;
    if (core_->threads) {
      core_->threads->shutdown(options.immediate);
    } else {
      core_->host->shutdown(options.immediate);
    }
  }
  /// True after shutdown by anybody; false on a closed handle.
  [[nodiscard]] bool is_shutdown() const noexcept {
    return core_ && (core_->threads ? core_->threads->is_shutdown() : core_->host->is_shutdown());
  }

  /// Gives up this handle: no more calls by it; the queue and other handles go on. May be repeated.
  /// Not while another thread uses this very handle. (Python: close())
  void close() noexcept { core_.reset(); }
  [[nodiscard]] bool closed() const noexcept { return core_ == nullptr; }
  /// Returns at once, because put leaves nothing behind in the process. Errors: invalid_state
  /// before close(). (Python: join_thread())
  Result<void> join_thread() const {
    if (core_) return Error{Errc::invalid_state, "join_thread() before close()"};
    return {};
  }
  /// Does nothing, for the same reason: nothing is lost when a process ends. (Python:
  /// cancel_join_thread())
  void cancel_join_thread() const noexcept {}

  /// Items in the queue: exact while nobody else works on it, otherwise a past value. 0 on a closed
  /// handle.
  [[nodiscard]] std::size_t qsize() const noexcept {
    if (!core_) return 0;
    return core_->threads ? core_->threads->qsize()
                          : static_cast<std::size_t>(core_->host->qsize());
  }
  [[nodiscard]] bool empty() const noexcept { return qsize() == 0; }
  [[nodiscard]] bool full() const noexcept {
    return core_ && (core_->threads ? core_->threads->full() : core_->host->full());
  }
  /// The limit, 0 for none.
  [[nodiscard]] std::size_t maxsize() const noexcept {
    if (!core_) return 0;
    return core_->threads ? core_->threads->maxsize()
                          : static_cast<std::size_t>(core_->host->maxsize());
  }
  [[nodiscard]] Reach reach() const noexcept {
    return core_ && core_->host ? Reach::host : Reach::threads;
  }

  /// `for (auto& item : queue)` gets items until the queue is shut down and has none left.
  [[nodiscard]] iterator begin() const { return iterator{*this}; }
  [[nodiscard]] std::default_sentinel_t end() const noexcept { return {}; }

  /// Whether both are handles of one queue.
  friend bool operator==(const Queue& a, const Queue& b) noexcept {
    if (a.core_ == b.core_) return true;
    return a.core_ && b.core_ && a.core_->host && b.core_->host &&
           a.core_->host->id() == b.core_->host->id();
  }

 protected:
  explicit Queue(std::shared_ptr<detail::QueueCore<T>> core) noexcept : core_{std::move(core)} {}

 private:
  friend iterator;
  friend codec<Queue<T>>;

  Result<T> next_item() const { return get(); }
  Result<void> put_until(T& item, detail::Deadline deadline) const {
    return core_ ? core_->put(item, deadline) : detail::queue_is_closed();
  }
  Result<void> copy_until(const T& item, detail::Deadline deadline) const {
    return core_ ? core_->put_copy(item, deadline) : detail::queue_is_closed();
  }
  Result<void> put_all(std::vector<T>& items, detail::Deadline deadline) const {
    if (!core_) return detail::queue_is_closed();
    struct Left {  // also when a move throws
      std::vector<T>& items;
      std::size_t put = 0;
      ~Left() { items.erase(items.begin(), items.begin() + static_cast<std::ptrdiff_t>(put)); }
    } left{items};
    return core_->put_many(items, left.put, deadline);
  }
  Result<void> copy_all(const std::vector<T>& items, detail::Deadline deadline) const {
    return core_ ? core_->put_copies(items, deadline) : detail::queue_is_closed();
  }
  Result<std::vector<T>> several_until(std::size_t most, detail::Deadline deadline) const {
    if (!core_) return detail::queue_is_closed();
    return core_->get_many(most, deadline);
  }
  Result<Delivered<T>> delivered_until(detail::Deadline deadline) const {
    if (!core_) return detail::queue_is_closed();
    return core_->get(deadline);
  }
  Result<T> get_until(detail::Deadline deadline) const {
    PASSEL_TRY(Delivered<T> delivered, delivered_until(deadline));
    return std::move(delivered.item);
  }
  Result<void> join_until(detail::Deadline deadline) const {
    if (!core_) return detail::queue_is_closed();
    return core_->threads ? core_->threads->join(deadline) : core_->host->join(deadline);
  }

  std::shared_ptr<detail::QueueCore<T>> core_;
};

/// A Queue with task_done() and join() at any reach: Python's multiprocessing.JoinableQueue. An
/// item whose consumer dies before task_done() comes back at the head of the queue.
///
///     passel::JoinableQueue<Job> jobs;
///     ...                                  // workers: get, work, task_done
///     jobs.join().unwrap();                // every job was done
template <class T>
class JoinableQueue : public Queue<T> {
 public:
  /// As the constructors of Queue, and throws as they do.
  explicit JoinableQueue(std::ptrdiff_t maxsize = 0)
      : JoinableQueue{QueueOptions{.maxsize = maxsize}} {}
  explicit JoinableQueue(const QueueOptions& options) : JoinableQueue{create(options).unwrap()} {}
  [[nodiscard]] static Result<JoinableQueue> create(QueueOptions options = {}) {
    options.joinable = true;
    PASSEL_TRY(Queue<T> queue, Queue<T>::create(options));
    return JoinableQueue{std::move(queue)};
  }

 private:
  friend codec<JoinableQueue<T>>;
  explicit JoinableQueue(Queue<T> queue) noexcept : Queue<T>{std::move(queue)} {}
};

/// A Queue travels as a handle, to a process that is being started or called.
template <class T>
requires Encodable<T>
struct codec<Queue<T>> {
  static std::string name() { return "Queue<" + detail::type_name<T>() + ">"; }
  static WireValue encode(const Queue<T>& queue) {
    return detail::queue_handle("Queue", detail::type_name<T>(),
                                queue.core_ ? queue.core_->host : nullptr, queue.closed());
  }
  static Result<Queue<T>> decode(const WireValue& value) {
    auto core = std::make_shared<detail::QueueCore<T>>();
    PASSEL_TRY(core->host, detail::open_queue("Queue", detail::type_name<T>(), value));
    return Queue<T>{std::move(core)};
  }
};

template <class T>
requires Encodable<T>
struct codec<JoinableQueue<T>> {
  static std::string name() { return "JoinableQueue<" + detail::type_name<T>() + ">"; }
  static WireValue encode(const JoinableQueue<T>& queue) { return codec<Queue<T>>::encode(queue); }
  static Result<JoinableQueue<T>> decode(const WireValue& value) {
    PASSEL_TRY(Queue<T> queue, codec<Queue<T>>::decode(value));
    return JoinableQueue<T>{std::move(queue)};
  }
};

}  // namespace passel::inline v0
