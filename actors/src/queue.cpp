// Layer actors: what all Queue<T> have in common, whatever T is.
#include <passel/detail/queue_core.hpp>

namespace passel::inline v0::detail {
namespace {

const Handle* first_handle(const WireValue& value) {
  if (const Handle* handle = value.handle()) return handle;
  if (const WireValue::Items* items = value.items()) {
    for (const WireValue& item : *items) {
      if (const Handle* handle = first_handle(item)) return handle;
    }
  }
  if (const WireValue::Entries* entries = value.entries()) {
    for (const auto& [key, mapped] : *entries) {
      if (const Handle* handle = first_handle(key)) return handle;
      if (const Handle* handle = first_handle(mapped)) return handle;
    }
  }
  return nullptr;
}

// What a handle without a descriptor stands for, in its id.
constexpr std::uint64_t closed_id = 0;
constexpr std::uint64_t threads_id = 1;

}  // namespace

Error queue_is_closed() { return Error{Errc::invalid_state, "Queue is closed"}; }

Error queue_needs_codec(const std::string& type) {
  return Error{Errc::invalid_argument,
               "a Queue of " + type + " cannot reach other processes: the type cannot be encoded"};
}

Error only_by_inheritance(const WireValue& item) {
  const Handle* handle = first_handle(item);
  const std::string kind = handle != nullptr ? handle->kind : "Such";
  return Error{Errc::invalid_state,
               kind + " objects should only be shared between processes through inheritance"};
}

Error wrong_handle(const std::string& kind, const std::string& type, const WireValue& found) {
  const Handle* handle = found.handle();
  const std::string what = handle == nullptr      ? std::string{to_string(found.kind())}
                           : handle->type.empty() ? handle->kind
                                                  : handle->kind + " of " + handle->type;
  return Error{Errc::type_mismatch, "expected " + kind + " of " + type + ", found " + what};
}

Result<std::shared_ptr<HostQueue>> open_queue(const std::string& kind, const std::string& type,
                                              const WireValue& value) {
  const Handle* handle = value.handle();
  if (handle == nullptr || handle->kind != kind || handle->type != type) {
    return wrong_handle(kind, type, value);
  }
  if (auto here = std::dynamic_pointer_cast<HostQueue>(handle->object)) return here;
  if (!handle->descriptor || !*handle->descriptor) {
    if (handle->id == closed_id) return queue_is_closed();
    return Error{Errc::invalid_state, "a Queue with reach threads cannot go to another process"};
  }
  PASSEL_TRY(Descriptor descriptor, Descriptor::duplicate(handle->descriptor->get()));
  PASSEL_TRY(std::shared_ptr<HostQueue> queue, HostQueue::attach(std::move(descriptor)));
  if (queue->type_name() != type) {
    return Error{Errc::type_mismatch, "expected " + kind + " of " + type + ", found " + kind +
                                          " of " + std::string{queue->type_name()}};
  }
  return queue;
}

WireValue queue_handle(const std::string& kind, const std::string& type,
                       const std::shared_ptr<HostQueue>& host, bool closed) {
  Handle handle{.kind = kind,
                .type = type,
                .id = closed ? closed_id : threads_id,
                .descriptor = nullptr,
                .object = host};
  if (host) {
    handle.id = host->id();
    // The queue's own descriptor, kept open by the queue.
    handle.descriptor = {host, const_cast<Descriptor*>(&host->descriptor())};
  }
  return WireValue{std::move(handle)};
}

}  // namespace passel::inline v0::detail
