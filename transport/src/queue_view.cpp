// Layer transport: a host queue, looked at from outside.
#include <passel/detail/queue_view.hpp>

#include "host_queue_layout.hpp"

#include <algorithm>
#include <cstring>

namespace passel::inline v0::detail {

std::optional<QueueView> view_queue(const ForeignMemory& memory) {
  MemoryCopy<HostQueueLayout> queue;
  if (memory.kind() != queue_kind || !queue.take(memory, 0)) return std::nullopt;
  QueueView view;
  view.id = queue->id;
  view.type.assign(queue->type_name, ::strnlen(queue->type_name, name_limit));
  view.maxsize = queue->maxsize;
  view.puts = queue->puts.load();
  // The copy is not taken at one moment: what is no number of items is none.
  const std::uint64_t gets = std::min(queue->gets.load(), view.puts);
  view.depth = view.puts - gets + queue->returned.load();
  view.bytes = std::uint64_t{queue->used.load()} * chunk_size;
  view.getters = queue->items.sleepers();
  view.putters = queue->room.sleepers();
  view.joinable = queue->joinable != 0;
  if (view.joinable) view.unfinished = view.puts - std::min(queue->done.load(), view.puts);
  view.shut_down = queue->state.load() != queue_open;
  std::vector<Slot> slots(std::min(queue->slots_made.load(), slot_count));
  if (memory.read(queue->slots_at, slots.data(), slots.size() * sizeof(Slot))) {
    for (const Slot& slot : slots) {
      if (slot.state.load() == slot_used) view.users.push_back(slot.pid);
    }
  }
  return view;
}

}  // namespace passel::inline v0::detail
