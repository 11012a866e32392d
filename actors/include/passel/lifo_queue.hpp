// Layer actors: Python's queue.LifoQueue, the last item in is the first out, between threads.
#pragma once

#include <passel/detail/blocking_queue.hpp>

#include <cstddef>

namespace passel::inline v0 {

/// A stack between threads: `get` gives the item that was put last. Everything else is as in
/// Python's queue.Queue: bounded or not, task_done and join, shutdown. Shared by reference between
/// threads; to share between processes use Queue.
///
///     passel::LifoQueue<int> stack;
///     stack.put(1).unwrap();
///     stack.put(2).unwrap();
///     int newest = stack.get().unwrap();   // 2
///
/// Source of the semantics: Python's queue.LifoQueue.
template <class T>
class LifoQueue : public detail::BlockingQueue<T, detail::LifoOrder<T>> {
 public:
  /// At most `maxsize` items; 0 or less: no limit.
  explicit LifoQueue(std::ptrdiff_t maxsize = 0)
      : detail::BlockingQueue<T, detail::LifoOrder<T>>{maxsize} {}
};

}  // namespace passel::inline v0
