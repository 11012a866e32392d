// Layer actors: the threads that users' methods run on.
#include "hosted_threads.hpp"

#include <passel/detail/quiet_thread.hpp>
#include <passel/log.hpp>

#include <algorithm>
#include <string>
#include <utility>

namespace passel::inline v0::detail {
namespace {

/// Threads that have nothing more to do, whose ends are waited for when this goes.
struct Leavers {
  Leavers() = default;
  Leavers(const Leavers&) = delete;
  Leavers& operator=(const Leavers&) = delete;
  ~Leavers() {
    for (std::thread& thread : threads) thread.join();
  }
  std::vector<std::thread> threads;
};

}  // namespace

void HostedThreads::stop() {
  Leavers all;
  std::deque<Waiting> dropped;  // users' arguments: destroyed first, and without the mutex
  {
    const std::lock_guard lock{mutex_};
    stop_ = true;
    dropped.swap(line_);
    all.threads.swap(threads_);
  }
  changed_.notify_all();
}

Result<void> HostedThreads::run(std::function<void()> work) {
  Leavers ended;
  Result<void> begun;
  {
    const std::lock_guard lock{mutex_};
    if (stop_) return Error{Errc::closed, "the server is closed"};
    const auto now = Clock::now();
    take_ended(ended.threads);
    const bool all_busy = line_.size() >= idle_;
    if (all_busy && threads_.size() < options_.at_once) begun = start_thread();
    if (!begun && threads_.empty()) return begun;
    line_.push_back({std::move(work), now});
    // Those there are will do it, unless they wait for each other.
    if (all_busy && (!begun || threads_.size() >= options_.at_once))
      watch_line(now + options_.patience);
  }
  changed_.notify_one();
  return {};
}

void HostedThreads::take_ended(std::vector<std::thread>& out) {
  for (const std::thread::id id : std::exchange(ended_, {})) {
    const auto found = std::find_if(threads_.begin(), threads_.end(),
                                    [id](const std::thread& one) { return one.get_id() == id; });
    out.push_back(std::move(*found));
    threads_.erase(found);
  }
}

Result<void> HostedThreads::start_thread() {
  auto begun = start_quiet_thread("passel.object", [this] { work(); });
  if (!begun) {
    return Error{Errc::no_space, "no thread for the methods of hosted objects, beside the " +
                                     std::to_string(threads_.size()) +
                                     " there are: " + begun.error().what()};
  }
  threads_.push_back(*std::move(begun));
  return {};
}

/// With the mutex held.
void HostedThreads::watch_line(Clock::time_point when) {
  if (threads_.size() >= options_.most || std::exchange(watched_, true)) return;
  loop_.at(Deadline::at(when), [weak = weak_from_this()] {
    if (const auto threads = weak.lock()) threads->look_at_line();
  });
}

void HostedThreads::look_at_line() {
  std::unique_lock lock{mutex_};
  watched_ = false;
  if (stop_ || line_.empty()) return;
  const auto now = Clock::now();
  const auto overdue = line_.front().since + options_.patience;
  const bool one_more = now >= overdue && idle_ == 0;
  if (one_more) static_cast<void>(start_thread().is_ok());
  watch_line(std::max(overdue, now + options_.pause));
  if (!one_more || std::exchange(told_, true)) return;
  const std::string busy = std::to_string(threads_.size());
  lock.unlock();
  get_logger().warning("methods of hosted objects run on " + busy +
                       " threads, and calls of others wait: further ones are started; a method "
                       "that waits long should return a Future");
}

void HostedThreads::work() {
  std::unique_lock lock{mutex_};
  while (true) {
    ++idle_;
    const bool found =
        changed_.wait_for(lock, options_.idle, [this] { return stop_ || !line_.empty(); });
    --idle_;
    if (stop_) return;
    if (!found) {
      ended_.push_back(std::this_thread::get_id());
      return;
    }
    auto work = std::move(line_.front().work);
    line_.pop_front();
    lock.unlock();
    work();
    work = nullptr;
    lock.lock();
  }
}

}  // namespace passel::inline v0::detail
