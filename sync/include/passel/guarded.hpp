// Layer sync: a value that can only be reached through its lock, as Rust's Mutex<T>.
#pragma once

#include <passel/detail/shared_block.hpp>
#include <passel/lock.hpp>

#include <concepts>
#include <functional>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

namespace passel::inline v0 {

/// What acquire() of a Guarded gives: the value, for as long as the lock is held. Move-only; it
/// borrows the handle that it came from.
template <class T>
class GuardedRef {
 public:
  GuardedRef(Guard guard, T& value) noexcept : guard_{std::move(guard)}, value_{&value} {}

  [[nodiscard]] T& operator*() const noexcept { return *value_; }
  [[nodiscard]] T* operator->() const noexcept { return value_; }
  /// See Guard: the value may be half changed.
  [[nodiscard]] bool abandoned() const noexcept { return guard_.abandoned(); }
  [[nodiscard]] std::uint64_t token() const noexcept { return guard_.token(); }
  /// Gives the lock back before the end of the scope; the value is out of reach then.
  Result<void> release() {
    value_ = nullptr;
    return guard_.release();
  }

 private:
  Guard guard_;
  T* value_;
};

/// A value and the lock that protects it, in one: who wants the value has to have the lock (Rust's
/// Mutex<T>; Python's Value with get_lock, where one can forget it).
///
///     passel::Guarded<std::map<std::string, int>> hits;
///     (*hits.acquire().unwrap())["/"] += 1;
///     int total = hits.with([](auto& map) { return sum(map); }).unwrap();
///
/// A Guarded is a handle: copies are the same value. By default it is between threads, for any T.
/// With Reach::host, for a T that is Shareable (numbers, plain structs), copies given to other
/// processes as arguments are the same value, too, and when a process dies while it holds the lock
/// the next one learns it by GuardedRef::abandoned(). Everything that is said of Lock holds.
template <class T>
class Guarded {
 public:
  /// A value between threads. Throws passel::Exception when there is no memory left.
  Guarded() requires std::default_initializable<T> : Guarded{T{}} {}
  explicit Guarded(T value) : Guarded{create(std::move(value)).unwrap()} {}
  explicit Guarded(T value, const LockOptions& options)
      : Guarded{create(std::move(value), options).unwrap()} {}
  /// Errors: no_space; invalid_argument when the name is too long, or T cannot reach other
  /// processes but should.
  [[nodiscard]] static Result<Guarded> create(T value, const LockOptions& options = {
                                                           .reach = Reach::threads}) {
    Guarded made{Nothing{}};
    if constexpr (Shareable<T>) {
      if (options.reach == Reach::host) {
        PASSEL_TRY(made.block_, detail::SharedBlock::create(sizeof(T)));
        made.value_ = made.at(*made.block_);
        *made.value_ = value;
      }
    } else if (options.reach == Reach::host) {
      return Error{Errc::invalid_argument, "a Guarded of " + detail::type_name<T>() +
                                               " cannot reach other processes: it cannot lie in "
                                               "shared memory"};
    }
    if (!made.value_) made.value_ = std::make_shared<T>(std::move(value));
    PASSEL_TRY(made.lock_, Lock::create(options));
    return made;
  }

  /// Waits for the lock. Errors: as Lock::acquire.
  [[nodiscard]] Result<GuardedRef<T>> acquire() const& { return open(lock_->acquire()); }
  /// Errors: as Lock::acquire_for.
  template <class Rep, class Period>
  [[nodiscard]] Result<GuardedRef<T>> acquire_for(
      std::chrono::duration<Rep, Period> timeout) const& {
    return open(lock_->acquire_for(timeout));
  }
  /// Errors: as Lock::try_acquire.
  [[nodiscard]] Result<GuardedRef<T>> try_acquire() const& { return open(lock_->try_acquire()); }
  /// As Lock::acquire_async; what it gives keeps the lock, and needs a handle for the value.
  [[nodiscard]] Future<GuardedRef<T>> acquire_async() const {
    return lock_->acquire_async().then([value = value_](Guard guard) {
      return GuardedRef<T>{std::move(guard), *value};
    });
  }
  Result<GuardedRef<T>> acquire() const&& = delete;
  Result<GuardedRef<T>> try_acquire() const&& = delete;

  /// What `f(T&)` returns, called with the lock held. Errors: as acquire.
  template <std::invocable<T&> F>
  auto with(F&& f) const -> Result<std::invoke_result_t<F, T&>> {
    PASSEL_TRY(GuardedRef<T> held, acquire());
    if constexpr (std::is_void_v<std::invoke_result_t<F, T&>>) {
      std::invoke(std::forward<F>(f), *held);
      return {};
    } else {
      return std::invoke(std::forward<F>(f), *held);
    }
  }
  /// The lock by itself.
  [[nodiscard]] const Lock& lock() const noexcept { return *lock_; }
  [[nodiscard]] Reach reach() const noexcept { return lock_->reach(); }
  friend bool operator==(const Guarded& a, const Guarded& b) noexcept { return a.lock_ == b.lock_; }

 private:
  friend codec<Guarded<T>>;
  struct Nothing {};
  explicit Guarded(Nothing) noexcept {}
  using Block = std::conditional_t<Shareable<T>, std::optional<detail::SharedBlock>, Nothing>;

  static std::shared_ptr<T> at(const detail::SharedBlock& block) {
    auto keep = std::make_shared<detail::SharedBlock>(block);
    return {keep, reinterpret_cast<T*>(keep->data())};
  }
  Result<GuardedRef<T>> open(Result<Guard> guard) const {
    if (!guard) return std::move(guard).error();
    return GuardedRef<T>{std::move(*guard), *value_};
  }

  std::optional<Lock> lock_;
  std::shared_ptr<T> value_;
  [[no_unique_address]] Block block_;
};

/// A Guarded travels as a handle, to a process that is being started or called.
template <Shareable T>
struct codec<Guarded<T>> {
  static std::string name() { return "Guarded<" + detail::type_name<T>() + ">"; }
  static WireValue encode(const Guarded<T>& guarded) {
    return WireValue::tuple(
        {codec<Lock>::encode(*guarded.lock_),
         guarded.block_ ? guarded.block_->encode("Guarded", detail::type_name<T>()) : WireValue{}});
  }
  static Result<Guarded<T>> decode(const WireValue& value) {
    PASSEL_TRY(const WireValue::Items* parts, detail::parts_of("Guarded", value, 2));
    Guarded<T> made{typename Guarded<T>::Nothing{}};
    PASSEL_TRY(made.lock_, codec<Lock>::decode((*parts)[0]));
    PASSEL_TRY(made.block_, detail::SharedBlock::decode("Guarded", detail::type_name<T>(),
                                                        (*parts)[1], sizeof(T)));
    made.value_ = Guarded<T>::at(*made.block_);
    return made;
  }
};

}  // namespace passel::inline v0
