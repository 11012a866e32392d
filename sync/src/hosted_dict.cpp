// Layer sync: dictionaries that live in a manager's server.
#include "hosted_dict.hpp"

#include <passel/detail/brief_text.hpp>

#include "hosted_values.hpp"

#include <string>
#include <utility>

namespace passel::inline v0::detail {
namespace {

Error no_key(const WireValue& key) {
  return {Errc::not_found, "no key " + brief_text(key) + " in the dictionary"};
}

}  // namespace

Result<std::shared_ptr<HostedObject>> make_hosted_dict(const HostedCall& call) {
  auto args = call.arguments<std::vector<WireValue>>();
  if (!args) return args.error();
  auto dict = std::make_shared<HostedDict>();
  PASSEL_CHECK(dict->update(std::get<0>(*args)));
  return std::shared_ptr<HostedObject>{std::move(dict)};
}

std::span<const HostedMethod<HostedDict>> HostedDict::table() {
  static constexpr HostedMethod<HostedDict> methods[] = {
      hosted_method<&HostedDict::at>{"at"},
      hosted_method<&HostedDict::set>{"set"},
      hosted_method<&HostedDict::get>{"get"},
      hosted_method<&HostedDict::get_many>{"get_many"},
      hosted_method<&HostedDict::seen>{"seen"},
      hosted_method<&HostedDict::replace>{"replace"},
      hosted_method<&HostedDict::contains>{"contains"},
      hosted_method<&HostedDict::size>{"size"},
      hosted_method<&HostedDict::erase>{"erase"},
      hosted_method<&HostedDict::pop>{"pop"},
      hosted_method<&HostedDict::take>{"take"},
      hosted_method<&HostedDict::popitem>{"popitem"},
      hosted_method<&HostedDict::setdefault>{"setdefault"},
      hosted_method<&HostedDict::update>{"update"},
      hosted_method<&HostedDict::clear>{"clear"},
      hosted_method<&HostedDict::keys>{"keys"},
      hosted_method<&HostedDict::values>{"values"},
      hosted_method<&HostedDict::items>{"items"},
  };
  return methods;
}

Result<HostedDict::Entries::iterator> HostedDict::find(const WireValue& key) const {
  if (!key.is_hashable()) return unhashable(key);
  const auto found = places_.find(key);
  return found == places_.end() ? entries_.end() : found->second;
}

Result<WireValue> HostedDict::at(const WireValue& key) const {
  PASSEL_TRY(const auto place, find(key));
  if (place == entries_.end()) return no_key(key);
  return place->value;
}

Result<void> HostedDict::set(WireValue key, WireValue value) {
  PASSEL_TRY(const auto place, find(key));
  if (place != entries_.end()) {
    place->value = std::move(value);
    place->version = ++last_version_;
    return {};
  }
  entries_.push_back({key, std::move(value), ++last_version_});
  places_.emplace(std::move(key), std::prev(entries_.end()));
  return {};
}

Result<void> HostedDict::erase(const WireValue& key) {
  PASSEL_TRY(const auto place, find(key));
  if (place == entries_.end()) return no_key(key);
  places_.erase(key);
  entries_.erase(place);
  return {};
}

Result<bool> HostedDict::contains(const WireValue& key) const {
  PASSEL_TRY(const auto place, find(key));
  return place != entries_.end();
}

Result<WireValue> HostedDict::get(const WireValue& key) const {
  PASSEL_TRY(const auto place, find(key));
  if (place == entries_.end()) return WireValue::tuple({});
  return WireValue::tuple({place->value});
}

Result<HostedDict::Values> HostedDict::get_many(const Values& keys) const {
  Values out;
  out.reserve(keys.size());
  std::size_t bytes = 0;
  for (const WireValue& key : keys) {
    PASSEL_TRY(const auto place, find(key));
    if (place == entries_.end()) {
      out.push_back(WireValue::tuple({}));
      continue;
    }
    // One key may be asked for any number of times.
    bytes += least_encoded_size(place->value);
    if (bytes > most_answer_bytes) {
      return Error{Errc::too_large, "the values of " + std::to_string(out.size() + 1) + " of " +
                                        std::to_string(keys.size()) + " keys take " +
                                        std::to_string(bytes) + " bytes, limit of an answer " +
                                        std::to_string(most_answer_bytes)};
    }
    out.push_back(WireValue::tuple({place->value}));
  }
  return out;
}

Result<WireValue> HostedDict::seen(const WireValue& key) const {
  PASSEL_TRY(const auto place, find(key));
  if (place == entries_.end()) return no_key(key);
  return WireValue::tuple({place->version, place->value});
}

Result<bool> HostedDict::replace(const WireValue& key, std::uint64_t version, WireValue value) {
  PASSEL_TRY(const auto place, find(key));
  if (place == entries_.end()) return no_key(key);
  if (place->version != version) return false;
  place->value = std::move(value);
  place->version = ++last_version_;
  return true;
}

Result<WireValue> HostedDict::pop(const WireValue& key) {
  PASSEL_TRY(const auto place, find(key));
  if (place == entries_.end()) return no_key(key);
  WireValue value = std::move(place->value);
  places_.erase(key);
  entries_.erase(place);
  return value;
}

Result<WireValue> HostedDict::take(const WireValue& key) {
  PASSEL_TRY(const auto place, find(key));
  if (place == entries_.end()) return WireValue::tuple({});
  PASSEL_TRY(WireValue value, pop(key));
  return WireValue::tuple({std::move(value)});
}

Result<WireValue> HostedDict::popitem() {
  if (entries_.empty()) return Error{Errc::not_found, "popitem from an empty dictionary"};
  auto [key, value, version] = std::move(entries_.back());
  entries_.pop_back();
  places_.erase(key);
  return WireValue::tuple({std::move(key), std::move(value)});
}

Result<WireValue> HostedDict::setdefault(WireValue key, WireValue value) {
  PASSEL_TRY(const auto place, find(key));
  if (place != entries_.end()) return place->value;
  PASSEL_CHECK(set(std::move(key), value));
  return value;
}

Result<void> HostedDict::update(const Values& pairs) {
  // All of it or nothing.
  for (const WireValue& pair : pairs) {
    const auto* const both = pair.items();
    if (both == nullptr || both->size() != 2) {
      return Error{Errc::type_mismatch, "not a pair of key and value: " + brief_text(pair)};
    }
    if (!both->front().is_hashable()) return unhashable(both->front());
  }
  for (const WireValue& pair : pairs)
    PASSEL_CHECK(set(pair.items()->front(), pair.items()->back()));
  return {};
}

void HostedDict::clear() {
  places_.clear();
  entries_.clear();
}

HostedDict::Values HostedDict::keys() const {
  Values out;
  for (const Entry& entry : entries_) out.push_back(entry.key);
  return out;
}

HostedDict::Values HostedDict::values() const {
  Values out;
  for (const Entry& entry : entries_) out.push_back(entry.value);
  return out;
}

HostedDict::Values HostedDict::items() const {
  Values out;
  for (const Entry& entry : entries_) out.push_back(WireValue::tuple({entry.key, entry.value}));
  return out;
}

std::string HostedDict::text_up_to(std::size_t most) const {
  TextOfItems text{"{", most};
  const char* before = "";
  for (const Entry& entry : entries_)
    if (!text.add(std::exchange(before, ", "), entry.key) || !text.add(": ", entry.value)) break;
  return std::move(text).end("}");
}

WireValue HostedDict::as_map() const {
  WireValue::Entries out;
  out.reserve(entries_.size());
  for (const Entry& entry : entries_) out.emplace_back(entry.key, entry.value);
  return WireValue::map(std::move(out));
}

}  // namespace passel::inline v0::detail
