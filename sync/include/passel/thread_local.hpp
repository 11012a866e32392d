// Layer sync: a value that each thread has for itself.
#pragma once

#include <passel/export.hpp>

#include <functional>
#include <memory>
#include <utility>

namespace passel::inline v0 {

namespace detail {

/// The values of one ThreadLocal in all threads.
class PASSEL_API LocalValues {
 public:
  LocalValues();
  /// Destroys the values of all threads, here.
  ~LocalValues();
  LocalValues(const LocalValues&) = delete;
  LocalValues& operator=(const LocalValues&) = delete;

  /// The calling thread's value; nullptr when it has none.
  [[nodiscard]] void* find() const noexcept;
  /// Gives the calling thread one, in place of what it had.
  void set(std::shared_ptr<void> value) const;
  /// Destroys the calling thread's value.
  void reset() const;

  struct Shared;

 private:
  std::shared_ptr<Shared> shared_;
};

}  // namespace detail

/// A value of which each thread has its own, destroyed when that thread ends or when this object is
/// destroyed, whichever comes first (Python's threading.local). Unlike a variable that is declared
/// thread_local it may be a member, be made at any time, and be asked whether there is a value.
///
///     passel::ThreadLocal<Connection> connection{[] { return Connection{"db"}; }};
///     connection->query("...");           // the first use in a thread makes its value
///     passel::ThreadLocal<int> depth;     // starts as int{}
///     if (int* d = depth.find()) ++*d;    // nullptr where this thread has not set any
///
/// Safe from any thread, apart from its own destruction, and usable in a forked child, where the
/// thread that forked keeps its value. Also works in threads that the library did not start.
template <class T>
class ThreadLocal {
 public:
  /// Values begin as `T{}`.
  ThreadLocal() : make_{[] { return std::make_shared<T>(); }} {}
  /// Values begin as what `make` returns, called in the thread that needs one.
  explicit ThreadLocal(std::function<T()> make)
      : make_{[make = std::move(make)] { return std::shared_ptr<T>{new T(make())}; }} {}

  /// The calling thread's value, made now if it has none. What making it throws comes through.
  [[nodiscard]] T& get() {
    if (T* found = find()) return *found;
    std::shared_ptr<T> made = make_();
    T& value = *made;
    values_.set(std::move(made));
    return value;
  }
  [[nodiscard]] T& operator*() { return get(); }
  [[nodiscard]] T* operator->() { return &get(); }
  /// The calling thread's value, or nullptr when it has none (Python's AttributeError).
  [[nodiscard]] T* find() const noexcept { return static_cast<T*>(values_.find()); }
  /// Gives the calling thread this value; what it had is destroyed.
  void set(T value) { values_.set(std::make_shared<T>(std::move(value))); }
  /// Destroys the calling thread's value; the next use makes a new one (Python's del).
  void reset() { values_.reset(); }

 private:
  std::function<std::shared_ptr<T>()> make_;
  detail::LocalValues values_;
};

}  // namespace passel::inline v0
