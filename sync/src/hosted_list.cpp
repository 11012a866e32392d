// Layer sync: a list that lives in a manager's server.
#include "hosted_list.hpp"

#include <passel/detail/brief_text.hpp>

#include <algorithm>
#include <iterator>
#include <limits>

namespace passel::inline v0::detail {
namespace {

/// Of a list that was repeated: as much as the calls of a session may bring.
constexpr std::size_t most_repeated = std::size_t{256} << 20;

/// Cut off as slices are: negative from the end, at least `low`, at most `high`.
std::int64_t cut(std::optional<std::int64_t> bound, std::int64_t otherwise, std::int64_t size,
                 std::int64_t low, std::int64_t high) {
  if (!bound) return otherwise;
  const std::int64_t place =
      *bound < 0 ? std::max(*bound, std::numeric_limits<std::int64_t>::min() / 2) + size : *bound;
  return std::clamp(place, low, high);
}

}  // namespace

Result<std::vector<std::size_t>> slice_places(std::size_t size, std::optional<std::int64_t> start,
                                              std::optional<std::int64_t> stop, std::int64_t step) {
  if (step == 0) return Error{Errc::invalid_argument, "slice step cannot be zero"};
  const auto count = static_cast<std::int64_t>(size);
  const bool forward = step > 0;
  const std::int64_t low = forward ? 0 : -1;
  const std::int64_t high = forward ? count : count - 1;
  const std::int64_t first = cut(start, forward ? 0 : count - 1, count, low, high);
  const std::int64_t last = cut(stop, forward ? count : -1, count, low, high);
  // A step over everything is as good as one that is longer.
  const std::int64_t stride = std::clamp(step, -count - 1, count + 1);
  std::vector<std::size_t> out;
  for (std::int64_t i = first; forward ? i < last : i > last; i += stride)
    out.push_back(static_cast<std::size_t>(i));
  return out;
}

Result<std::shared_ptr<HostedObject>> make_hosted_list(const HostedCall& call) {
  auto args = call.arguments<std::vector<WireValue>>();
  if (!args) return args.error();
  return std::shared_ptr<HostedObject>{std::make_shared<HostedList>(std::get<0>(*std::move(args)))};
}

std::span<const HostedMethod<HostedList>> HostedList::table() {
  static constexpr HostedMethod<HostedList> methods[] = {
      hosted_method<&HostedList::at>{"at"},
      hosted_method<&HostedList::set>{"set"},
      hosted_method<&HostedList::append>{"append"},
      hosted_method<&HostedList::size>{"size"},
      hosted_method<&HostedList::values>{"values"},
      hosted_method<&HostedList::extend>{"extend"},
      hosted_method<&HostedList::insert>{"insert"},
      hosted_method<&HostedList::pop>{"pop"},
      hosted_method<&HostedList::remove>{"remove"},
      hosted_method<&HostedList::index>{"index"},
      hosted_method<&HostedList::count>{"count"},
      hosted_method<&HostedList::contains>{"contains"},
      hosted_method<&HostedList::sort>{"sort"},
      hosted_method<&HostedList::reverse>{"reverse"},
      hosted_method<&HostedList::clear>{"clear"},
      hosted_method<&HostedList::erase>{"erase"},
      hosted_method<&HostedList::slice>{"slice"},
      hosted_method<&HostedList::set_slice>{"set_slice"},
      hosted_method<&HostedList::erase_slice>{"erase_slice"},
      hosted_method<&HostedList::repeat>{"repeat"},
      hosted_method<&HostedList::seen>{"seen"},
      hosted_method<&HostedList::replace>{"replace"},
  };
  return methods;
}

Result<std::size_t> HostedList::place(std::int64_t index, std::string_view doing) const {
  const auto size = static_cast<std::int64_t>(items_.size());
  const std::int64_t found = index < 0 ? index + size : index;
  if (found >= 0 && found < size) return static_cast<std::size_t>(found);
  return Error{Errc::invalid_argument, std::string{doing} + " index " + std::to_string(index) +
                                           " is out of range: the list has " +
                                           std::to_string(size) + " items"};
}

Result<std::vector<std::size_t>> HostedList::places(Bound start, Bound stop,
                                                    std::int64_t step) const {
  return slice_places(items_.size(), start, stop, step);
}

void HostedList::extend(Items items) {
  changing().insert(items_.end(), std::make_move_iterator(items.begin()),
                    std::make_move_iterator(items.end()));
}

void HostedList::insert(std::int64_t index, WireValue item) {
  const auto size = static_cast<std::int64_t>(items_.size());
  const std::int64_t at = cut(index, 0, size, 0, size);
  changing().insert(items_.begin() + at, std::move(item));
}

Result<WireValue> HostedList::pop(std::int64_t index) {
  if (items_.empty()) return Error{Errc::invalid_argument, "pop from an empty list"};
  PASSEL_TRY(const std::size_t at, place(index, "pop"));
  WireValue item = std::move(changing()[at]);
  items_.erase(items_.begin() + static_cast<std::ptrdiff_t>(at));
  return item;
}

Result<void> HostedList::remove(const WireValue& item) {
  const auto found = std::find(items_.begin(), items_.end(), item);
  if (found == items_.end())
    return Error{Errc::not_found, brief_text(item) + " is not in the list"};
  changing().erase(found);
  return {};
}

Result<std::uint64_t> HostedList::index(const WireValue& item, Bound start, Bound stop) const {
  const auto size = static_cast<std::int64_t>(items_.size());
  const std::int64_t first = cut(start, 0, size, 0, size);
  const std::int64_t last = cut(stop, size, size, 0, size);
  for (std::int64_t i = first; i < last; ++i)
    if (items_[static_cast<std::size_t>(i)] == item) return static_cast<std::uint64_t>(i);
  return Error{Errc::not_found, brief_text(item) + " is not in the list"};
}

std::uint64_t HostedList::count(const WireValue& item) const {
  return static_cast<std::uint64_t>(std::count(items_.begin(), items_.end(), item));
}

void HostedList::sort(bool reversed) {
  const auto less = [](const WireValue& a, const WireValue& b) { return a.compare(b) < 0; };
  if (reversed) {
    std::stable_sort(changing().begin(), items_.end(),
                     [&](const WireValue& a, const WireValue& b) { return less(b, a); });
  } else {
    std::stable_sort(changing().begin(), items_.end(), less);
  }
}

void HostedList::reverse() { std::reverse(changing().begin(), items_.end()); }

Result<WireValue> HostedList::at(std::int64_t index) const {
  PASSEL_TRY(const std::size_t at, place(index, "list"));
  return items_[at];
}

Result<void> HostedList::set(std::int64_t index, WireValue item) {
  PASSEL_TRY(const std::size_t at, place(index, "list assignment"));
  changing()[at] = std::move(item);
  return {};
}

Result<WireValue> HostedList::seen(std::int64_t index) const {
  PASSEL_TRY(WireValue item, at(index));
  return WireValue::tuple({changes_, std::move(item)});
}

Result<bool> HostedList::replace(std::int64_t index, std::uint64_t changes, WireValue item) {
  PASSEL_TRY(const std::size_t at, place(index, "list assignment"));
  if (changes != changes_) return false;
  changing()[at] = std::move(item);
  return true;
}

Result<void> HostedList::erase(std::int64_t index) {
  PASSEL_TRY(const std::size_t at, place(index, "list deletion"));
  changing().erase(items_.begin() + static_cast<std::ptrdiff_t>(at));
  return {};
}

Result<HostedList::Items> HostedList::slice(Bound start, Bound stop, std::int64_t step) const {
  PASSEL_TRY(const auto found, places(start, stop, step));
  Items out;
  out.reserve(found.size());
  for (const std::size_t at : found) out.push_back(items_[at]);
  return out;
}

Result<void> HostedList::set_slice(Bound start, Bound stop, std::int64_t step, Items items) {
  PASSEL_TRY(const auto found, places(start, stop, step));
  if (step == 1) {
    const auto size = static_cast<std::int64_t>(items_.size());
    const auto first = items_.begin() + cut(start, 0, size, 0, size);
    const auto behind = changing().erase(first, first + static_cast<std::ptrdiff_t>(found.size()));
    items_.insert(behind, std::make_move_iterator(items.begin()),
                  std::make_move_iterator(items.end()));
    return {};
  }
  if (found.size() != items.size()) {
    return Error{Errc::invalid_argument, std::to_string(items.size()) +
                                             " items for an extended slice of " +
                                             std::to_string(found.size())};
  }
  for (std::size_t i = 0; i < found.size(); ++i) changing()[found[i]] = std::move(items[i]);
  return {};
}

Result<void> HostedList::erase_slice(Bound start, Bound stop, std::int64_t step) {
  PASSEL_TRY(auto found, places(start, stop, step));
  if (step < 0) std::reverse(found.begin(), found.end());
  Items& items = changing();
  auto gone = found.begin();
  std::size_t to = 0;
  for (std::size_t from = 0; from < items.size(); ++from) {
    if (gone != found.end() && *gone == from) {
      ++gone;
    } else {
      if (to != from) items[to] = std::move(items[from]);
      ++to;
    }
  }
  items.resize(to);
  return {};
}

Result<void> HostedList::repeat(std::int64_t times) {
  if (times <= 0) {
    clear();
    return {};
  }
  const std::size_t once = items_.size();
  if (once == 0) return {};
  std::size_t bytes = 0;
  for (const WireValue& item : items_) bytes += sizeof item + least_encoded_size(item);
  if (static_cast<std::uint64_t>(times) > most_repeated / bytes) {
    return Error{Errc::too_large, std::to_string(bytes) + " bytes of items " +
                                      std::to_string(times) + " times are more than " +
                                      std::to_string(most_repeated)};
  }
  changing().reserve(once * static_cast<std::size_t>(times));
  for (std::int64_t n = 1; n < times; ++n)
    for (std::size_t i = 0; i < once; ++i) items_.push_back(items_[i]);
  return {};
}

}  // namespace passel::inline v0::detail
