// Layer transport: the one I/O thread of a Runtime: descriptors, timers and posted calls.
#include <passel/detail/io_loop.hpp>
#include <passel/detail/quiet_thread.hpp>

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <future>
#include <memory>

namespace passel::inline v0::detail {
namespace {

constexpr std::uint64_t wake_id = 0;
constexpr int events_at_once = 64;
thread_local const IoLoop* loop_of_this_thread = nullptr;

}  // namespace

IoLoop::IoLoop()
    : epoll_{::epoll_create1(EPOLL_CLOEXEC)}, wake_{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)} {
  if (!epoll_ || !wake_) throw_error(system_error("epoll_create1 or eventfd", errno));
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = wake_id;
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, wake_.get(), &event);
}

IoLoop::~IoLoop() { stop(); }

void IoLoop::stop() noexcept {
  {
    const std::lock_guard lock{mutex_};
    if (std::exchange(stop_, true)) return;
  }
  wake();
  if (thread_.joinable()) thread_.join();
  std::map<TimerKey, std::function<void()>> timers;
  std::vector<std::function<void()>> posted;
  {
    const std::lock_guard lock{mutex_};
    ended_ = true;
    timers.swap(timers_);
    posted.swap(posted_);
  }
  // They go without the lock: what they hold may call this loop.
}

bool IoLoop::stopped() const noexcept {
  const std::lock_guard lock{mutex_};
  return stop_;
}

Result<void> IoLoop::ensure_thread() {
  // Called with mutex_ held.
  if (started_ || stop_) return {};
  PASSEL_TRY(thread_, start_quiet_thread("passel.io", [this] { run(); }));
  started_ = true;
  return {};
}

Result<IoLoop::Watch> IoLoop::watch(int fd, std::uint32_t events, Handler handler) {
  auto entry = std::make_shared<Entry>();
  entry->fd = fd;
  entry->handler = std::move(handler);
  const std::lock_guard lock{mutex_};
  if (stop_) return Error{Errc::invalid_state, "the I/O loop has been stopped"};
  PASSEL_CHECK(ensure_thread());
  entry->id = next_id_++;
  epoll_event event{};
  event.events = events;
  event.data.u64 = entry->id;
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0)
    return system_error("epoll_ctl(" + std::to_string(fd) + ")", errno);
  entries_.emplace(entry->id, entry);
  return Watch{this, std::move(entry)};
}

IoLoop::TimerKey IoLoop::at(Deadline when, std::function<void()> fn) {
  const std::lock_guard lock{mutex_};
  const TimerKey key{when.when(), next_id_++};
  if (when.is_never() || stop_) return key;
  const bool first = timers_.empty() || key < timers_.begin()->first;
  timers_.emplace(key, std::move(fn));
  static_cast<void>(ensure_thread().is_ok());
  if (first) wake();
  return key;
}

bool IoLoop::cancel(const TimerKey& timer) {
  const std::lock_guard lock{mutex_};
  return timers_.erase(timer) > 0;
}

void IoLoop::post(std::function<void()> fn) {
  const std::lock_guard lock{mutex_};
  if (stop_) return;
  posted_.push_back(std::move(fn));
  static_cast<void>(ensure_thread().is_ok());
  if (posted_.size() == 1) wake();
}

bool IoLoop::call(const std::function<void()>& fn) {
  if (on_loop_thread()) {
    fn();
    return true;
  }
  std::future<void> outcome;
  {
    // The loop has the only promise: it is broken when the loop drops the call.
    const auto done = std::make_shared<std::promise<void>>();
    outcome = done->get_future();
    const std::lock_guard lock{mutex_};
    if (ended_ || !ensure_thread()) return false;
    posted_.push_back([&fn, done] {
      fn();
      done->set_value();
    });
    if (posted_.size() == 1) wake();
  }
  try {
    outcome.get();
    return true;
  } catch (const std::future_error&) {
    return false;
  }
}

bool IoLoop::on_loop_thread() const noexcept { return loop_of_this_thread == this; }

bool IoLoop::started() const noexcept {
  const std::lock_guard lock{mutex_};
  return started_;
}

void IoLoop::while_parked(const std::function<void()>& fn) {
  if (!started()) return fn();
  std::atomic<std::uint32_t> parked{0};
  std::atomic<std::uint32_t> released{0};
  post([&] {
    parked.store(1);
    parked.notify_one();
    released.wait(0);
    parked.store(0);
    parked.notify_one();
  });
  parked.wait(0);
  fn();
  released.store(1);
  released.notify_one();
  parked.wait(1);  // the words live on this stack: the thread must have left them
}

void IoLoop::wake() noexcept {
  const std::uint64_t one = 1;
  // Can only fail when the counter is full, and then a wake-up is pending anyway.
  static_cast<void>(!::write(wake_.get(), &one, sizeof one));
}

Deadline IoLoop::run_due() {
  std::unique_lock lock{mutex_};
  batch_.swap(posted_);
  while (!timers_.empty() && timers_.begin()->first.first <= Deadline::Clock::now()) {
    batch_.push_back(std::move(timers_.begin()->second));
    timers_.erase(timers_.begin());
  }
  lock.unlock();
  for (auto& fn : batch_) fn();
  batch_.clear();
  lock.lock();
  // One round only: calls that post calls must not keep descriptors, or the end of the loop,
  // waiting.
  if (!posted_.empty()) return Deadline::now_or_never();
  return timers_.empty() ? Deadline::never() : Deadline::at(timers_.begin()->first.first);
}

int IoLoop::wait(epoll_event* ready, Deadline next) {
  int count = 0;
  const bool expects = expected_.load() != 0;
  const auto begin = Deadline::Clock::now();
  if (expects && spinner_.spin(expected_, next, [&] {
        count = ::epoll_wait(epoll_.get(), ready, events_at_once, 0);
        return count != 0;
      })) {
    return count;
  }
  const timespec left = next.is_never() ? timespec{} : to_timespec(next.left());
  count = ::epoll_pwait2(epoll_.get(), ready, events_at_once, next.is_never() ? nullptr : &left,
                         nullptr);
  if (expects) spinner_.waited(Deadline::Clock::now() - begin);
  expected_.publish(0);
  return count;
}

void IoLoop::run() {
  loop_of_this_thread = this;
  epoll_event ready[events_at_once];
  for (;;) {
    const Deadline next = run_due();
    {
      const std::lock_guard lock{mutex_};
      if (stop_) return;
    }
    const int count = wait(ready, next);
    for (int i = 0; i < count; ++i) {
      const std::uint64_t id = ready[i].data.u64;  // it is packed: nothing may refer to it
      if (id == wake_id) {
        std::uint64_t ignored = 0;
        static_cast<void>(!::read(wake_.get(), &ignored, sizeof ignored));
        continue;
      }
      std::shared_ptr<Entry> entry;
      {
        const std::lock_guard lock{mutex_};
        if (const auto found = entries_.find(id); found != entries_.end()) entry = found->second;
      }
      if (!entry) continue;
      const std::lock_guard running{entry->running};
      if (!entry->dead.load(std::memory_order_acquire)) entry->handler(ready[i].events);
    }
  }
}

void IoLoop::forget(const std::shared_ptr<Entry>& entry) noexcept {
  {
    const std::lock_guard lock{mutex_};
    ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, entry->fd, nullptr);
    entries_.erase(entry->id);
  }
  entry->dead.store(true, std::memory_order_release);
  // Waits for a handler that is running on the loop's thread; passes at once when this is that
  // handler.
  const std::lock_guard running{entry->running};
}

void IoLoop::Watch::set_events(std::uint32_t events) noexcept {
  epoll_event event{};
  event.events = events;
  event.data.u64 = entry_->id;
  ::epoll_ctl(loop_->epoll_.get(), EPOLL_CTL_MOD, entry_->fd, &event);
}

void IoLoop::Watch::reset() noexcept {
  if (!entry_) return;
  loop_->forget(entry_);
  loop_ = nullptr;
  entry_.reset();
}

}  // namespace passel::inline v0::detail
