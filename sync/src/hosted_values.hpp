// Layer sync: what hosted containers have in common: their text, keys, and the items of another
// container.
#pragma once

#include <passel/detail/hosted_methods.hpp>
#include <passel/wire_value.hpp>

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
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

/// The text of a container, item by item, of which nobody wants more than so many bytes.
class TextOfItems {
 public:
  TextOfItems(std::string start, std::size_t most) : text_{std::move(start)}, most_{most} {}
  /// False when there is no room for it, and there will be none.
  bool add(std::string_view before, const WireValue& item);
  /// All of it, or its beginning and "...".
  [[nodiscard]] std::string end(std::string_view behind) &&;

 private:
  std::string text_;
  std::size_t most_;
  bool cut_ = false;
};

/// "[1, 2]"
template <class Items>
[[nodiscard]] std::string text_of_items(std::string start, const Items& items,
                                        std::string_view behind, std::size_t most) {
  TextOfItems text{std::move(start), most};
  const char* before = "";
  for (const WireValue& item : items)
    if (!text.add(std::exchange(before, ", "), item)) break;
  return std::move(text).end(behind);
}

/// Base of the containers, whose text may be long: what is over `most` bytes need not be made of
/// it. `Object` has a function `text_up_to`.
template <class Object>
class HostedContainer : public HostedBuiltin<Object> {
 public:
  [[nodiscard]] std::string text() const final { return self().text_up_to(most_answer_bytes); }
  [[nodiscard]] std::optional<std::string> text_at_once() const final {
    constexpr std::size_t line = 100;
    return self().text_up_to(line);
  }

 private:
  [[nodiscard]] const Object& self() const { return static_cast<const Object&>(*this); }
};

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
