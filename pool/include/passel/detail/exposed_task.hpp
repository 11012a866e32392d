// Layer pool: tasks that other programs may ask for by name: what they take and give, and how they
// run.
#pragma once

#include <passel/detail/pool_chunk.hpp>
#include <passel/expose.hpp>
#include <passel/result.hpp>

#include <chrono>
#include <concepts>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <ranges>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

namespace passel::inline v0::detail {

/// A task by the name that it has in any program, with its types in words that mean the same in any
/// program: "int", "str", "list[float]"; "object" for those that only the codec knows.
struct TaskSign {
  std::string name;
  std::vector<std::string> takes;
  std::string gives;

  /// "fetch(str, int) -> object"
  [[nodiscard]] std::string to_string() const {
    std::string out = name + "(";
    for (std::size_t i = 0; i < takes.size(); ++i) out += (i == 0 ? "" : ", ") + takes[i];
    return out + ") -> " + gives;
  }
};

/// Whether a caller who thinks of the task as `asked` can have the one that is `offered`.
[[nodiscard]] PASSEL_API bool is_compatible(const TaskSign& asked, const TaskSign& offered);

template <class T>
inline constexpr bool is_text =
    std::is_same_v<T, std::string> || std::is_same_v<T, std::filesystem::path>;
template <class T>
inline constexpr bool is_optional_type = false;
template <class T>
inline constexpr bool is_optional_type<std::optional<T>> = true;

/// What a value is called on the wire.
template <class T>
[[nodiscard]] std::string wire_name() {
  if constexpr (std::is_void_v<T>) {
    return "none";
  } else if constexpr (std::is_same_v<T, bool>) {
    return "bool";
  } else if constexpr (std::is_integral_v<T> || std::is_enum_v<T>) {
    return "int";
  } else if constexpr (std::is_floating_point_v<T>) {
    return "float";
  } else if constexpr (is_text<T>) {
    return "str";
  } else if constexpr (is_optional_type<T>) {
    return wire_name<typename T::value_type>() + "?";
  } else if constexpr (requires { typename T::mapped_type; }) {
    return "map[" + wire_name<typename T::key_type>() + ", " +
           wire_name<typename T::mapped_type>() + "]";
  } else if constexpr (std::is_same_v<T, std::vector<std::byte>>) {
    return "bytes";
  } else if constexpr (std::ranges::range<T> && requires(T & to) { to.push_back(*to.begin()); }) {
    return "list[" + wire_name<std::ranges::range_value_t<T>>() + "]";
  } else {
    return "object";
  }
}

/// The task that runs `Target` for each argument list of a chunk that came from another program:
/// every list says what it holds, so that a wrong one is found and told.
template <class Target, class Stored>
struct ExposedChunk;
template <class Target, class... Stored>
struct ExposedChunk<Target, std::tuple<Stored...>> {
  using One = Task<Target, std::tuple<Stored...>>;
  using result = typename One::result;

  static Result<Encoded> run(std::span<const std::byte> bytes, DescriptorSpan) {
    ChunkReader in{bytes, {}};
    Encoded out;
    ChunkWriter writer{out};
    while (!in.at_end()) {
      PASSEL_TRY(const auto args, in.block());
      const Result<Encoded> answer = call(args);
      writer.put_mark(answer.is_ok() ? 1 : 0);
      if (answer) {
        writer.put_block(answer->bytes);
      } else {
        writer.put_error(answer.error());
      }
    }
    return out;
  }

  static inline const TaskNode node{&run};
  [[nodiscard]] static TaskId id() {
    static const TaskId known = id_of_task(node.function);
    return known;
  }
  [[nodiscard]] static TaskSign sign(std::string_view name) {
    return {std::string{name}, {wire_name<Stored>()...}, wire_name<result>()};
  }

 private:
  static Result<Encoded> call(std::span<const std::byte> bytes) {
    try {
      auto args = decode_pack<Stored...>(bytes);
      if (!args) return args.error();
      auto answer = One::run_with(*args);
      if (answer && !answer->descriptors.empty())
        return Error{Errc::unsupported,
                     "the result holds something of this host, such as a queue in shared memory, "
                     "that no other host can have"};
      return answer;
    } catch (...) {
      return current_exception_as_error();
    }
  }
};

/// Reads the next answer of such a chunk.
template <class R>
[[nodiscard]] Result<R> read_exposed_answer(ChunkReader& in) {
  const auto mark = in.mark();
  if (!mark) return mark.error();
  if (*mark == 0) return in.error();
  const auto bytes = in.block();
  if (!bytes) return bytes.error();
  if constexpr (std::is_void_v<R>) {
    return {};
  } else {
    try {
      return decode<R>(*bytes);
    } catch (...) {
      return current_exception_as_error();
    }
  }
}

/// Appends the arguments of one call. Errors: unsupported when something in them cannot leave this
/// host.
template <class Stored, class... A>
[[nodiscard]] Result<void> write_exposed_call(ChunkWriter& out, A&&... args) {
  try {
    PASSEL_TRY(const Encoded pack, encode_arguments<Stored>(std::forward<A>(args)...));
    if (!pack.descriptors.empty())
      return Error{Errc::unsupported,
                   "an argument is something of this host, such as a queue in shared memory, that "
                   "no other host can have; a manager's proxy can"};
    out.put_block(pack.bytes);
    return {};
  } catch (...) {
    return current_exception_as_error();
  }
}

template <class Target>
inline constexpr bool is_function_target = false;
template <auto F>
inline constexpr bool is_function_target<FunctionTarget<F>> = true;

/// One exposed thing: `&fetch`, or `passel::exposed<"fetch", &fetch_page>`.
template <auto Spec>
struct ExposedFunction {
  static constexpr auto function = Spec;
  static constexpr std::string_view name() {
    constexpr std::string_view found = name_of_method<Spec>();
    static_assert(!found.empty(),
                  "passel: the name of this function is not known: passel::exposed<\"name\", &f>");
    return found;
  }
};
template <class>
struct ExposedAs;
template <MethodName Name, auto F>
struct ExposedAs<ExposedMethod<Name, F>> {
  static constexpr auto function = F;
  static constexpr std::string_view text = Name.view();
  static constexpr std::string_view name() { return text; }
};
template <auto Spec>
requires requires { ExposedAs<std::remove_cv_t<decltype(Spec)>>::name(); }
struct ExposedFunction<Spec> : ExposedAs<std::remove_cv_t<decltype(Spec)>> {};

/// A call of one exposed thing, as whoever makes it needs it.
template <auto Spec>
struct ExposedCallOf {
  using Target = FunctionTarget<ExposedFunction<Spec>::function>;
  using arguments = task_arguments<Target>;
  using result = typename Task<Target, arguments>::result;
  static constexpr std::string_view name() { return ExposedFunction<Spec>::name(); }
};

/// Takes up to `size` items out of a map's input: the bytes of the chunk, and how many there are.
template <class Stored, class Input>
[[nodiscard]] Result<std::pair<std::vector<std::byte>, std::size_t>> write_exposed_chunk(
    Input& input, std::size_t size) {
  Encoded encoded;
  ChunkWriter writer{encoded};
  std::size_t items = 0;
  for (; items < size && !input.at_end(); ++items)
    PASSEL_CHECK(input.take([&]<class... Item>(Item&&... each) {
      return write_exposed_call<Stored>(writer, std::forward<Item>(each)...);
    }));
  return std::pair{std::move(encoded.bytes), items};
}
template <class R>
[[nodiscard]] std::vector<Result<R>> read_exposed_answers(ChunkReader& in, std::size_t count) {
  std::vector<Result<R>> all;
  all.reserve(count);
  for (std::size_t i = 0; i < count; ++i) all.push_back(read_exposed_answer<R>(in));
  return all;
}

}  // namespace passel::inline v0::detail
