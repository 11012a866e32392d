// Layer actors: the threads that users' methods run on.
#include "hosted_threads.hpp"

#include <pthread.h>
#include <algorithm>
#include <chrono>
#include <csignal>
#include <utility>

namespace passel::inline v0::detail {
namespace {

constexpr std::chrono::seconds idle_time{10};

}  // namespace

void HostedThreads::stop() {
  std::vector<std::thread> threads;
  {
    const std::lock_guard lock{mutex_};
    stop_ = true;
    line_.clear();
    threads.swap(threads_);
  }
  changed_.notify_all();
  for (std::thread& thread : threads) thread.join();
}

void HostedThreads::run(std::function<void()> work) {
  std::vector<std::thread> ended;
  {
    const std::lock_guard lock{mutex_};
    if (stop_) return;
    line_.push_back(std::move(work));
    for (const std::thread::id id : std::exchange(ended_, {})) {
      const auto found = std::find_if(threads_.begin(), threads_.end(),
                                      [id](const std::thread& one) { return one.get_id() == id; });
      ended.push_back(std::move(*found));
      threads_.erase(found);
    }
    if (line_.size() > idle_ && threads_.size() < limit_) start_thread();
  }
  changed_.notify_one();
  for (std::thread& thread : ended) thread.join();
}

void HostedThreads::start_thread() {
  // Signals of the program are not for threads of the library.
  sigset_t all;
  sigset_t before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  threads_.emplace_back([this] { work(); });
  ::pthread_setname_np(threads_.back().native_handle(), "passel.object");
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

void HostedThreads::work() {
  std::unique_lock lock{mutex_};
  while (true) {
    ++idle_;
    const bool found =
        changed_.wait_for(lock, idle_time, [this] { return stop_ || !line_.empty(); });
    --idle_;
    if (stop_) return;
    if (!found) {
      ended_.push_back(std::this_thread::get_id());
      return;
    }
    auto work = std::move(line_.front());
    line_.pop_front();
    lock.unlock();
    work();
    work = nullptr;
    lock.lock();
  }
}

}  // namespace passel::inline v0::detail
