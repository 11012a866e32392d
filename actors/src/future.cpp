// Layer actors: states, sleepers and watchers of a future.
#include <passel/detail/futex.hpp>
#include <passel/detail/future_core.hpp>
#include <passel/future.hpp>
#include <passel/log.hpp>

#include <climits>
#include <exception>
#include <memory>
#include <utility>

namespace passel::inline v0 {

LateAnswer::~LateAnswer() = default;

namespace detail {

namespace {

thread_local WaitObserver* wait_observer = nullptr;
thread_local WakeBatch* wake_batch = nullptr;
std::atomic<BackgroundErrorHandler> background_error_handler{nullptr};

/// Stands in the list of watchers once the future is done.
struct ClosedMark final : FutureWatcher {
  void done(FutureCore&) noexcept override {}
};
constinit ClosedMark closed_mark_object;
constexpr FutureWatcher* closed_mark = &closed_mark_object;

FutureWatcher* in_adding_order(FutureWatcher* list) noexcept {
  FutureWatcher* first = nullptr;
  while (list != nullptr) {
    FutureWatcher* const next = list->next;
    list->next = first;
    first = list;
    list = next;
  }
  return first;
}

}  // namespace

WaitObserver::~WaitObserver() = default;
WaitObserver* WaitObserver::current() noexcept { return wait_observer; }
WaitObserver* WaitObserver::exchange(WaitObserver* observer) noexcept {
  return std::exchange(wait_observer, observer);
}

WakeBatch::WakeBatch() noexcept : before_{std::exchange(wake_batch, this)} {}

WakeBatch::~WakeBatch() {
  wake_all();
  wake_batch = before_;
}

void WakeBatch::wake_all() noexcept {
  for (std::size_t i = 0; i < count_; ++i) futex_wake(*words_[i], INT_MAX, FutexScope::process);
  count_ = 0;
}

void WakeBatch::flush() noexcept {
  if (wake_batch != nullptr && wake_batch->count_ != 0) wake_batch->wake_all();
}

bool WakeBatch::put_off(std::atomic<std::uint32_t>& word) noexcept {
  WakeBatch* const batch = wake_batch;
  if (batch == nullptr) return false;
  if (batch->count_ == most) batch->wake_all();
  batch->words_[batch->count_++] = &word;
  return true;
}

void FutureCore::stop_wished() noexcept {}
void FutureCore::given_up() noexcept {}
void FutureCore::fetch(Deadline) noexcept {}
void FutureCore::wake_fetcher() noexcept {}

bool FutureCore::sleep_elsewhere() noexcept {
  return (word_.fetch_or(elsewhere_bit, std::memory_order_seq_cst) & phase_mask) < cancelled;
}

FutureCore::~FutureCore() {
  GateSeat* seat = gates_.next.load(std::memory_order_acquire);
  while (seat != nullptr) {
    const std::unique_ptr<GateSeat> owned{seat};
    seat = seat->next.load(std::memory_order_relaxed);
  }
  FutureHook* hook = hooks_.load(std::memory_order_acquire);
  while (hook != nullptr) {
    const std::unique_ptr<FutureHook> owned{hook};
    hook = hook->next_;
  }
}

bool FutureCore::begin_set_unless(std::uint32_t bits) noexcept {
  std::uint32_t word = word_.load(std::memory_order_relaxed);
  while ((word & phase_mask) <= running && (word & bits) == 0) {
    if (word_.compare_exchange_weak(word, (word & ~phase_mask) | setting,
                                    std::memory_order_acq_rel)) {
      return true;
    }
  }
  return false;
}

void FutureCore::finish_set() noexcept {
  tell(watchers_.exchange(closed_mark, std::memory_order_acq_rel), setting, finished);
}

bool FutureCore::set_running() noexcept {
  std::uint32_t word = word_.load(std::memory_order_relaxed);
  while ((word & phase_mask) == pending) {
    if (word_.compare_exchange_weak(word, word | running, std::memory_order_acq_rel)) return true;
  }
  return false;
}

bool FutureCore::cancel() noexcept {
  std::uint32_t word = word_.load(std::memory_order_relaxed);
  do {
    if ((word & phase_mask) == cancelled) return true;
    if ((word & phase_mask) != pending) return false;
  } while (!word_.compare_exchange_weak(word, word | cancelled, std::memory_order_seq_cst));
  // The hook comes first: an executor has taken the work out of its line before anybody hears of
  // it.
  wish(FutureWish::cancel);
  given_up();
  tell(watchers_.exchange(closed_mark, std::memory_order_acq_rel), cancelled, cancelled);
  return true;
}

void FutureCore::tell(FutureWatcher* list, Phase from, Phase to) noexcept {
  const std::uint32_t change = (static_cast<std::uint32_t>(from) ^ static_cast<std::uint32_t>(to)) |
                               (list == nullptr ? settled_bit : 0);
  const std::uint32_t before = word_.fetch_xor(change, std::memory_order_acq_rel);
  if ((before & waiters_bit) != 0 && !WakeBatch::put_off(word_))
    futex_wake(word_, INT_MAX, FutexScope::process);
  if ((before & elsewhere_bit) != 0) wake_fetcher();
  if ((before & gated_bit) != 0) open_gate();
  if (list == nullptr) return;
  WakeBatch::flush();
  for (FutureWatcher* watcher = in_adding_order(list); watcher != nullptr;) {
    FutureWatcher* const next = watcher->next;
    watcher->done(*this);
    watcher = next;
  }
  if ((word_.fetch_or(settled_bit, std::memory_order_acq_rel) & waiters_bit) != 0) {
    futex_wake(word_, INT_MAX, FutexScope::process);
  }
}

void FutureCore::open_gate() noexcept {
  for (GateSeat* seat = &gates_; seat != nullptr;
       seat = seat->next.load(std::memory_order_acquire)) {
    if (FutureGate* const gate = seat->gate.exchange(nullptr, std::memory_order_acq_rel)) {
      gate->arrive(failed());
      gate->release();
    }
  }
}

void FutureCore::join_gate(FutureGate& gate) noexcept {
  gate.add_ref();
  GateSeat* seat = &gates_;
  FutureGate* none = nullptr;
  while (!seat->gate.compare_exchange_strong(none, &gate, std::memory_order_acq_rel)) {
    none = nullptr;
    GateSeat* next = seat->next.load(std::memory_order_acquire);
    if (next == nullptr) {
      auto* const made = new GateSeat;
      if (seat->next.compare_exchange_strong(next, made, std::memory_order_acq_rel)) {
        next = made;
      } else {
        delete made;
      }
    }
    seat = next;
  }
  const std::uint32_t before = word_.fetch_or(gated_bit, std::memory_order_acq_rel);
  // Done before the bit was there: nobody else will look.
  if ((before & phase_mask) >= cancelled) open_gate();
}

void FutureCore::leave_gate(FutureGate& gate) noexcept {
  for (GateSeat* seat = &gates_; seat != nullptr;
       seat = seat->next.load(std::memory_order_acquire)) {
    FutureGate* present = &gate;
    if (seat->gate.compare_exchange_strong(present, nullptr, std::memory_order_acq_rel)) {
      gate.release();
      return;
    }
  }
}

void FutureGate::arrive(bool failed) noexcept {
  const std::uint32_t count = arrived_.fetch_add(1, std::memory_order_acq_rel) + 1;
  if (count != target_ && !(failed && on_failure_)) return;
  if (open_.exchange(1, std::memory_order_acq_rel) == 2)
    futex_wake(open_, INT_MAX, FutexScope::process);
}

bool FutureGate::wait(Deadline deadline) noexcept {
  std::uint32_t open = open_.load(std::memory_order_acquire);
  if (open == 1 || deadline.is_try()) return open == 1;
  WaitObserver* const observer = wait_observer;
  if (observer != nullptr) observer->before_wait();
  bool in_time = true;
  while (open != 1 && in_time) {
    if (open == 0 && !open_.compare_exchange_strong(open, 2, std::memory_order_acq_rel)) continue;
    in_time = futex_wait(open_, 2, deadline, FutexScope::process);
    open = open_.load(std::memory_order_acquire);
  }
  if (observer != nullptr) observer->after_wait();
  return open == 1;
}

void FutureCore::request_stop() noexcept {
  if (cancel()) return;
  if ((word_.fetch_or(stop_bit, std::memory_order_seq_cst) & stop_bit) == 0 && !is_done()) {
    stop_wished();
    wish(FutureWish::stop);
  }
}

void FutureCore::drop_handle() noexcept {
  std::uint32_t word = word_.load(std::memory_order_acquire);
  while ((word & phase_mask) <= running && (word & watched_bit) == 0) {
    if (word_.compare_exchange_weak(word, word | abandon_bit, std::memory_order_seq_cst)) {
      wish(FutureWish::abandon);
      given_up();
      break;
    }
  }
  release();
}

bool FutureCore::wait(Deadline deadline, bool for_value) noexcept {
  const auto ready = [for_value](std::uint32_t word) {
    return (word & phase_mask) >= cancelled && (!for_value || (word & settled_bit) != 0);
  };
  std::uint32_t word = word_.load(std::memory_order_acquire);
  if (ready(word)) return true;
  if (deadline.is_try()) return false;
  WaitObserver* const observer = wait_observer;
  if (observer != nullptr) observer->before_wait();
  if (!has_callbacks()) {
    fetch(deadline);
    word = word_.load(std::memory_order_acquire);
  }
  bool in_time = true;
  while (!ready(word) && in_time) {
    if ((word & waiters_bit) == 0) {
      word = word_.fetch_or(waiters_bit, std::memory_order_acq_rel) | waiters_bit;
      continue;
    }
    in_time = futex_wait(word_, word, deadline, FutexScope::process);
    word = word_.load(std::memory_order_acquire);
  }
  if (observer != nullptr) observer->after_wait();
  return ready(word);
}

void FutureCore::watch(FutureWatcher* watcher, bool counts) noexcept {
  const std::uint32_t marks = (counts ? watched_bit : 0) | (watcher->is_quiet ? 0 : callback_bit);
  if (marks != 0) word_.fetch_or(marks, std::memory_order_acq_rel);
  FutureWatcher* head = watchers_.load(std::memory_order_acquire);
  while (head != closed_mark) {
    watcher->next = head;
    if (watchers_.compare_exchange_weak(head, watcher, std::memory_order_acq_rel)) return;
  }
  // The list is closed an instant before the phase says so.
  wait(Deadline::never(), false);
  watcher->done(*this);
}

bool FutureCore::wished(FutureWish kind) const noexcept {
  const std::uint32_t word = word_.load(std::memory_order_seq_cst);
  switch (kind) {
    case FutureWish::cancel: return (word & phase_mask) == cancelled;
    case FutureWish::abandon: return (word & abandon_bit) != 0;
    case FutureWish::stop: return (word & stop_bit) != 0;
    case FutureWish::none: break;
  }
  return false;
}

void FutureCore::wish(FutureWish kind) noexcept {
  // Against add_hook, which stores the hook and then looks at the word: one of the two sees the
  // other.
  for (FutureHook* hook = hooks_.load(std::memory_order_seq_cst); hook != nullptr;
       hook = hook->next_) {
    if (hook->wish_ == kind && !hook->fired_.exchange(true, std::memory_order_acq_rel)) hook->run();
  }
}

void FutureCore::add_hook(FutureHook* hook) noexcept {
  hook->next_ = hooks_.load(std::memory_order_acquire);
  while (!hooks_.compare_exchange_weak(hook->next_, hook, std::memory_order_seq_cst)) {
  }
  if (wished(hook->wish_)) wish(hook->wish_);
}

std::string FutureCore::work() const {
  // Hooks stay until the end.
  for (const FutureHook* hook = hooks_.load(std::memory_order_acquire); hook != nullptr;
       hook = hook->next_) {
    if (std::string text = hook->work(); !text.empty()) return text;
  }
  return {};
}

Error FutureCore::late_error(Deadline::Clock::duration waited) const {
  auto detail = std::make_shared<LateAnswer>();
  detail->waited = waited;
  detail->work = work();
  detail->running = phase() != pending;
  const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(waited).count();
  std::string text = "no result within " + std::to_string(ms) + " ms";
  if (!detail->work.empty())
    text += ": " + detail->work + (detail->running ? " is running" : " has not begun");
  return Error{Errc::timeout, std::move(text), std::move(detail)};
}

void CompletionLine::add(std::size_t position) noexcept {
  {
    const std::scoped_lock lock{mutex_};
    line_.push_back(position);
  }
  added_.fetch_add(1, std::memory_order_release);
  futex_wake(added_, 1, FutexScope::process);
}

std::optional<std::size_t> CompletionLine::take(Deadline deadline) noexcept {
  for (bool in_time = true;;) {
    const std::uint32_t added = added_.load(std::memory_order_acquire);
    {
      const std::scoped_lock lock{mutex_};
      if (!line_.empty()) {
        const std::size_t position = line_.front();
        line_.pop_front();
        return position;
      }
    }
    if (!in_time) return std::nullopt;
    WaitObserver* const observer = wait_observer;
    if (observer != nullptr) observer->before_wait();
    in_time = futex_wait(added_, added, deadline, FutexScope::process);
    if (observer != nullptr) observer->after_wait();
  }
}

bool wait_for_many(std::span<FutureCore* const> futures, bool first, bool on_failure,
                   Deadline deadline) noexcept {
  if (futures.empty()) return true;
  auto* const gate =
      new FutureGate{first ? 1 : static_cast<std::uint32_t>(futures.size()), on_failure};
  for (FutureCore* const future : futures) future->join_gate(*gate);
  const bool in_time = gate->wait(deadline);
  for (FutureCore* const future : futures) future->leave_gate(*gate);
  gate->release();
  return in_time;
}

void report_background_error(const Error& error) noexcept {
  get_logger().error(error.what());
  if (const auto handler = background_error_handler.load(std::memory_order_acquire)) handler(error);
}

Error no_future_error() {
  return Error{Errc::invalid_state,
               "this Future is empty: it was moved from, or never got from a Promise"};
}
Error taken_future_error() {
  return Error{Errc::invalid_state, "the result was already taken out of this Future"};
}
Error cancelled_future_error() { return Error{Errc::cancelled, "the Future was cancelled"}; }
Error broken_promise_error() {
  return Error{Errc::broken,
               "whoever was to answer is gone: the promise was dropped without an answer"};
}

}  // namespace detail

BackgroundErrorHandler set_background_error_handler(BackgroundErrorHandler handler) noexcept {
  return detail::background_error_handler.exchange(handler, std::memory_order_acq_rel);
}

}  // namespace passel::inline v0
