// Layer sync: arenas: making and attaching them, and the objects in them.
#include "arena.hpp"
#include "mend.hpp"

#include <sys/mman.h>
#include <algorithm>
#include <cstring>
#include <string>

namespace passel::inline v0::detail {
namespace {

constexpr std::uint32_t chunks_a_step = 256;

/// The arenas that this process has mapped, and those that its new objects go to.
struct Registry {
  std::mutex mutex;
  std::vector<std::weak_ptr<SyncArena>> mapped;
  std::weak_ptr<SyncArena> own[2];
  std::uint32_t generation = 0;
};

Registry& registry() {
  static auto* const the_registry = new Registry;  // outlives whatever ends late
  return *the_registry;
}

std::uint64_t new_arena_id() {
  static std::atomic<std::uint32_t> count{0};
  const ProcessId self = this_process();
  // Mixed, because processes that start together are alike and one may make many arenas.
  std::uint64_t id = self.start;
  for (const std::uint64_t part : {static_cast<std::uint64_t>(self.pid),
                                   std::uint64_t{count.fetch_add(1, std::memory_order_relaxed)}}) {
    id = (id ^ part) * 0x9e3779b97f4a7c15;
    id ^= id >> 29;
  }
  return id;
}

Error too_many_objects(std::uint32_t chunks) {
  return Error{Errc::no_space, "no room for an object of " + std::to_string(chunks * sync_chunk) +
                                   " bytes: the objects of one process may take " +
                                   std::to_string(sync_chunk_count * sync_chunk) + " bytes"};
}

}  // namespace

SyncArena::SyncArena(Segment segment, std::byte* base, Reach reach) noexcept
    : segment_{std::move(segment)}, base_{base}, reach_{reach} {}

SyncArena::~SyncArena() {
  const std::uint64_t known = place_.load(std::memory_order_relaxed);
  const auto place = static_cast<std::uint32_t>(known);
  if (place != nobody && static_cast<std::uint32_t>(known >> 32) == fork_generation() + 1 &&
      reach_ == Reach::host) {
    std::vector<std::shared_ptr<SyncArena>> alive;  // not to be destroyed under the lock
    Registry& others = registry();
    const std::lock_guard lock{others.mutex};
    const bool is_mapped_again =
        std::any_of(others.mapped.begin(), others.mapped.end(), [&](const auto& mapped) {
          alive.push_back(mapped.lock());
          return alive.back() && alive.back()->reach_ == Reach::host &&
                 alive.back()->layout().id == layout().id;
        });
    if (!is_mapped_again) empty_place(place);
  }
  if (reach_ == Reach::threads) ::munmap(base_, arena_size);
}

Result<std::shared_ptr<SyncArena>> SyncArena::make(Reach reach) {
  Segment segment;
  std::byte* base = nullptr;
  if (reach == Reach::host) {
    PASSEL_TRY(segment, Segment::create("passel.sync", arena_kind, arena_size));
    PASSEL_CHECK(segment.populate(0, sizeof(ArenaLayout)));
    base = segment.data();
  } else {
    void* memory = ::mmap(nullptr, arena_size, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) return Error{Errc::no_space, "no address space for shared objects"};
    base = static_cast<std::byte*>(memory);
  }
  auto arena = std::shared_ptr<SyncArena>{new SyncArena{std::move(segment), base, reach}};
  ArenaLayout& layout = arena->layout();
  layout.id = new_arena_id();
  layout.chunks_end = 1;  // chunk 0 stands for "none"
  layout.used[0] = 1;
  if (!layout.table.init()) return Error{Errc::system, "pthread_mutex_init failed"};
  layout.ready.store(1, std::memory_order_release);
  return arena;
}

void SyncArena::enter(const std::shared_ptr<SyncArena>& arena) {
  arena->self_ = arena;
  add_loss_hook([](const ProcessId& lost) noexcept {
    for (const auto& each : all()) each->process_lost(lost);
  });
  auto& mapped = registry().mapped;
  std::erase_if(mapped, [](const auto& known) { return known.expired(); });
  mapped.push_back(arena);
}

std::shared_ptr<Descriptor> SyncArena::descriptor() const {
  if (reach_ != Reach::host) return nullptr;
  // The arena's own descriptor, kept open by the arena.
  return {self_.lock(), const_cast<Descriptor*>(&segment_.descriptor())};
}

Result<std::shared_ptr<SyncArena>> SyncArena::of_this_process(Reach reach) {
  Registry& known = registry();
  const std::lock_guard lock{known.mutex};
  if (known.generation != fork_generation()) {
    known.generation = fork_generation();
    for (auto& own : known.own) own.reset();
  }
  auto& own = known.own[reach == Reach::host ? 1 : 0];
  if (auto arena = own.lock()) return arena;
  PASSEL_TRY(auto arena, make(reach));
  enter(arena);
  own = arena;
  return arena;
}

Result<std::shared_ptr<SyncArena>> SyncArena::attach(Descriptor descriptor) {
  PASSEL_TRY(Segment segment, Segment::attach(std::move(descriptor), arena_kind));
  if (segment.size() < arena_size) {
    return Error{Errc::malformed, "shared memory of " + std::to_string(segment.size()) +
                                      " bytes is too small for shared objects"};
  }
  std::byte* const base = segment.data();
  auto& layout = *reinterpret_cast<ArenaLayout*>(base);
  if (layout.ready.load(std::memory_order_acquire) == 0) {
    return Error{Errc::malformed, "shared memory for shared objects that is not ready"};
  }
  std::vector<std::shared_ptr<SyncArena>> alive;  // not to be destroyed under the lock
  Registry& known = registry();
  const std::lock_guard lock{known.mutex};
  for (const auto& mapped : known.mapped) {
    const auto& arena = alive.emplace_back(mapped.lock());
    if (arena && arena->reach_ == Reach::host && arena->layout().id == layout.id) return arena;
  }
  auto arena = std::shared_ptr<SyncArena>{new SyncArena{std::move(segment), base, Reach::host}};
  enter(arena);
  return arena;
}

std::vector<std::shared_ptr<SyncArena>> SyncArena::all() {
  Registry& known = registry();
  const std::lock_guard lock{known.mutex};
  std::vector<std::shared_ptr<SyncArena>> arenas;
  for (const auto& mapped : known.mapped) {
    if (auto arena = mapped.lock()) arenas.push_back(std::move(arena));
  }
  return arenas;
}

bool SyncArena::lock_table() noexcept {
  const Locked locked = layout().table.lock(Deadline::never());
  if (locked == Locked::after_death) mend_table();
  return locked != Locked::no;
}

// A run whose chunks are being taken or given back is of kind none, knows its length, and its first
// chunk is the first to be taken and the last to be given back. The rest of what the table's lock
// protects is a single store, or can be done again.
void SyncArena::mend_table() noexcept {
  for (std::uint32_t chunk = 1; chunk < layout().chunks_end;) {
    ObjectHeader& header = object(chunk);
    const std::uint32_t end = chunk + std::max<std::uint32_t>(header.chunks, 1);
    if (!is_used(chunk)) {
      ++chunk;
      continue;
    }
    if (header.kind.load(std::memory_order_relaxed) == 0) give_chunks(chunk, end);
    chunk = end;
  }
}

void SyncArena::take_chunks(std::uint32_t first, std::uint32_t end) noexcept {
  for (std::uint32_t c = first; c < end; ++c) {
    layout().used[c / 64] |= std::uint64_t{1} << (c % 64);
    std::atomic_signal_fence(std::memory_order_seq_cst);
  }
}

void SyncArena::give_chunks(std::uint32_t first, std::uint32_t end) noexcept {
  for (std::uint32_t c = end; c-- > first;) {
    layout().used[c / 64] &= ~(std::uint64_t{1} << (c % 64));
    std::atomic_signal_fence(std::memory_order_seq_cst);
  }
}

Result<void> SyncArena::populate(std::uint32_t end) {
  ArenaLayout& shared = layout();
  if (reach_ == Reach::threads || end <= shared.populated_chunks) return {};
  const std::uint32_t begin = shared.populated_chunks;
  const std::uint32_t whole =
      std::min((end + chunks_a_step - 1) / chunks_a_step * chunks_a_step, sync_chunk_count);
  PASSEL_CHECK(segment_.populate(chunks_offset + begin * sync_chunk, (whole - begin) * sync_chunk));
  shared.populated_chunks = whole;
  return {};
}

Result<std::uint32_t> SyncArena::find_room(std::uint32_t chunks) {
  ArenaLayout& shared = layout();
  std::uint32_t run = 0;
  std::uint32_t i = 1;
  while (i < sync_chunk_count && run < chunks) {
    if (run == 0 && i % 64 == 0 && shared.used[i / 64] == ~std::uint64_t{0}) {
      i += 64;
      continue;
    }
    run = is_used(i) ? 0 : run + 1;
    ++i;
  }
  if (run < chunks) return too_many_objects(chunks);
  PASSEL_CHECK(populate(i));
  return i - chunks;
}

void SyncArena::release_run(ObjectHeader& header) noexcept {
  const std::uint32_t first = chunk_of(header);
  header.kind.store(static_cast<std::uint32_t>(SyncKind::none), std::memory_order_release);
  std::atomic_signal_fence(std::memory_order_seq_cst);
  give_chunks(first, first + header.chunks);
}

Result<std::shared_ptr<SyncObject>> SyncArena::create(SyncKind kind, std::size_t size,
                                                      std::string_view name) {
  if (name.size() > sync_name_limit) {
    return Error{Errc::invalid_argument, "the name '" + std::string{name} + "' has " +
                                             std::to_string(name.size()) + " bytes, the limit is " +
                                             std::to_string(sync_name_limit)};
  }
  const std::size_t bytes = state_offset + size;
  if (size > sync_chunk_count * sync_chunk || bytes > sync_chunk_count * sync_chunk) {
    return too_many_objects(sync_chunk_count);
  }
  const auto chunks = static_cast<std::uint32_t>((bytes + sync_chunk - 1) / sync_chunk);
  const std::uint32_t my_place = place();
  if (my_place == nobody) return too_many_processes();
  if (!lock_table()) return Error{Errc::timeout, "the table of shared objects is locked"};
  auto first = find_room(chunks);
  if (!first) {
    layout().table.unlock();
    return first.error();
  }
  ObjectHeader& header = object(*first);
  std::memset(static_cast<void*>(&header), 0, chunks * sync_chunk);
  header.chunks = chunks;
  layout().chunks_end = std::max(layout().chunks_end, *first + chunks);
  std::atomic_signal_fence(std::memory_order_seq_cst);
  take_chunks(*first, *first + chunks);
  header.serial = ++layout().next_serial;
  std::copy(name.begin(), name.end(), header.name.begin());
  const bool good = header.line.init();
  mark_user(header, my_place);
  header.kind.store(static_cast<std::uint32_t>(kind), std::memory_order_release);
  if (!good) release_run(header);
  layout().table.unlock();
  if (!good) return Error{Errc::system, "pthread_mutex_init failed"};
  const std::lock_guard lock{mutex_};
  return adopt(header);
}

Result<std::shared_ptr<SyncObject>> SyncArena::find(std::uint32_t chunk, std::uint32_t serial) {
  const std::uint32_t my_place = place();
  if (my_place == nobody) return too_many_processes();
  // Held until the handle is counted, or the last other handle could take the object with it.
  const std::lock_guard lock{mutex_};
  if (!lock_table()) return Error{Errc::timeout, "the table of shared objects is locked"};
  bool there = chunk != 0 && chunk < layout().chunks_end;
  if (there) {
    ObjectHeader& header = object(chunk);
    there = header.kind.load(std::memory_order_relaxed) != 0 && header.serial == serial;
    if (there) mark_user(header, my_place);
  }
  layout().table.unlock();
  if (!there) return Error{Errc::stale_object, "the shared object is gone"};
  return adopt(object(chunk));
}

std::shared_ptr<SyncObject> SyncArena::adopt(ObjectHeader& header) {
  Local& local = local_[chunk_of(header)];
  if (auto here = local.object.lock()) return here;
  auto made = std::shared_ptr<SyncObject>{new SyncObject{self_.lock(), &header}};
  made->place_.store(place_.load(std::memory_order_relaxed), std::memory_order_relaxed);
  local.object = made;
  ++local.handles;
  return made;
}

void SyncArena::mark_user(ObjectHeader& header, std::uint32_t place) noexcept {
  header.users[(place - 1) / 64].fetch_or(std::uint64_t{1} << ((place - 1) % 64));
}

void SyncArena::drop(ObjectHeader& header, std::uint32_t place) noexcept {
  const std::lock_guard lock{mutex_};
  const auto local = local_.find(chunk_of(header));
  if (local != local_.end() && --local->second.handles != 0) return;
  if (local != local_.end()) local_.erase(local);
  if (place == nobody || !lock_table()) return;
  auto& mine = header.users[(place - 1) / 64];
  const std::uint64_t bit = std::uint64_t{1} << ((place - 1) % 64);
  const bool is_used_by_others =
      std::any_of(header.users.begin(), header.users.end(), [&](const auto& users) {
        return (&users == &mine ? users.load() & ~bit : users.load()) != 0;
      });
  // Something left taken for good goes to others when this process ends: it stays a user.
  if (!is_used_by_others || !holds_something(*this, header, place)) mine.fetch_and(~bit);
  if (!is_used_by_others) release_run(header);
  layout().table.unlock();
}

bool SyncArena::enter_user(ObjectHeader& header, std::uint32_t serial,
                           std::uint32_t place) noexcept {
  if (!lock_table()) return false;
  const bool there = header.kind.load(std::memory_order_relaxed) != 0 && header.serial == serial;
  if (there) mark_user(header, place);
  layout().table.unlock();
  return there;
}

}  // namespace passel::inline v0::detail
