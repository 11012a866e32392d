// Layer sync: a list of fixed length in shared memory.
#include <passel/shareable_list.hpp>

#include <atomic>
#include <bit>
#include <cstddef>
#include <cstring>
#include <span>

namespace passel::inline v0 {
namespace {

constexpr std::uint64_t list_magic = 0x31'7473'696c'6c73'70;  // "psl" "list1"
constexpr std::uint64_t word = 8;

// What lies where: the head, `count` entries, and then the storage of the items. A reader keeps the
// places that it found when it attached; only the tag of an entry changes.
struct ListHead {
  std::uint64_t magic;
  std::uint64_t count;
};
struct Entry {
  std::uint64_t offset;
  std::uint64_t capacity;
  std::uint64_t tag;  // what the item is, and its length in bytes
};

enum class ItemKind : std::uint8_t { none = 1, boolean, integer, floating, text, bytes };

constexpr std::uint64_t tag_of(ItemKind kind, std::uint64_t length) {
  return length << 8 | static_cast<std::uint64_t>(kind);
}

/// A value as it is stored: eight bytes, or bytes that lie in the value.
struct Packed {
  ItemKind kind{};
  std::uint64_t number = 0;
  std::span<const std::byte> bytes{};

  [[nodiscard]] bool is_long() const { return kind == ItemKind::text || kind == ItemKind::bytes; }
  [[nodiscard]] std::uint64_t tag() const { return tag_of(kind, bytes.size()); }
  [[nodiscard]] std::uint64_t capacity() const {
    return is_long() ? (bytes.size() / word + 1) * word : word;
  }
};

Result<Packed> pack(const WireValue& value) {
  switch (value.kind()) {
    case ValueKind::none: return Packed{.kind = ItemKind::none};
    case ValueKind::boolean:
      return Packed{.kind = ItemKind::boolean, .number = *value.as_bool() ? 1U : 0U};
    case ValueKind::integer:
      if (const auto number = value.as_int64()) {
        return Packed{.kind = ItemKind::integer, .number = static_cast<std::uint64_t>(*number)};
      }
      return Error{Errc::invalid_argument,
                   "int " + value.to_string() + " is outside of the 64 bits of an item"};
    case ValueKind::floating:
      return Packed{.kind = ItemKind::floating,
                    .number = std::bit_cast<std::uint64_t>(*value.as_double())};
    case ValueKind::text:
      return Packed{.kind = ItemKind::text, .bytes = std::as_bytes(std::span{*value.as_text()})};
    case ValueKind::bytes: return Packed{.kind = ItemKind::bytes, .bytes = *value.as_bytes()};
    default:
      return Error{Errc::type_mismatch,
                   "a ShareableList holds None, bool, int, float, str and bytes, not " +
                       std::string{to_string(value.kind())}};
  }
}

std::atomic_ref<std::uint64_t> word_at(std::span<std::byte> memory, std::uint64_t offset) {
  return std::atomic_ref{*reinterpret_cast<std::uint64_t*>(memory.data() + offset)};
}

std::uint64_t entry_at(std::uint64_t index) { return sizeof(ListHead) + index * sizeof(Entry); }

std::atomic_ref<std::uint64_t> tag_at(std::span<std::byte> memory, std::uint64_t index) {
  return word_at(memory, entry_at(index) + offsetof(Entry, tag));
}

void store(std::span<std::byte> memory, std::uint64_t index, std::uint64_t offset,
           const Packed& item) {
  if (item.is_long()) {
    if (!item.bytes.empty())
      std::memcpy(memory.data() + offset, item.bytes.data(), item.bytes.size());
  } else {
    word_at(memory, offset).store(item.number, std::memory_order_relaxed);
  }
  tag_at(memory, index).store(item.tag(), std::memory_order_release);
}

/// Where every item lies, when that makes sense. Errors: malformed.
template <class Slot>
Result<std::vector<Slot>> read_entries(std::span<std::byte> memory) {
  const Error no_list{Errc::malformed, "this shared memory holds no ShareableList"};
  ListHead head{};
  if (memory.size() < sizeof head) return no_list;
  std::memcpy(&head, memory.data(), sizeof head);
  if (head.magic != list_magic || head.count > (memory.size() - sizeof head) / sizeof(Entry))
    return no_list;
  std::vector<Slot> slots;
  slots.reserve(head.count);
  for (std::uint64_t index = 0; index < head.count; ++index) {
    Entry entry{};
    std::memcpy(&entry, memory.data() + entry_at(index), sizeof entry);
    if (entry.offset % word != 0 || entry.capacity < word || entry.offset > memory.size() ||
        entry.capacity > memory.size() - entry.offset) {
      return no_list;
    }
    slots.push_back({entry.offset, entry.capacity});
  }
  return slots;
}

}  // namespace

Result<ShareableList> ShareableList::create(const WireValue::Items& items, std::string_view name) {
  std::vector<Packed> packed;
  std::uint64_t size = entry_at(items.size());
  for (const WireValue& item : items) {
    PASSEL_TRY(Packed one, pack(item));
    size += one.capacity();
    packed.push_back(one);
  }
  const auto fill = [&packed](std::span<std::byte> memory) {
    const ListHead head{.magic = list_magic, .count = packed.size()};
    std::memcpy(memory.data(), &head, sizeof head);
    std::uint64_t offset = entry_at(packed.size());
    for (std::size_t index = 0; index < packed.size(); ++index) {
      const Entry entry{.offset = offset, .capacity = packed[index].capacity(), .tag = 0};
      std::memcpy(memory.data() + entry_at(index), &entry, sizeof entry);
      store(memory, index, offset, packed[index]);
      offset += entry.capacity;
    }
  };
  PASSEL_TRY(SharedMemory memory, SharedMemory::create_filled(size, name, fill));
  return open(std::move(memory));
}

Result<ShareableList> ShareableList::attach(std::string_view name) {
  PASSEL_TRY(SharedMemory memory, SharedMemory::attach(name));
  return open(std::move(memory));
}

Result<ShareableList> ShareableList::open(SharedMemory memory) {
  PASSEL_TRY(auto slots, read_entries<Slot>(memory.buf()));
  return ShareableList{std::move(memory),
                       std::make_shared<const std::vector<Slot>>(std::move(slots))};
}

Result<ShareableList::Slot> ShareableList::find(std::ptrdiff_t index, const char* doing) const {
  const auto count = static_cast<std::ptrdiff_t>(size());
  if (index < -count || index >= count) {
    return Error{Errc::invalid_argument, std::string{doing} + "index " + std::to_string(index) +
                                             " out of range of a list of " + std::to_string(count) +
                                             " items"};
  }
  const Slot slot = (*slots_)[static_cast<std::size_t>(index < 0 ? index + count : index)];
  if (memory_.closed()) return Error{Errc::invalid_state, "ShareableList is closed"};
  return slot;
}

Result<WireValue> ShareableList::read(std::ptrdiff_t index) const {
  PASSEL_TRY(const Slot slot, find(index, ""));
  const std::span<std::byte> memory = memory_.buf();
  const auto position = static_cast<std::uint64_t>(index < 0 ? index + std::ssize(*slots_) : index);
  const std::uint64_t tag = tag_at(memory, position).load(std::memory_order_acquire);
  const std::uint64_t length = tag >> 8;
  const std::uint64_t number = word_at(memory, slot.offset).load(std::memory_order_relaxed);
  if (length <= slot.capacity) {
    const auto* bytes = memory.data() + slot.offset;
    switch (static_cast<ItemKind>(tag & 0xff)) {
      case ItemKind::none: return WireValue{};
      case ItemKind::boolean: return WireValue{number != 0};
      case ItemKind::integer: return WireValue{static_cast<std::int64_t>(number)};
      case ItemKind::floating: return WireValue{std::bit_cast<double>(number)};
      case ItemKind::text:
        return WireValue{std::string{reinterpret_cast<const char*>(bytes), length}};
      case ItemKind::bytes: return WireValue{WireValue::Bytes(bytes, bytes + length)};
    }
  }
  return Error{Errc::malformed,
               "item " + std::to_string(position) + " of a ShareableList makes no sense"};
}

Result<void> ShareableList::set(std::ptrdiff_t index, const WireValue& value) {
  PASSEL_TRY(const Slot slot, find(index, "assignment "));
  PASSEL_TRY(const Packed item, pack(value));
  if (item.bytes.size() > slot.capacity) {
    return Error{Errc::too_large, std::string{passel::to_string(value.kind())} + " item of " +
                                      std::to_string(item.bytes.size()) +
                                      " bytes exceeds available storage of " +
                                      std::to_string(slot.capacity) + " bytes"};
  }
  const auto position = static_cast<std::uint64_t>(index < 0 ? index + std::ssize(*slots_) : index);
  store(memory_.buf(), position, slot.offset, item);
  return {};
}

std::size_t ShareableList::count(const WireValue& value) const {
  std::size_t equal = 0;
  for (const WireValue& item : *this) equal += item == value ? 1 : 0;
  return equal;
}

Result<std::size_t> ShareableList::index(const WireValue& value) const {
  std::size_t at = 0;
  for (const WireValue& item : *this) {
    if (item == value) return at;
    ++at;
  }
  return Error{Errc::not_found, value.to_string() + " is not in this ShareableList"};
}

std::string ShareableList::to_string() const {
  WireValue::Items items;
  for (WireValue item : *this) items.push_back(std::move(item));
  return "ShareableList(" + WireValue::list(std::move(items)).to_string() + ", name='" +
         memory_.name() + "')";
}

}  // namespace passel::inline v0
