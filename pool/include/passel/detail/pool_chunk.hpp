// Layer pool: many argument lists, or many results, in one message.
#pragma once

#include <passel/codec.hpp>
#include <passel/detail/result_place.hpp>
#include <passel/detail/task.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <span>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>

namespace passel::inline v0::detail {

/// Types whose bytes in a chunk need no length.
template <class T>
inline constexpr bool is_fixed_raw = is_raw<T> && !std::is_class_v<T>;

/// Appends values to a message: numbers as they are, strings and number arrays with a length before
/// them, everything else as encode() has it.
class ChunkWriter {
 public:
  explicit ChunkWriter(Encoded& out) : out_{out} {}

  template <class T>
  [[nodiscard]] Result<void> add(const T& value) {
    if constexpr (is_fixed_raw<T>) {
      raw_write(value, extend(sizeof(T)));
    } else if constexpr (is_raw<T>) {
      put(raw_size(value));
      put_bytes(std::as_bytes(std::span{value.data(), value.size()}));
    } else {
      PASSEL_TRY(const Encoded part, encode(value));
      put(part.bytes.size());
      put(part.descriptors.size());
      put_bytes(part.bytes);
      out_.descriptors.insert(out_.descriptors.end(), part.descriptors.begin(),
                              part.descriptors.end());
      out_.objects.insert(out_.objects.end(), part.objects.begin(), part.objects.end());
    }
    return {};
  }

  /// Writes what there is so far, and this as the last answer, to the place where it is read. False
  /// when that cannot be, and then nothing has changed.
  template <class T>
  [[nodiscard]] bool add_in_place(const T& value, ResultPlace& place) {
    const std::uint64_t size = raw_size(value);
    if (size < ResultPlace::least) return false;
    const std::size_t before = out_.bytes.size();
    std::byte* to = place.reserve(before + 1 + sizeof size + raw_size(value));
    if (to == nullptr) return false;
    if (before != 0) std::memcpy(to, out_.bytes.data(), before);
    to += before;
    *to++ = std::byte{1};
    std::memcpy(to, &size, sizeof size);
    raw_write(value, to + sizeof size);
    out_.bytes.clear();
    return true;
  }

  void put(std::uint64_t number) { std::memcpy(extend(sizeof number), &number, sizeof number); }
  /// Bytes with their length before them.
  void put_block(std::span<const std::byte> bytes) {
    put(bytes.size());
    put_bytes(bytes);
  }
  void put_mark(std::uint8_t mark) { *extend(1) = std::byte{mark}; }
  void put_bytes(std::span<const std::byte> bytes) {
    // Not by `extend`, which would write zeros first.
    out_.bytes.insert(out_.bytes.end(), bytes.begin(), bytes.end());
  }
  void append(Encoded&& part) {
    put_bytes(part.bytes);
    std::move(part.descriptors.begin(), part.descriptors.end(),
              std::back_inserter(out_.descriptors));
    std::move(part.objects.begin(), part.objects.end(), std::back_inserter(out_.objects));
  }
  void put_error(const Error& error) { put_block(encode_error(error).bytes); }

 private:
  std::byte* extend(std::size_t size) {
    const std::size_t at = out_.bytes.size();
    out_.bytes.resize(at + size);
    return out_.bytes.data() + at;
  }

  Encoded& out_;
};

/// Reads what ChunkWriter wrote. Errors: malformed when the message ends early; those of decode.
class ChunkReader {
 public:
  ChunkReader(std::span<const std::byte> bytes, DescriptorSpan descriptors)
      : bytes_{bytes}, descriptors_{descriptors} {}

  template <class T>
  [[nodiscard]] Result<T> read() {
    if constexpr (is_fixed_raw<T>) {
      PASSEL_TRY(const auto bytes, take(sizeof(T)));
      return raw_read<T>(bytes);
    } else if constexpr (is_raw<T>) {
      PASSEL_TRY(const auto bytes, block());
      return raw_read<T>(bytes);
    } else {
      PASSEL_TRY(const std::uint64_t size, number());
      PASSEL_TRY(const std::uint64_t count, number());
      PASSEL_TRY(const auto bytes, take(size));
      if (count > descriptors_.size()) return short_message();
      const auto mine = descriptors_.first(static_cast<std::size_t>(count));
      descriptors_ = descriptors_.subspan(static_cast<std::size_t>(count));
      return decode<T>(bytes, mine);
    }
  }

  [[nodiscard]] Result<std::uint64_t> number() {
    PASSEL_TRY(const auto bytes, take(sizeof(std::uint64_t)));
    std::uint64_t value = 0;
    std::memcpy(&value, bytes.data(), sizeof value);
    return value;
  }
  [[nodiscard]] Result<std::uint8_t> mark() {
    PASSEL_TRY(const auto bytes, take(1));
    return std::to_integer<std::uint8_t>(bytes[0]);
  }
  /// What put_block wrote.
  [[nodiscard]] Result<std::span<const std::byte>> block() {
    PASSEL_TRY(const std::uint64_t size, number());
    return take(size);
  }
  [[nodiscard]] Error error() {
    const auto bytes = block();
    return bytes ? decode_error(*bytes) : bytes.error();
  }
  [[nodiscard]] bool at_end() const noexcept { return at_ == bytes_.size(); }

 private:
  [[nodiscard]] static Error short_message() {
    return {Errc::malformed, "a chunk of tasks or results ends early"};
  }
  [[nodiscard]] Result<std::span<const std::byte>> take(std::uint64_t size) {
    if (size > bytes_.size() - at_) return short_message();
    const auto taken = bytes_.subspan(at_, static_cast<std::size_t>(size));
    at_ += static_cast<std::size_t>(size);
    return taken;
  }

  std::span<const std::byte> bytes_;
  DescriptorSpan descriptors_;
  std::size_t at_ = 0;
};

/// Writes one argument list: the arguments of one call, converted to the types that the task
/// stores. What a user's codec throws is the error.
template <class Stored>
struct ArgumentList;
template <>
struct ArgumentList<std::tuple<>> {
  // A call without arguments must be seen as well.
  static Result<void> write(ChunkWriter& out) {
    out.put_mark(0);
    return {};
  }
  static Result<std::tuple<>> read(ChunkReader& in) {
    PASSEL_CHECK(in.mark());
    return std::tuple<>{};
  }
};
template <class... S>
struct ArgumentList<std::tuple<S...>> {
  template <class... A>
  static Result<void> write(ChunkWriter& out, A&&... args) {
    return write_parts(out, nullptr, std::index_sequence_for<S...>{}, std::forward<A>(args)...);
  }
  /// The same for a caller who keeps the arguments until they have been sent: the bytes of a last
  /// one that is large stay where they are. `tail` then is what belongs behind the message.
  template <class... A>
  static Result<void> write_but_tail(ChunkWriter& out, std::span<const std::byte>& tail,
                                     A&&... args) {
    return write_parts(out, &tail, std::index_sequence_for<S...>{}, std::forward<A>(args)...);
  }
  static Result<std::tuple<S...>> read(ChunkReader& in) {
    try {
      // Braces evaluate from left to right.
      std::tuple<Result<S>...> parts{in.template read<S>()...};
      return std::apply(
          [](auto&... part) -> Result<std::tuple<S...>> {
            const Error* first = nullptr;
            static_cast<void>(((part.is_err() ? (first = &part.error(), false) : true) && ...));
            if (first != nullptr) return *first;
            return std::tuple<S...>{*std::move(part)...};
          },
          parts);
    } catch (...) {
      return current_exception_as_error();
    }
  }

 private:
  using Tail = std::span<const std::byte>;
  static constexpr std::size_t least_tail = std::size_t{64} << 10;

  template <std::size_t... I, class... A>
  static Result<void> write_parts(ChunkWriter& out, Tail* tail, std::index_sequence<I...>,
                                  A&&... args) {
    static_assert(sizeof...(A) == sizeof...(S),
                  "passel: this task is given another number of arguments than it takes");
    static_assert((std::is_convertible_v<A&&, S> && ...),
                  "passel: an item cannot be converted to the argument that the task takes");
    // The user's codec, or the conversion, may throw.
    try {
      Result<void> done;
      static_cast<void>(
          ((done = write_one<S>(out, I + 1 == sizeof...(S) ? tail : nullptr, std::forward<A>(args)))
               .is_ok() &&
           ...));
      return done;
    } catch (...) {
      return current_exception_as_error();
    }
  }
  template <class T, class A>
  static Result<void> write_one(ChunkWriter& out, Tail* tail, A&& argument) {
    if constexpr (std::is_same_v<T, std::remove_cvref_t<A>>) {
      if constexpr (is_raw<T> && !is_fixed_raw<T>) {
        if (tail != nullptr && raw_size(argument) >= least_tail) {
          out.put(raw_size(argument));
          *tail = std::as_bytes(std::span{argument.data(), argument.size()});
          return {};
        }
      }
      return out.add<T>(argument);
    } else {
      return out.add<T>(static_cast<T>(std::forward<A>(argument)));
    }
  }
};

/// The task that runs `Target` for each argument list of a chunk. Each call has an answer of its
/// own; one that fails does not keep the others from running.
template <class Target, class Stored>
struct ChunkTask {
  using One = Task<Target, Stored>;
  using result = typename One::result;
  static_assert(std::is_void_v<result> || Encodable<result>,
                "passel: the result of this task cannot travel to another process: specialise "
                "passel::codec for its "
                "type, or make it an aggregate of types that can");

  static Result<Encoded> run(std::span<const std::byte> bytes, DescriptorSpan descriptors) {
    ChunkReader in{bytes, descriptors};
    Encoded out;
    out.bytes.reserve(64);
    ChunkWriter writer{out};
    while (!in.at_end()) {
      auto args = ArgumentList<Stored>::read(in);
      if (!args) return args.error();
      call(*args, writer, in.at_end() ? ResultPlace::current() : nullptr);
    }
    return out;
  }

  static inline const TaskNode node{&run};
  [[nodiscard]] static TaskId id() {
    // Looked up once: the loader searches its whole table of symbols for it.
    static const TaskId known = id_of_task(node.function);
    return known;
  }

 private:
  static void call(Stored& args, ChunkWriter& out, ResultPlace* place) {
    try {
      if constexpr (std::is_void_v<typename One::returned>) {
        One::call(args);
        out.put_mark(1);
      } else {
        answer(One::call(args), out, place);
      }
    } catch (...) {
      fail(current_exception_as_error(), out);
    }
  }
  template <class T>
  static void answer(T&& value, ChunkWriter& out, ResultPlace* place) {
    if constexpr (is_result<std::remove_cvref_t<T>>) {
      if (!value) return fail(value.error(), out);
      if constexpr (std::is_void_v<result>) {
        out.put_mark(1);
      } else {
        add<result>(*value, out, place);
      }
    } else {
      add<result>(value, out, place);
    }
  }
  template <class T>
  static void add(const T& value, ChunkWriter& out, ResultPlace* place) {
    if constexpr (is_raw<T>) {
      if constexpr (!is_fixed_raw<T>) {
        if (place != nullptr && out.add_in_place(value, *place)) return;
      }
      out.put_mark(1);
      static_cast<void>(out.add<T>(value));
    } else {
      // Encoded aside: a value that cannot be encoded is an error and leaves nothing half written.
      Encoded aside;
      ChunkWriter writer{aside};
      if (const auto added = writer.template add<T>(value); !added) return fail(added.error(), out);
      out.put_mark(1);
      out.append(std::move(aside));
    }
  }
  static void fail(const Error& error, ChunkWriter& out) {
    out.put_mark(0);
    out.put_error(error);
  }
};

/// Reads the next answer of a chunk.
template <class R>
[[nodiscard]] Result<R> read_answer(ChunkReader& in) {
  const auto mark = in.mark();
  if (!mark) return mark.error();
  if (*mark == 0) return in.error();
  if constexpr (std::is_void_v<R>) {
    return {};
  } else {
    try {
      return in.template read<R>();
    } catch (...) {
      return current_exception_as_error();
    }
  }
}

}  // namespace passel::inline v0::detail
