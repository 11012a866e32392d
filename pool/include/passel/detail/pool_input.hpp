// Layer pool: how ranges become tasks.
#pragma once

#include <passel/detail/pool_jobs.hpp>

#include <functional>
#include <iterator>
#include <memory>
#include <tuple>
#include <type_traits>
#include <utility>

namespace passel::inline v0::detail {

template <class First, class... A>
inline constexpr bool first_is = false;
template <class First, class A, class... Rest>
inline constexpr bool first_is<First, A, Rest...> = std::is_same_v<First, std::remove_cvref_t<A>>;

/// A lambda as a target, or the message that says what to do instead.
template <class L>
struct CheckedTask {
  static_assert(StatelessCallable<L>,
                "passel: a lambda with captures cannot travel to another process: pass what it "
                "captures as arguments, "
                "or use a function");
  using type = L;
};
template <class L>
using checked_task = typename CheckedTask<L>::type;

template <class Range>
using item_type =
    std::remove_cvref_t<decltype(*std::begin(std::declval<std::remove_reference_t<Range>&>()))>;

/// The task behind a map of `Target` over items of type `Item`; with `star`, an item is a tuple of
/// arguments.
template <class Target, bool star, class Item>
struct MapShape {
  using Stored = task_arguments<Target, Item>;
  using Chunk = ChunkTask<Target, Stored>;
  using result = typename Chunk::result;
  template <class T>
  static Result<void> add(ChunkedArguments& args, T&& item) {
    return args.template add<Stored>(std::forward<T>(item));
  }
};
template <class Target, class... S>
struct MapShape<Target, true, std::tuple<S...>> {
  using Stored = task_arguments<Target, S...>;
  using Chunk = ChunkTask<Target, Stored>;
  using result = typename Chunk::result;
  template <class T>
  static Result<void> add(ChunkedArguments& args, T&& item) {
    return std::apply([&](auto&&... part) { return args.template add<Stored>(part...); }, item);
  }
};
template <class Target, class S1, class S2>
struct MapShape<Target, true, std::pair<S1, S2>> : MapShape<Target, true, std::tuple<S1, S2>> {};

/// Python's rule for map: four chunks for each worker.
inline std::size_t default_chunk_size(std::size_t length, unsigned processes) {
  const std::size_t parts = std::size_t{4} * processes;
  return std::max<std::size_t>((length + parts - 1) / parts, 1);
}

/// All items of a range, encoded in chunks of `asked` items, or of the default size for its length.
template <class Shape, class Range>
Result<ChunkedArguments> encode_range(Range& range, std::size_t asked, unsigned processes) {
  std::size_t chunk = std::max<std::size_t>(asked, 1);
  constexpr bool sized = requires { std::size(range); };
  if constexpr (sized) {
    if (asked == 0)
      chunk = default_chunk_size(static_cast<std::size_t>(std::size(range)), processes);
  }
  ChunkedArguments args{chunk};
  for (auto&& item : range) {
    PASSEL_CHECK(Shape::add(args, item));
    if constexpr (sized) {
      if (args.items() == 1) args.expect(static_cast<std::size_t>(std::size(range)));
    }
  }
  args.end();
  // A range that does not know its length is cut when it is known.
  if (!sized && asked == 0) args.regroup(default_chunk_size(args.items(), processes));
  return args;
}

/// Reads a range item by item: an rvalue is kept, an lvalue is used in place. An exception of the
/// range ends it as an error.
template <class Shape, class Range>
std::function<Result<bool>(ChunkedArguments&)> item_source(Range&& range) {
  using Kept =
      std::conditional_t<std::is_lvalue_reference_v<Range>, Range, std::remove_cvref_t<Range>>;
  struct State {
    explicit State(Range&& source) : kept{std::forward<Range>(source)} {}
    Kept kept;
    decltype(std::begin(kept)) at = std::begin(kept);
    decltype(std::end(kept)) end = std::end(kept);
  };
  // Shared because std::function wants to be copied; it never is.
  return [state = std::make_shared<State>(std::forward<Range>(range))](
             ChunkedArguments& out) -> Result<bool> {
    try {
      if (state->at == state->end) return false;
      PASSEL_CHECK(Shape::add(out, *state->at));
      ++state->at;
      return true;
    } catch (...) {
      return current_exception_as_error();
    }
  };
}

}  // namespace passel::inline v0::detail
