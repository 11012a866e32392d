// Layer sync: keys and items of hosted containers.
#include "hosted_values.hpp"

#include <passel/detail/hosted_type.hpp>

#include <memory>
#include <string>

namespace passel::inline v0::detail {

Error unhashable(const WireValue& key) {
  return {Errc::type_mismatch,
          "a " + std::string{to_string(key.kind())} + " cannot be a key: " + key.to_string()};
}

Result<std::vector<WireValue>> items_of(const HostedSite& site, const WireValue& value) {
  if (const auto* const items = value.items()) return *items;
  if (const auto* const entries = value.entries()) {
    std::vector<WireValue> keys;
    for (const auto& [key, held] : *entries) keys.push_back(key);
    return keys;
  }
  const auto object = site.object_of(value);
  // Users' objects are looked at on their own threads.
  if (object != nullptr && dynamic_cast<const LinedObject*>(object.get()) == nullptr) {
    const auto copy = object->copy();
    if (copy && copy->kind() != ValueKind::handle) return items_of(site, *copy);
  }
  return Error{Errc::type_mismatch, "not a container: " + value.to_string()};
}

}  // namespace passel::inline v0::detail
