// Layer sync: what hosted containers have in common: keys, and the items of another container.
#pragma once

#include <passel/detail/hosted_methods.hpp>
#include <passel/wire_value.hpp>

#include <utility>
#include <vector>

namespace passel::inline v0::detail {

/// "a list cannot be a key: [1]"
[[nodiscard]] Error unhashable(const WireValue& key);

/// What stands for a number of items: a list, a tuple, a set, the keys of a dictionary, or a proxy
/// of one of these in the same server that the caller may copy. Errors: refused, type_mismatch for
/// anything else.
[[nodiscard]] Result<std::vector<WireValue>> items_of(const HostedCall& call,
                                                      const WireValue& value);

/// A method of a container that takes the items of another one.
template <auto F, class Object>
void with_items(Object& object, HostedCall&& call) {
  const auto args = call.arguments<WireValue>();
  if (!args) return call.reply.set(args.error());
  auto items = items_of(call, std::get<0>(*args));
  if (!items) return call.reply.set(items.error());
  call.reply.value((object.*F)(*std::move(items)));
}

}  // namespace passel::inline v0::detail
