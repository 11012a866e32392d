// Layer transport: how C++ values become bytes that another process can read, and back.
#pragma once

#include <passel/detail/codec_composite.hpp>
#include <passel/detail/codec_containers.hpp>
#include <passel/detail/codec_core.hpp>
#include <passel/detail/codec_scalar.hpp>
#include <passel/detail/descriptor.hpp>
#include <passel/detail/raw.hpp>
#include <passel/detail/shared_object.hpp>
#include <passel/detail/type_name.hpp>
#include <passel/result.hpp>
#include <passel/wire_value.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <tuple>
#include <utility>
#include <vector>

// What there is for users: passel::codec<T>, passel::Encodable, passel::to_value,
// passel::from_value (codec_core.hpp).

namespace passel::inline v0::detail {

/// Encoded bytes and what has to travel beside them. The descriptors are shared with the values
/// they came from.
struct Encoded {
  std::vector<std::byte> bytes;
  std::vector<std::shared_ptr<Descriptor>> descriptors;
  std::vector<std::shared_ptr<SharedObject>>
      objects;  ///< for the ledger of whoever sends them to a child
};

using DescriptorSpan = std::span<const std::shared_ptr<Descriptor>>;

// Encoded bytes begin with eight of these: form, shape, number type, zeros.
inline constexpr std::size_t encoded_header_size = 8;
enum class EncodedForm : std::uint8_t { raw = 1, value, pack, error };

/// Lists inside lists may go this deep, in both directions.
inline constexpr int max_value_depth = 100;

/// Errors: too_large, when lists are nested deeper than max_value_depth.
[[nodiscard]] PASSEL_API Result<Encoded> encode_value(const WireValue& value);
/// What encode_value needs at least, in bytes: whoever is over a limit with it need not encode.
[[nodiscard]] PASSEL_API std::size_t least_encoded_size(const WireValue& value) noexcept;
/// Reads what encode_value or encode<T> wrote, whoever wrote it: time and memory are bounded by the
/// size of `bytes`. Errors: malformed.
[[nodiscard]] PASSEL_API Result<WireValue> decode_value(std::span<const std::byte> bytes,
                                                        DescriptorSpan descriptors = {});

[[nodiscard]] PASSEL_API Encoded encode_error(const Error& error);
/// The error in the bytes, with its WorkerLost or RemoteError; or the error `malformed`, when there
/// is none in them.
[[nodiscard]] PASSEL_API Error decode_error(std::span<const std::byte> bytes);

/// What stands before raw bytes of this kind.
PASSEL_API void write_raw_header(RawTag tag, std::byte* to) noexcept;
/// A buffer with a header for raw bytes of this kind and room for `size` of them.
[[nodiscard]] PASSEL_API Encoded start_raw(RawTag tag, std::size_t size);
/// The raw bytes behind the header when they are exactly of this kind; an empty optional otherwise.
[[nodiscard]] PASSEL_API std::optional<std::span<const std::byte>> raw_bytes(
    std::span<const std::byte> bytes, RawTag tag) noexcept;

/// One value for another process. Errors: too_large (nested too deep).
template <class T>
[[nodiscard]] Result<Encoded> encode(const T& value) {
  if constexpr (is_raw<T>) {
    Encoded out = start_raw(raw_tag<T>(), raw_size(value));
    raw_write(value, out.bytes.data() + encoded_header_size);
    return out;
  } else {
    return encode_value(to_value(value));
  }
}

/// The value, when the bytes hold one that can be a T. Errors: malformed, type_mismatch.
template <class T>
[[nodiscard]] Result<T> decode(std::span<const std::byte> bytes, DescriptorSpan descriptors = {}) {
  if constexpr (is_raw<T>) {
    if (const auto raw = raw_bytes(bytes, raw_tag<T>())) return raw_read<T>(*raw);
  }
  PASSEL_TRY(const WireValue value, decode_value(bytes, descriptors));
  return from_value<T>(value);
}

/// Several encoded values one behind the other.
class PASSEL_API PackWriter {
 public:
  /// Of `count` values that will need about `size` bytes.
  explicit PackWriter(std::size_t count, std::size_t size = 0);
  /// Errors: too_large, when one value has 4 GiB or more.
  [[nodiscard]] Result<void> add(Result<Encoded> part);
  /// The same for `encode_value(value)`.
  [[nodiscard]] Result<void> add(const WireValue& value);
  /// The same for `encode(value)`, written in its place at once.
  template <class T>
  requires is_raw<T>
  [[nodiscard]] Result<void> add_raw(const T& value) {
    PASSEL_TRY(std::byte* const to, start_raw_part(raw_tag<T>(), raw_size(value)));
    raw_write(value, to);
    return {};
  }
  [[nodiscard]] Encoded take() && { return std::move(out_); }

 private:
  Result<std::byte*> start_part(std::size_t size, std::size_t descriptors);
  Result<std::byte*> start_raw_part(RawTag tag, std::size_t size);

  Encoded out_;
};

class PASSEL_API PackReader {
 public:
  PackReader(std::span<const std::byte> bytes, DescriptorSpan descriptors)
      : bytes_{bytes}, descriptors_{descriptors} {}
  /// Errors: malformed; type_mismatch when there are not `count` values ("expected 2 arguments,
  /// found 3").
  [[nodiscard]] Result<void> open(std::size_t count);
  struct Part {
    std::span<const std::byte> bytes;
    DescriptorSpan descriptors;
  };
  [[nodiscard]] Result<Part> next();

 private:
  std::span<const std::byte> bytes_;
  DescriptorSpan descriptors_;
  std::size_t at_ = 0;
};

/// As good as it can be known without a look into everything.
template <class T>
[[nodiscard]] std::size_t packed_size(const T& value) noexcept {
  constexpr std::size_t headers = 32;
  if constexpr (is_raw<T>) return headers + raw_size(value);
  if constexpr (std::is_same_v<T, WireValue>) {
    if (const auto* text = value.as_text()) return headers + text->size();
    if (const auto* bytes = value.as_bytes()) return headers + bytes->size();
  }
  return 2 * headers;
}

template <class T>
[[nodiscard]] Result<void> add_part(PackWriter& pack, const T& value) {
  if constexpr (is_raw<T>) {
    return pack.add_raw(value);
  } else if constexpr (std::is_same_v<T, WireValue>) {
    return pack.add(value);
  } else {
    return pack.add(encode(value));
  }
}

/// The argument list of a task.
template <class... A>
[[nodiscard]] Result<Encoded> encode_pack(const A&... arguments) {
  PackWriter pack{sizeof...(A), (packed_size(arguments) + ... + encoded_header_size)};
  Result<void> done;
  static_cast<void>(((done = add_part(pack, arguments)).is_ok() && ...));
  if (!done) return done.error();
  return std::move(pack).take();
}

template <class T>
[[nodiscard]] Result<T> decode_part(PackReader& pack, std::size_t index) {
  PASSEL_TRY(const PackReader::Part part, pack.next());
  auto read = decode<T>(part.bytes, part.descriptors);
  if (!read) {
    return Error{read.error().code(),
                 "argument " + std::to_string(index + 1) + ": " + read.error().what()};
  }
  return read;
}

/// The arguments, when the bytes hold exactly these. Errors: malformed, type_mismatch ("argument 2:
/// expected ...").
template <class... A>
[[nodiscard]] Result<std::tuple<A...>> decode_pack(std::span<const std::byte> bytes,
                                                   DescriptorSpan descriptors = {}) {
  PackReader pack{bytes, descriptors};
  PASSEL_CHECK(pack.open(sizeof...(A)));
  // Braces evaluate from left to right.
  auto read = [&pack]<std::size_t... I>(std::index_sequence<I...>) {
    return std::tuple<Result<A>...>{decode_part<A>(pack, I)...};
  }
  (std::index_sequence_for<A...>{});
  return std::apply(
      [](auto&... one) -> Result<std::tuple<A...>> {
        const Error* failed = nullptr;
        static_cast<void>(((one.is_ok() || (failed = &one.error(), false)) && ...));
        if (failed != nullptr) return *failed;
        return std::tuple<A...>{*std::move(one)...};
      },
      read);
}

}  // namespace passel::inline v0::detail
