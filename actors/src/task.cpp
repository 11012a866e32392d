// Layer actors: the table of tasks, and exceptions on their way to another process.
#include <passel/detail/future_core.hpp>
#include <passel/detail/task.hpp>

#include <cxxabi.h>
#include <dlfcn.h>
#include <link.h>
#include <atomic>
#include <cstdlib>
#include <map>
#include <mutex>
#include <tuple>
#include <typeinfo>

namespace passel::inline v0::detail {
namespace {

// Written only by static initialisers and while a library is being loaded, which the loader
// serialises.
constinit std::atomic<const TaskNode*> first_node{nullptr};

std::string demangled(const std::type_info& type) {
  int status = 0;
  const std::unique_ptr<char, void (*)(void*)> name{
      abi::__cxa_demangle(type.name(), nullptr, nullptr, &status), &std::free};
  return status == 0 && name ? name.get() : type.name();
}

std::uint32_t hash_name(std::string_view path) {
  const std::string_view name = path.substr(path.rfind('/') + 1);
  std::uint32_t hash = 2166136261U;
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 16777619U;
  return hash | 1U;  // 0 is the program itself
}

/// Load address of the program, the first object the loader reports.
const void* program_base() {
  static const void* const base = [] {
    const void* found = nullptr;
    ::dl_iterate_phdr(
        [](dl_phdr_info* info, std::size_t, void* out) {
          // The first byte of the image: dladdr reports the same address for its symbols.
          std::uintptr_t lowest = ~std::uintptr_t{0};
          for (int i = 0; i < info->dlpi_phnum; ++i)
            if (info->dlpi_phdr[i].p_type == PT_LOAD && info->dlpi_phdr[i].p_vaddr < lowest)
              lowest = info->dlpi_phdr[i].p_vaddr;
          *static_cast<const void**>(out) =
              reinterpret_cast<const void*>(info->dlpi_addr + (lowest & ~std::uintptr_t{4095}));
          return 1;
        },
        &found);
    return found;
  }();
  return base;
}

using Causes = std::vector<RemoteError::Cause>;

/// The exceptions inside of `outer`, from the outermost on. More than sixteen are not believed.
void collect_nested(const std::exception& outer, Causes& causes) {
  if (causes.size() == 16) return;
  try {
    std::rethrow_if_nested(outer);
  } catch (const std::exception& inner) {
    causes.push_back({demangled(typeid(inner)), inner.what()});
    collect_nested(inner, causes);
  } catch (...) {
    const std::type_info* const type = abi::__cxa_current_exception_type();
    causes.push_back({type == nullptr ? "unknown" : demangled(*type), "no std::exception"});
  }
}

Error task_failed(std::string type_name, std::string what, Causes causes) {
  auto remote = std::make_shared<RemoteError>();
  remote->type_name = std::move(type_name);
  remote->what = std::move(what);
  for (const auto& cause : causes)
    remote->what.append("; caused by ").append(cause.type_name).append(": ").append(cause.what);
  remote->causes = std::move(causes);
  std::string text = remote->type_name + ": " + remote->what;
  return Error{Errc::task_failed, std::move(text), std::move(remote)};
}

}  // namespace

TaskNode::TaskNode(TaskFunction run) noexcept
    : function{run}, next{first_node.load(std::memory_order_relaxed)} {
  first_node.store(this, std::memory_order_release);
}

TaskId id_of_task(TaskFunction function) {
  const auto* address = reinterpret_cast<const std::byte*>(function);
  Dl_info info{};
  if (::dladdr(reinterpret_cast<const void*>(function), &info) == 0) return TaskId{};
  const auto* base = static_cast<const std::byte*>(info.dli_fbase);
  return TaskId{.module = base == program_base() ? 0 : hash_name(info.dli_fname),
                .offset = static_cast<std::uint64_t>(address - base)};
}

Result<TaskFunction> find_task(TaskId id) {
  static std::mutex mutex;
  static std::map<std::pair<std::uint32_t, std::uint64_t>, TaskFunction> known;
  static const TaskNode* seen = nullptr;
  const std::lock_guard lock{mutex};
  // Libraries that were loaded since the last call have put their tasks in front.
  const TaskNode* const first = first_node.load(std::memory_order_acquire);
  for (const TaskNode* node = first; node != seen; node = node->next) {
    const TaskId named = id_of_task(node->function);
    known.emplace(std::pair{named.module, named.offset}, node->function);
  }
  seen = first;
  if (const auto found = known.find({id.module, id.offset}); found != known.end())
    return found->second;
  return Error{Errc::not_found,
               "this process has no task at offset " + std::to_string(id.offset) + " of module " +
                   std::to_string(id.module) +
                   ": its library was loaded after the Runtime began, or the build differs"};
}

Error current_exception_as_error() {
  try {
    throw;
  } catch (const Exception& thrown) {
    return thrown.error();
  } catch (const std::exception& thrown) {
    Causes causes;
    collect_nested(thrown, causes);
    return task_failed(demangled(typeid(thrown)), thrown.what(), std::move(causes));
  } catch (...) {
    const std::type_info* type = abi::__cxa_current_exception_type();
    return task_failed(type == nullptr ? "unknown" : demangled(*type),
                       "no text: not a std::exception", {});
  }
}

Error current_exception_error() noexcept { return current_exception_as_error(); }

}  // namespace passel::inline v0::detail
