// Layer transport: the self-describing value, the one data model of everything that crosses a
// process border.
#pragma once

#include <passel/detail/descriptor.hpp>
#include <passel/detail/shared_object.hpp>
#include <passel/export.hpp>

#include <compare>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace passel::inline v0 {

class WireValue;

/// An integer that fits in neither int64 nor uint64 (Python's int has no limit). Kept and compared
/// exactly; printed exactly up to 256 bytes, as its size beyond.
struct BigInt {
  bool negative = false;
  std::vector<std::uint8_t> magnitude;  ///< least significant byte first, the last byte is not 0

  friend bool operator==(const BigInt&, const BigInt&) = default;
};

/// The type of the elements of a NumberArray. The numbers are part of the wire format.
enum class NumberType : std::uint8_t { i8 = 1, u8, i16, u16, i32, u32, i64, u64, f32, f64 };

/// "i32", "f64", ...
[[nodiscard]] PASSEL_API std::string_view to_string(NumberType type) noexcept;
/// Bytes of one element; 0 for a number that names no type.
[[nodiscard]] PASSEL_API std::size_t size_of(NumberType type) noexcept;

/// Numbers of one type, contiguous, in the byte order of this machine (Python: `array.array`, a
/// numpy vector).
struct PASSEL_API NumberArray {
  NumberType type = NumberType::u8;
  std::vector<std::byte> data;

  [[nodiscard]] std::size_t size() const noexcept { return data.size() / size_of(type); }
  /// Element `index`, which must be below size(), as an int or a float.
  [[nodiscard]] WireValue at(std::size_t index) const;

  friend bool operator==(const NumberArray&, const NumberArray&) = default;
};

/// The name of an object that lives somewhere else or in shared memory: a Queue, a Lock, an actor,
/// a Future.
struct Handle {
  std::string kind;      ///< "Queue", "Lock": what people call it, used in errors
  std::string type;      ///< type of its items, by detail::type_name, empty when it has none
  std::uint64_t id = 0;  ///< which one, meaningful to the code of that kind alone
  std::shared_ptr<detail::Descriptor>
      descriptor;  ///< travels beside the bytes; null when it needs none
  std::shared_ptr<detail::SharedObject>
      object;  ///< at the sender only, for the ledger of what a child holds

  friend bool operator==(const Handle& a, const Handle& b) noexcept {
    return a.id == b.id && a.kind == b.kind && a.type == b.type;
  }
};

/// An object of another language or library that nothing here understands. Kept as it came and
/// handed on unchanged.
struct Foreign {
  std::string format;  ///< how `data` is written, e.g. "pickle"
  std::string type;    ///< what it is called at home, e.g. "decimal.Decimal"
  std::vector<std::byte> data;

  friend bool operator==(const Foreign&, const Foreign&) = default;
};

/// What a WireValue is.
enum class ValueKind : std::uint8_t {
  none,
  boolean,
  integer,
  floating,
  text,
  bytes,
  list,
  tuple,
  set,
  map,
  numbers,
  handle,
  foreign
};

/// The kind's name as errors show it: "None", "bool", "int", "float", "str", "bytes", "list",
/// "tuple", "set", "dict", "array", "handle", "foreign object" (Python's names).
[[nodiscard]] PASSEL_API std::string_view to_string(ValueKind kind) noexcept;

/// One value that knows its own type: what a C++ type becomes on the wire (by `passel::codec<T>`),
/// what hosted objects hold, and what a program of another build or language reads.
///
///     WireValue v = WireValue::list({42, nullptr, "hello"});
///     v.to_string();                       // [42, None, 'hello']
///     v.items()->at(0).as_int64();         // 42
///
/// | kind     | made from                                   | read by                          |
/// | -------- | ------------------------------------------- | -------------------------------- |
/// | none     | `WireValue{}`, `WireValue{nullptr}`         | `is_none`                        |
/// | boolean  | `bool`                                      | `as_bool`                        |
/// | integer  | any integer type, `BigInt`                  | `as_int64`, `as_uint64`, `as_big`|
/// | floating | `float`, `double`                           | `as_double`                      |
/// | text     | `std::string`, `const char*`, string_view   | `as_text`                        |
/// | bytes    | `std::vector<std::byte>`                    | `as_bytes`                       |
/// | list, tuple, set | `WireValue::list/tuple/set` | `items`                          |
/// | map      | `WireValue::map`                            | `entries`, `find`                |
/// | numbers  | `NumberArray`                               | `numbers`                        |
/// | handle, foreign | `Handle`, `Foreign`                  | `handle`, `foreign`              |
///
/// A plain value type: copies are deep (handles share their descriptor), one thread at a time.
/// Equality is by kind and content, without regard to the order of a set or a map; unlike Python
/// 1, 1.0 and True differ, and NaN equals NaN. Text is UTF-8: what is not arrives as bytes.
class PASSEL_API WireValue {
 public:
  using Bytes = std::vector<std::byte>;
  using Items = std::vector<WireValue>;
  using Entries = std::vector<std::pair<WireValue, WireValue>>;

  WireValue() noexcept = default;
  WireValue(std::nullptr_t) noexcept {}
  template <std::same_as<bool> T>
  WireValue(T flag) noexcept : state_{std::in_place_type<bool>, flag} {}
  template <std::integral T>
  requires(!std::same_as<T, bool>) WireValue(T number)
  noexcept {
    if (std::in_range<std::int64_t>(to_plain(number))) {
      state_.emplace<std::int64_t>(static_cast<std::int64_t>(number));
    } else {
      state_.emplace<std::uint64_t>(static_cast<std::uint64_t>(number));
    }
  }
  WireValue(float number) noexcept : state_{std::in_place_type<double>, number} {}
  WireValue(double number) noexcept : state_{std::in_place_type<double>, number} {}
  /// Becomes an ordinary integer when it fits in 64 bits after all.
  WireValue(BigInt number);
  WireValue(const char* text) : state_{std::in_place_type<std::string>, text} {}
  WireValue(std::string_view text) : state_{std::in_place_type<std::string>, text} {}
  WireValue(std::string text) noexcept : state_{std::in_place_type<std::string>, std::move(text)} {}
  WireValue(Bytes bytes) noexcept : state_{std::in_place_type<Bytes>, std::move(bytes)} {}
  WireValue(NumberArray numbers) noexcept
      : state_{std::in_place_type<NumberArray>, std::move(numbers)} {}
  WireValue(Handle handle) : state_{std::make_shared<const Handle>(std::move(handle))} {}
  WireValue(Foreign foreign) : state_{std::make_shared<const Foreign>(std::move(foreign))} {}

  [[nodiscard]] static WireValue list(Items items) {
    return WireValue{State{List{std::move(items)}}};
  }
  [[nodiscard]] static WireValue tuple(Items items) {
    return WireValue{State{Tuple{std::move(items)}}};
  }
  /// The items of a set are taken as they are: the caller sees to it that none comes twice.
  [[nodiscard]] static WireValue set(Items items) {
    return WireValue{State{Set{std::move(items)}}};
  }
  /// The same holds for the keys of a map.
  [[nodiscard]] static WireValue map(Entries entries) {
    return WireValue{State{std::move(entries)}};
  }

  [[nodiscard]] ValueKind kind() const noexcept;
  [[nodiscard]] bool is_none() const noexcept { return state_.index() == 0; }

  [[nodiscard]] std::optional<bool> as_bool() const noexcept;
  /// The integer when it fits; nothing for other kinds and for integers outside of the type.
  [[nodiscard]] std::optional<std::int64_t> as_int64() const noexcept;
  [[nodiscard]] std::optional<std::uint64_t> as_uint64() const noexcept;
  /// Only integers outside of both int64 and uint64.
  [[nodiscard]] const BigInt* as_big() const noexcept { return std::get_if<BigInt>(&state_); }
  [[nodiscard]] std::optional<double> as_double() const noexcept;
  [[nodiscard]] const std::string* as_text() const noexcept {
    return std::get_if<std::string>(&state_);
  }
  [[nodiscard]] const Bytes* as_bytes() const noexcept { return std::get_if<Bytes>(&state_); }
  /// Of a list, a tuple or a set; nullptr for everything else.
  [[nodiscard]] const Items* items() const noexcept;
  [[nodiscard]] const Entries* entries() const noexcept { return std::get_if<Entries>(&state_); }
  /// The value under `key` in a map, or nullptr. Looks at one entry after the other.
  [[nodiscard]] const WireValue* find(const WireValue& key) const noexcept;
  [[nodiscard]] const NumberArray* numbers() const noexcept {
    return std::get_if<NumberArray>(&state_);
  }
  [[nodiscard]] const Handle* handle() const noexcept;
  [[nodiscard]] const Foreign* foreign() const noexcept;

  /// True when Python could use it as a key: no list, set, map or array in it.
  [[nodiscard]] bool is_hashable() const noexcept;
  /// Equal values have equal hashes.
  [[nodiscard]] std::size_t hash() const noexcept;
  /// As Python's repr would write it: `[42, None, 'hello']`, `{1: '1'}`, `(1,)`, `b'\x00'`.
  [[nodiscard]] std::string to_string() const;
  /// An order over all values, by kind and then by content, so that they can be sorted and be keys
  /// of std::map.
  [[nodiscard]] std::weak_ordering compare(const WireValue& other) const;

  friend bool operator==(const WireValue& a, const WireValue& b) { return a.compare(b) == 0; }
  friend std::weak_ordering operator<=>(const WireValue& a, const WireValue& b) {
    return a.compare(b);
  }

 private:
  struct List {
    Items items;
  };
  struct Tuple {
    Items items;
  };
  struct Set {
    Items items;
  };
  using State = std::variant<std::monostate, bool, std::int64_t, std::uint64_t, BigInt, double,
                             std::string, Bytes, List, Tuple, Set, Entries, NumberArray,
                             std::shared_ptr<const Handle>, std::shared_ptr<const Foreign>>;

  explicit WireValue(State state) noexcept : state_{std::move(state)} {}
  // Character types are integers here, but std::in_range does not take them.
  template <class T>
  static constexpr auto to_plain(T number) noexcept {
    if constexpr (std::is_signed_v<T>) {
      return static_cast<std::int64_t>(number);
    } else {
      return static_cast<std::uint64_t>(number);
    }
  }

  State state_;
};

}  // namespace passel::inline v0

template <>
struct std::hash<passel::WireValue> {
  std::size_t operator()(const passel::WireValue& value) const noexcept { return value.hash(); }
};
