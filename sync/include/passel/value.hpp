// Layer sync: one value in shared memory, as Python's multiprocessing.Value and
// sharedctypes.RawValue.
#pragma once

#include <passel/codec.hpp>
#include <passel/detail/shared_block.hpp>
#include <passel/detail/type_name.hpp>
#include <passel/lock.hpp>
#include <passel/rlock.hpp>
#include <passel/typecode.hpp>

#include <atomic>
#include <chrono>
#include <concepts>
#include <memory>
#include <type_traits>
#include <utility>

namespace passel::inline v0 {

/// The locks that a Value or an Array can have.
template <class L>
concept ValueLock = std::same_as<L, Lock> || std::same_as<L, RLock>;

/// A value in shared memory without a lock: Python's sharedctypes.RawValue, and Value with
/// lock=False.
///
///     passel::RawValue<long> done{0};
///     auto worker = passel::Process::spawn<work>(done).unwrap();   // the same value over there
///     done.add(1);                                                 // exact, whoever else adds
///
/// Copies are the same value, a copy given to another process as an argument too; it lives until
/// the last one is gone. It cannot go through a Queue.
///
/// A value of 1, 2, 4 or 8 bytes is read and written in one piece, by any threads and processes at
/// once, and also when a process is killed: nobody ever sees half of it. A larger one may be seen
/// half written, and stay so: use Value. Reading and then writing is two steps, in which another
/// process's write is lost; for that there are `add`, `exchange` and `compare_exchange`, which are
/// one step each: one atomic operation, no lock. A counter that many processes count up at once is
/// a cache line that they all want: let each count for itself and add now and then.
///
/// Source of the semantics: Python's multiprocessing.sharedctypes.RawValue.
template <Shareable T>
class RawValue {
 public:
  using value_type = T;

  /// Throws passel::Exception when there is no memory or descriptor left; `create` gives that as an
  /// error instead. Zero unless something else is given.
  explicit RawValue(const T& initial = T{}) : RawValue{create(initial).unwrap()} {}
  /// Errors: no_space.
  [[nodiscard]] static Result<RawValue> create(const T& initial = T{}) {
    PASSEL_TRY(detail::SharedBlock block, detail::SharedBlock::create(sizeof(T)));
    RawValue made{std::move(block)};
    made.set_value(initial);
    return made;
  }

  /// The value now. (Python: .value)
  [[nodiscard]] T value() const noexcept { return detail::load_shared(**this); }
  void set_value(const T& value) const noexcept { detail::store_shared(**this, value); }

  /// The memory itself, for the fields of a struct: `foo->x *= 2`. Unprotected.
  [[nodiscard]] T& operator*() const noexcept { return *reinterpret_cast<T*>(block_.data()); }
  [[nodiscard]] T* operator->() const noexcept { return &**this; }

  /// Adds in one step, whatever others do; integers wrap around. Returns the sum.
  T add(T amount) const noexcept
      requires(detail::is_atomic<T>&& std::is_arithmetic_v<T> && !std::same_as<T, bool>) {
    std::atomic_ref<T> here{**this};
    if constexpr (std::integral<T>) {
      using Bits = std::make_unsigned_t<T>;
      const T before = here.fetch_add(amount, std::memory_order_acq_rel);
      return static_cast<T>(static_cast<Bits>(before) + static_cast<Bits>(amount));
    } else {
      T seen = here.load(std::memory_order_relaxed);
      while (!here.compare_exchange_weak(seen, seen + amount, std::memory_order_acq_rel,
                                         std::memory_order_relaxed))
        continue;
      return seen + amount;
    }
  }
  /// Writes and returns what was there before, in one step.
  T exchange(T value) const noexcept requires(detail::is_atomic<T>) {
    return std::atomic_ref<T>{**this}.exchange(value, std::memory_order_acq_rel);
  }
  /// Writes `desired` if `expected` is there, in one step. Otherwise returns false and puts what is
  /// there into `expected`.
  bool compare_exchange(T& expected, T desired) const noexcept requires(detail::is_atomic<T>) {
    return std::atomic_ref<T>{**this}.compare_exchange_strong(expected, desired,
                                                              std::memory_order_acq_rel);
  }

  /// A value of its own, equal to this one now. Errors: no_space. (Python: sharedctypes.copy)
  [[nodiscard]] Result<RawValue> copy() const { return create(value()); }

  /// Whether both are the same value.
  friend bool operator==(const RawValue& a, const RawValue& b) noexcept {
    return a.block_.data() == b.block_.data();
  }

 private:
  friend codec<RawValue>;
  explicit RawValue(detail::SharedBlock block) noexcept : block_{std::move(block)} {}

  detail::SharedBlock block_;
};

/// A shared value whose lock is held: reads and writes go to a copy, which is written back when
/// this ends, in one step when it has 8 bytes or less. A process that is killed before that has
/// changed nothing; one that is killed while it writes back more than 8 bytes may leave half of
/// them. Either way the next holder is told (`guard().abandoned()`). For one thread at a time; must
/// not live longer than the Value that it came from.
template <Shareable T>
class LockedValue {
 public:
  LockedValue(Guard guard, RawValue<T> home)
      : guard_{std::move(guard)}, home_{std::move(home)}, copy_{home_.value()} {}
  LockedValue(LockedValue&&) noexcept = default;
  LockedValue& operator=(LockedValue&&) = delete;
  ~LockedValue() {
    if (guard_.owns_lock()) home_.set_value(copy_);
  }

  [[nodiscard]] T& operator*() noexcept { return copy_; }
  [[nodiscard]] T* operator->() noexcept { return &copy_; }
  [[nodiscard]] const Guard& guard() const noexcept { return guard_; }

 private:
  Guard guard_;
  RawValue<T> home_;
  T copy_;
};

/// A value in shared memory with a lock: Python's multiprocessing.Value.
///
///     passel::Value<double> num{0.0};                       // Value('d', 0.0)
///     auto p = passel::Process::spawn<work>(num).unwrap();  // in it: num.set_value(3.14)
///     passel::Value<long> hits{0};
///     hits.set_value(hits.value() + 1);                     // two steps: loses updates
///     *hits.locked().unwrap() += 1;                         // exact: nobody else in between
///     hits.add(1);                                          // exact and without the lock
///
/// The lock is an RLock of its own, or the one that is given (`Value<int, Lock> v{5, lock}`); a
/// value without one is a RawValue, and of that all else holds: copies are the same value.
///
/// Reading does not wait for a holder of the lock when the value has 8 bytes or less; everything
/// else waits, as in Python. With a Lock instead of an RLock, `set_value` inside a scope that holds
/// it waits for ever (Python's does, too): use what `locked` gives. `add`, `exchange` and
/// `compare_exchange` take no lock and wait for nobody: what somebody does under the lock at the
/// same time does not see them, and may overwrite them. Use one way for one value.
///
/// When a process is killed while it holds the lock, the next one gets it: see Lock.
///
/// Source of the semantics: Python's multiprocessing.Value.
template <Shareable T, ValueLock L = RLock>
class Value {
 public:
  using value_type = T;

  /// Zero unless something else is given. Throws as RawValue's constructor does.
  explicit Value(const T& initial = T{}) : Value{initial, L{}} {}
  Value(const T& initial, L lock) : Value{RawValue<T>{initial}, std::move(lock)} {}
  /// Gives an existing value a lock; see `synchronized`.
  Value(RawValue<T> raw, L lock) : raw_{std::move(raw)}, lock_{std::move(lock)} {}
  /// Errors: no_space.
  [[nodiscard]] static Result<Value> create(const T& initial = T{}) {
    PASSEL_TRY(L lock, L::create());
    PASSEL_TRY(RawValue<T> raw, RawValue<T>::create(initial));
    return Value{std::move(raw), std::move(lock)};
  }

  /// The value now. More than 8 bytes are read under the lock; throws passel::Exception where its
  /// acquire has an error. (Python: .value)
  [[nodiscard]] T value() const {
    if constexpr (detail::is_atomic<T>) {
      return raw_.value();
    } else {
      const Guard guard = lock_.acquire().unwrap();
      return raw_.value();
    }
  }
  /// Waits for the lock and writes. Throws passel::Exception where acquire has an error.
  void set_value(const T& value) const {
    const Guard guard = lock_.acquire().unwrap();
    raw_.set_value(value);
  }

  /// Waits for the lock and lends the value with it. Errors: those of the lock's acquire.
  [[nodiscard]] Result<LockedValue<T>> locked() const& { return lend(lock_.acquire()); }
  template <class Rep, class Period>
  [[nodiscard]] Result<LockedValue<T>> locked_for(
      std::chrono::duration<Rep, Period> timeout) const& {
    return lend(lock_.acquire_for(timeout));
  }
  [[nodiscard]] Result<LockedValue<T>> try_locked() const& { return lend(lock_.try_acquire()); }

  /// As those of RawValue; without the lock.
  T add(T amount) const noexcept requires requires(RawValue<T> raw) { raw.add(T{}); }
  { return raw_.add(amount); }
  T exchange(T value) const noexcept requires(detail::is_atomic<T>) { return raw_.exchange(value); }
  bool compare_exchange(T& expected, T desired) const noexcept requires(detail::is_atomic<T>) {
    return raw_.compare_exchange(expected, desired);
  }

  /// The lock, for scopes over several values: `auto guard = v.get_lock().acquire().unwrap();`
  [[nodiscard]] const L& get_lock() const& noexcept { return lock_; }
  /// The value without its lock.
  [[nodiscard]] const RawValue<T>& get_obj() const& noexcept { return raw_; }
  /// Those of the lock.
  [[nodiscard]] Result<Guard> acquire() const& { return lock_.acquire(); }
  template <class Rep, class Period>
  [[nodiscard]] Result<Guard> acquire_for(std::chrono::duration<Rep, Period> timeout) const& {
    return lock_.acquire_for(timeout);
  }
  [[nodiscard]] Result<Guard> try_acquire() const& { return lock_.try_acquire(); }
  Result<void> release() const { return lock_.release(); }

  friend bool operator==(const Value& a, const Value& b) noexcept { return a.raw_ == b.raw_; }

 private:
  Result<LockedValue<T>> lend(Result<Guard> guard) const {
    if (!guard) return guard.error();
    return LockedValue<T>{*std::move(guard), raw_};
  }

  RawValue<T> raw_;
  L lock_;
};

/// Gives a raw value a lock, its own or a given one; whoever uses the raw value goes past it.
/// Python's sharedctypes.synchronized. Something that has a lock already does not compile.
template <class T>
[[nodiscard]] Value<T> synchronized(RawValue<T> raw) {
  return Value<T>{std::move(raw), RLock{}};
}
template <class T, ValueLock L>
[[nodiscard]] Value<T, L> synchronized(RawValue<T> raw, L lock) {
  return Value<T, L>{std::move(raw), std::move(lock)};
}

/// Values travel as handles, to a process that is being started or called.
template <Shareable T>
struct codec<RawValue<T>> {
  static std::string name() { return "Value<" + std::string{type()} + ">"; }
  static WireValue encode(const RawValue<T>& value) { return value.block_.encode("Value", type()); }
  static Result<RawValue<T>> decode(const WireValue& value) {
    PASSEL_TRY(auto block, detail::SharedBlock::decode("Value", type(), value, sizeof(T)));
    return RawValue<T>{std::move(block)};
  }

 private:
  static constexpr std::string_view type() { return detail::compiler_type_name<T>(); }
};

template <Shareable T, ValueLock L>
struct codec<Value<T, L>> {
  static std::string name() { return codec<RawValue<T>>::name() + " with " + codec<L>::name(); }
  static WireValue encode(const Value<T, L>& value) {
    return WireValue::tuple({to_value(value.get_obj()), to_value(value.get_lock())});
  }
  static Result<Value<T, L>> decode(const WireValue& value) {
    PASSEL_TRY(const WireValue::Items* parts, detail::parts_of("Value", value, 2));
    PASSEL_TRY(RawValue<T> raw, from_value<RawValue<T>>((*parts)[0]));
    PASSEL_TRY(L lock, from_value<L>((*parts)[1]));
    return Value<T, L>{std::move(raw), std::move(lock)};
  }
};

}  // namespace passel::inline v0
