// Layer sync: keys and items of hosted containers.
#include "hosted_values.hpp"

#include <passel/detail/brief_text.hpp>
#include <passel/detail/hosted_type.hpp>

#include <memory>
#include <string>

namespace passel::inline v0::detail {

bool TextOfItems::add(std::string_view before, const WireValue& item) {
  cut_ = text_.size() >= most_;
  if (!cut_) (text_ += before) += text_within(item, most_ - text_.size());
  return !cut_;
}

std::string TextOfItems::end(std::string_view behind) && {
  return std::move(text_ += cut_ ? ", ..." : behind);
}

Error unhashable(const WireValue& key) {
  return {Errc::type_mismatch,
          "a " + std::string{to_string(key.kind())} + " cannot be a key: " + brief_text(key)};
}

Result<std::vector<WireValue>> items_of(const HostedCall& call, const WireValue& value) {
  if (const auto* const items = value.items()) return *items;
  if (const auto* const entries = value.entries()) {
    std::vector<WireValue> keys;
    for (const auto& [key, held] : *entries) keys.push_back(key);
    return keys;
  }
  if (value.kind() == ValueKind::handle) {
    const auto object = call.site->object_of(value, call.caller.session, {"#copy"});
    if (!object && object.error() == Errc::refused) return object.error();
    // Users' objects are looked at on their own threads.
    if (object && dynamic_cast<const LinedObject*>(object->get()) == nullptr) {
      const auto copy = (*object)->copy();
      if (copy && copy->kind() != ValueKind::handle) return items_of(call, *copy);
    }
  }
  return Error{Errc::type_mismatch, "not a container: " + brief_text(value)};
}

}  // namespace passel::inline v0::detail
