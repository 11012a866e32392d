// Layer sync: the small shared objects of a process, looked at from outside.
#include <passel/detail/sync_view.hpp>

#include "arena_layout.hpp"
#include "barrier_machine.hpp"
#include "condition_machine.hpp"
#include "event_machine.hpp"
#include "permit_machine.hpp"

#include <algorithm>
#include <cstring>
#include <memory>
#include <span>

namespace passel::inline v0::detail {
namespace {

/// A copy of an arena's tables, and its objects one by one. Nothing in it is trusted to be
/// consistent.
class ArenaView {
 public:
  explicit ArenaView(const ForeignMemory& memory) : memory_{memory} {}

  [[nodiscard]] bool take() {
    if (!layout_->take(memory_, 0)) return false;
    const std::uint32_t count = std::min((*layout_)->populated_waiters.load(), sync_waiter_count);
    waiters_ = std::vector<MemoryCopy<Waiter>>(count);
    for (std::uint32_t i = 0; i < count; ++i) {
      if (!waiters_[i].take(memory_, waiters_offset + i * sizeof(Waiter))) return false;
    }
    return true;
  }

  [[nodiscard]] std::vector<SyncView> objects() const {
    std::vector<SyncView> views;
    const std::uint32_t end = std::min((*layout_)->chunks_end, sync_chunk_count);
    for (std::uint32_t chunk = 1; chunk < end;) {
      MemoryCopy<ObjectHeader> header;
      const bool used = ((*layout_)->used[chunk / 64] >> (chunk % 64) & 1) != 0;
      if (!used || !header.take(memory_, at(chunk))) {
        ++chunk;
        continue;
      }
      const auto kind = static_cast<SyncKind>(header->kind.load());
      if (kind > SyncKind::none && kind < SyncKind::bytes)
        views.push_back(object(kind, chunk, *header));
      chunk += std::max(header->chunks, 1U);
    }
    return views;
  }

 private:
  [[nodiscard]] static std::uint64_t at(std::uint32_t chunk) {
    return chunks_offset + std::uint64_t{chunk} * sync_chunk;
  }

  [[nodiscard]] int pid_at(std::uint32_t place) const {
    if (place == nobody || place > sync_process_count) return 0;
    return std::max((*layout_)->processes[place - 1].pid.load(), 0);
  }

  [[nodiscard]] SyncView object(SyncKind kind, std::uint32_t chunk,
                                const ObjectHeader& header) const {
    SyncView view;
    view.kind = kind;
    view.id = std::uint64_t{header.serial} << 32 | chunk;
    view.name.assign(header.name.data(), ::strnlen(header.name.data(), header.name.size()));
    for (std::uint32_t place = 1; place <= sync_process_count; ++place) {
      const std::uint32_t bit = place - 1;
      if ((header.users[bit / 64].load() >> (bit % 64) & 1) != 0 && pid_at(place) != 0)
        view.users.push_back(pid_at(place));
    }
    add_waiters(chunk, view);
    const std::uint64_t state = at(chunk) + state_offset;
    switch (kind) {
      case SyncKind::lock:
      case SyncKind::rlock:
      case SyncKind::semaphore:
      case SyncKind::bounded_semaphore: add_permits(state, view); break;
      case SyncKind::condition: add_lock(state, view); break;
      case SyncKind::event: add_event(state, view); break;
      case SyncKind::barrier: add_barrier(state, view); break;
      default: break;
    }
    return view;
  }

  void add_waiters(std::uint32_t chunk, SyncView& view) const {
    std::vector<const Waiter*> waiting;
    for (const MemoryCopy<Waiter>& copy : waiters_) {
      const std::uint32_t state = copy->state.load();
      if (copy->line.load() == chunk && pid_at(copy->owner.load()) != 0 &&
          (state == waiter_waiting || state == waiter_nudged)) {
        waiting.push_back(&*copy);
      }
    }
    std::sort(waiting.begin(), waiting.end(),
              [](const Waiter* a, const Waiter* b) { return a->ticket.load() < b->ticket.load(); });
    for (const Waiter* waiter : waiting) {
      view.waiters.push_back(
          {.pid = pid_at(waiter->owner.load()), .thread = static_cast<int>(waiter->thread.load())});
    }
  }

  void add_permits(std::uint64_t at_state, SyncView& view) const {
    MemoryCopy<PermitState> state;
    if (!state.take(memory_, at_state)) return;
    if ((state->traits & permits_counted) != 0) {
      view.available = PermitMachine::count_of(state->first.load());
      return;
    }
    const std::uint32_t permits = std::clamp<std::uint32_t>(state->permits, 1, 1U << 16);
    std::vector<std::uint64_t> words(permits);
    words[0] = state->first.load();
    if (permits > 1 && !memory_.read(at_state + sizeof(PermitState), words.data() + 1,
                                     (permits - 1) * sizeof(std::uint64_t))) {
      return;
    }
    const bool is_lock = view.kind == SyncKind::lock || view.kind == SyncKind::rlock;
    for (const std::uint64_t word : words) {
      view.token = std::max(view.token, word >> token_shift);
      const int pid = pid_at(PermitMachine::place_of(word));
      if (pid == 0) {
        view.available += PermitMachine::place_of(word) == nobody ? 1 : 0;
        continue;
      }
      view.holders.push_back(
          {.pid = pid, .thread = is_lock ? static_cast<int>(state->thread.load()) : 0});
    }
    if (view.kind == SyncKind::rlock && !view.holders.empty())
      view.depth = std::uint64_t{state->depth} + 1;
  }

  void add_lock(std::uint64_t at_state, SyncView& view) const {
    MemoryCopy<ConditionState> state;
    if (state.take(memory_, at_state)) view.lock = std::uint64_t{state->serial} << 32 | state->lock;
  }

  void add_event(std::uint64_t at_state, SyncView& view) const {
    MemoryCopy<EventState> state;
    if (state.take(memory_, at_state)) view.is_set = EventMachine::is_set(state->word.load());
  }

  void add_barrier(std::uint64_t at_state, SyncView& view) const {
    MemoryCopy<BarrierState> state;
    if (!state.take(memory_, at_state)) return;
    view.parties = state->parties;
    view.is_broken = state->phase.load() == barrier_broken;
  }

  const ForeignMemory& memory_;
  std::unique_ptr<MemoryCopy<ArenaLayout>> layout_ = std::make_unique<MemoryCopy<ArenaLayout>>();
  std::vector<MemoryCopy<Waiter>> waiters_;
};

}  // namespace

std::string_view to_string(SyncKind kind) noexcept {
  switch (kind) {
    case SyncKind::none: return "none";
    case SyncKind::lock: return "lock";
    case SyncKind::rlock: return "rlock";
    case SyncKind::semaphore: return "semaphore";
    case SyncKind::bounded_semaphore: return "bounded semaphore";
    case SyncKind::condition: return "condition";
    case SyncKind::event: return "event";
    case SyncKind::barrier: return "barrier";
    case SyncKind::bytes: return "bytes";
  }
  return "?";
}

std::vector<SyncView> view_sync(const ForeignMemory& memory) {
  ArenaView arena{memory};
  if (memory.kind() != arena_kind || !arena.take()) return {};
  return arena.objects();
}

}  // namespace passel::inline v0::detail
