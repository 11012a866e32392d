// Layer actors: Python's queue.PriorityQueue, the smallest item is the first out, between threads.
#pragma once

#include <passel/detail/blocking_queue.hpp>

#include <cstddef>
#include <functional>
#include <utility>

namespace passel::inline v0 {

/// A queue between threads whose `get` gives the smallest item by `Compare`. Items that compare
/// equal come in the order in which they were put (Python leaves that open). Everything else is as
/// in Python's queue.Queue: bounded or not, task_done and join, shutdown. `Compare` runs inside the
/// queue's lock and must not call the queue; when it throws, the exception reaches the caller of
/// put or get and the queue is as before.
///
///     passel::PriorityQueue<std::pair<int, std::string>> jobs;
///     jobs.put({2, "later"}).unwrap();
///     jobs.put({1, "first"}).unwrap();
///     auto job = jobs.get().unwrap();   // {1, "first"}
///
/// Source of the semantics: Python's queue.PriorityQueue.
template <class T, class Compare = std::less<T>>
class PriorityQueue : public detail::BlockingQueue<T, detail::PriorityOrder<T, Compare>> {
 public:
  /// At most `maxsize` items; 0 or less: no limit.
  explicit PriorityQueue(std::ptrdiff_t maxsize = 0, Compare compare = Compare{})
      : detail::BlockingQueue<T, detail::PriorityOrder<T, Compare>>{
            maxsize, detail::PriorityOrder<T, Compare>{std::move(compare)}} {}
};

}  // namespace passel::inline v0
