// Layer actors: what the queues between threads say when they cannot.
#include <passel/detail/thread_queue.hpp>

#include <string>

namespace passel::inline v0::detail {

Error queue_full(std::size_t size, std::size_t limit) {
  return {Errc::full,
          "the queue holds " + std::to_string(size) + " of " + std::to_string(limit) + " items"};
}

Error queue_empty() { return {Errc::empty, "the queue has no item"}; }

Error queue_shut_down() { return {Errc::closed, "the queue is shut down"}; }

Error task_done_too_often() {
  return {Errc::invalid_argument, "task_done() called too many times"};
}

Error join_timeout(std::size_t unfinished) {
  return {Errc::timeout, std::to_string(unfinished) + " tasks of the queue are not done yet"};
}

}  // namespace passel::inline v0::detail
