// Layer transport: Values and Errors as parts of Cap'n Proto messages, for the codec and for
// sessions.
#pragma once

#include <passel/codec.hpp>

#include "wire.capnp.h"

#include <capnp/serialize.h>

#include <span>
#include <vector>

namespace passel::inline v0::detail {

/// Writes `value` into `to`; descriptors and objects of handles go to `beside`. Errors: too_large.
[[nodiscard]] Result<void> write_value(const WireValue& value, wire::Value::Builder to,
                                       Encoded& beside);
/// Throws kj::Exception for what Cap'n Proto finds wrong; Errors: malformed for what it cannot see.
[[nodiscard]] Result<WireValue> read_wire_value(wire::Value::Reader from,
                                                DescriptorSpan descriptors);

void write_wire_error(const Error& error, wire::Error::Builder to);
[[nodiscard]] Error read_wire_error(wire::Error::Reader from);

/// Appends the message, flat, to `out`.
void append_message(capnp::MessageBuilder& message, std::vector<std::byte>& out);

/// Limits for a message of `words`: nothing is looked at more than twice, and values nest as deep
/// as they may.
[[nodiscard]] capnp::ReaderOptions reader_options(std::size_t words);

/// Calls `read(reader)` over the complete flat message in `bytes`, copying it first when it is not
/// aligned. Whatever Cap'n Proto throws becomes Errc::malformed.
template <class Read>
auto with_message(std::span<const std::byte> bytes, Read&& read)
    -> std::invoke_result_t<Read, capnp::FlatArrayMessageReader&> {
  const std::size_t words = bytes.size() / sizeof(capnp::word);
  if (words == 0 || bytes.size() % sizeof(capnp::word) != 0) {
    return Error{Errc::malformed, "a message of " + std::to_string(bytes.size()) +
                                      " bytes is no whole number of words"};
  }
  try {
    kj::Array<capnp::word> copy;
    auto* from = reinterpret_cast<const capnp::word*>(bytes.data());
    if (reinterpret_cast<std::uintptr_t>(bytes.data()) % alignof(std::uint64_t) != 0) {
      copy = kj::heapArray<capnp::word>(words);
      std::memcpy(copy.begin(), bytes.data(), bytes.size());
      from = copy.begin();
    }
    capnp::FlatArrayMessageReader message{kj::arrayPtr(from, words), reader_options(words)};
    return read(message);
  } catch (const kj::Exception& bad) {
    return Error{Errc::malformed,
                 std::string{"unreadable message: "} + bad.getDescription().cStr()};
  }
}

}  // namespace passel::inline v0::detail
