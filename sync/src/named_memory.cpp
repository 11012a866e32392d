// Layer sync: shared memory that is found by the label of its descriptor.
#include "named_memory.hpp"

#include <passel/detail/futex.hpp>
#include <passel/shared_memory.hpp>

#include <dirent.h>
#include <fcntl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>
#include <algorithm>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstring>
#include <functional>
#include <limits>
#include <optional>

namespace passel::inline v0::detail {
namespace {

constexpr std::uint64_t memory_kind = 0x70736c'736d0001;  // "psl" "sm", version 1
constexpr std::string_view label_prefix = "passel.shm:";
constexpr std::string_view automatic_prefix = "psm_";
constexpr std::size_t page = 4096;
// How long a claimer may take between making its memory and deciding; a search is far quicker.
constexpr auto claim_limit = std::chrono::seconds{1};
constexpr auto claim_step = std::chrono::milliseconds{10};
// Below this many bytes it is not worth while to ask what there is.
constexpr std::size_t check_from = std::size_t{1} << 20;
static_assert(SharedMemory::name_limit <= sizeof MemoryTrailer::name);
static_assert(label_prefix.size() + SharedMemory::name_limit <= 249, "the kernel's limit");

struct CloseDirectory {
  void operator()(DIR* directory) const noexcept { ::closedir(directory); }
};
using Directory = std::unique_ptr<DIR, CloseDirectory>;

/// Null, without an error, for what is gone or none of our business.
Result<Directory> open_directory(const std::string& path) {
  Directory directory{::opendir(path.c_str())};
  if (directory || errno == ENOENT || errno == ESRCH || errno == EACCES || errno == EPERM)
    return directory;
  return system_error("opendir(" + path + ")", errno);
}

std::optional<int> to_number(std::string_view text) {
  int number = 0;
  const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (failed != std::errc{} || end != text.data() + text.size()) return {};
  return number;
}

bool links_to(int directory, const char* entry, std::string_view target) {
  std::array<char, 320> link;
  const ssize_t length = ::readlinkat(directory, entry, link.data(), link.size());
  return length >= 0 && std::string_view{link.data(), static_cast<std::size_t>(length)} == target;
}

bool vanished(int error) {
  return error == ENOENT || error == ESRCH || error == EACCES || error == EPERM;
}

/// A descriptor of our own for entry `name` of /proc/PID/fd, if it still is what was looked for and
/// this user made it; an empty one otherwise.
Result<Descriptor> take_entry(int directory, const char* name, std::string_view target) {
  // First a reference that cannot become another file between looking at it and opening it.
  const Descriptor seen{::openat(directory, name, O_PATH | O_CLOEXEC)};
  if (!seen) {
    if (vanished(errno)) return Descriptor{};
    return system_error("open(shared memory of another process)", errno);
  }
  struct stat status {};
  const std::string self = "/proc/self/fd/" + std::to_string(seen.get());
  if (::fstat(seen.get(), &status) < 0 || status.st_uid != ::geteuid() ||
      !links_to(AT_FDCWD, self.c_str(), target)) {
    return Descriptor{};
  }
  Descriptor opened{::open(self.c_str(), O_RDWR | O_CLOEXEC)};
  if (!opened && !vanished(errno))
    return system_error("open(shared memory of another process)", errno);
  return opened;
}

using Visit = std::function<bool(Segment&)>;  // returns whether to go on

/// Shows `visit` the memory with this label that process `pid` has open. Returns whether to go on.
Result<bool> visit_process(int pid, std::string_view target, const Visit& visit) {
  PASSEL_TRY(const Directory directory, open_directory("/proc/" + std::to_string(pid) + "/fd"));
  if (!directory) return true;
  const int fd = ::dirfd(directory.get());
  while (const dirent* entry = ::readdir(directory.get())) {
    if (!links_to(fd, entry->d_name, target)) continue;
    PASSEL_TRY(Descriptor found, take_entry(fd, entry->d_name, target));
    if (!found) continue;
    auto memory = open_named_memory(std::move(found));
    // Not finished, or somebody else's file under our label.
    if (!memory && memory.error() == Errc::malformed) continue;
    if (!memory) return memory.error();
    if (!visit(*memory)) return false;
  }
  return true;
}

/// The process that an automatic name says it was made in.
std::optional<int> maker_of(std::string_view name) {
  if (!name.starts_with(automatic_prefix)) return {};
  name.remove_prefix(automatic_prefix.size());
  return to_number(name.substr(0, name.find('_')));
}

/// Shows `visit` all memory with this name, some of it more than once: first where it was made,
/// then what this process has, then everybody else's.
Result<void> visit_all(std::string_view name, const Visit& visit) {
  const std::string target =
      "/memfd:" + std::string{label_prefix} + std::string{name} + " (deleted)";
  const int self = ::getpid();
  const int maker = maker_of(name).value_or(self);
  PASSEL_TRY(bool go_on, visit_process(maker, target, visit));
  if (go_on && maker != self) {
    PASSEL_TRY(const bool still, visit_process(self, target, visit));
    go_on = still;
  }
  if (!go_on) return {};
  PASSEL_TRY(const Directory processes, open_directory("/proc"));
  if (!processes) return Error{Errc::unsupported, "no /proc to look for shared memory in"};
  while (const dirent* entry = ::readdir(processes.get())) {
    const auto pid = to_number(entry->d_name);
    if (!pid || *pid == self || *pid == maker) continue;
    PASSEL_TRY(const bool still, visit_process(*pid, target, visit));
    if (!still) return {};
  }
  return {};
}

NameState state_of(const Segment& memory) noexcept {
  return static_cast<NameState>(trailer_of(memory).state.load(std::memory_order_acquire));
}

/// Waits until a claimer has decided or is dead. Returns false when it takes too long.
bool wait_for_claimer(const Segment& memory) {
  MemoryTrailer& trailer = trailer_of(memory);
  const Deadline deadline = Deadline::after(claim_limit);
  const auto claiming = static_cast<std::uint32_t>(NameState::claiming);
  while (trailer.state.load(std::memory_order_acquire) == claiming) {
    // A dead one wakes nobody.
    if (futex_wait(trailer.state, claiming, Deadline::after(claim_step), FutexScope::host))
      continue;
    if (!is_running(trailer.claimer)) {
      std::uint32_t expected = claiming;
      trailer.state.compare_exchange_strong(expected, static_cast<std::uint32_t>(NameState::gone));
    } else if (deadline.passed()) {
      return false;
    }
  }
  return true;
}

Error name_taken(std::string_view name) {
  return Error{Errc::refused, "shared memory named '" + std::string{name} + "' exists already"};
}

Error too_much(std::size_t size, std::uint64_t room) {
  return Error{Errc::no_space, std::to_string(size) + " bytes of shared memory are more than the " +
                                   std::to_string(room) + " bytes that are available"};
}

}  // namespace

Result<void> check_memory_name(std::string_view name) {
  const auto bad = [name](const std::string& why) {
    return Error{Errc::invalid_argument, "a name of shared memory " + why + ": '" +
                                             std::string{name.substr(0, name.find('\0'))} + "'"};
  };
  if (name.empty()) return bad("must not be empty");
  if (name.size() > SharedMemory::name_limit) {
    return bad("has at most " + std::to_string(SharedMemory::name_limit) + " bytes, not " +
               std::to_string(name.size()));
  }
  if (name.find('\0') != name.npos) return bad("must not have a NUL in it");
  if (name.find('/') != name.npos) return bad("must not have a slash in it");
  return {};
}

std::uint64_t new_ticket() {
  std::uint64_t ticket = 0;
  // Up to 256 bytes it neither fails nor stops halfway once the system has started.
  while (::getrandom(&ticket, sizeof ticket, 0) != sizeof ticket) continue;
  return ticket;
}

std::string automatic_memory_name(std::uint64_t ticket) {
  std::array<char, 16> digits;
  const char* const end =
      std::to_chars(digits.data(), digits.data() + digits.size(), ticket, 16).ptr;
  return std::string{automatic_prefix} + std::to_string(::getpid()) + "_" +
         std::string{static_cast<const char*>(digits.data()), end};
}

MemoryTrailer& trailer_of(const Segment& memory) noexcept {
  return *reinterpret_cast<MemoryTrailer*>(memory.data() + memory.size() - sizeof(MemoryTrailer));
}

void set_state(MemoryTrailer& trailer, NameState state) noexcept {
  trailer.state.store(static_cast<std::uint32_t>(state), std::memory_order_seq_cst);
  futex_wake(trailer.state, std::numeric_limits<int>::max(), FutexScope::host);
}

Result<Segment> make_named_memory(std::string_view name, std::size_t size, std::uint64_t ticket) {
  if (size > std::numeric_limits<std::ptrdiff_t>::max() - 2 * page) {
    return Error{Errc::invalid_argument,
                 std::to_string(size) + " bytes of shared memory cannot be addressed"};
  }
  if (size >= check_from) {
    const std::uint64_t room = available_memory();
    if (size > room) return too_much(size, room);
  }
  const std::string label = std::string{label_prefix} + std::string{name};
  PASSEL_TRY(Segment memory,
             Segment::create(label.c_str(), memory_kind, size + sizeof(MemoryTrailer)));
  PASSEL_CHECK(memory.populate(0, memory.size()));
  MemoryTrailer& trailer = trailer_of(memory);
  trailer.size = size;
  trailer.ticket = ticket;
  trailer.claimer = this_process();
  trailer.name_length = static_cast<std::uint32_t>(name.size());
  std::copy(name.begin(), name.end(), trailer.name.begin());
  set_state(trailer, NameState::claiming);
  return memory;
}

Result<void> claim_name(const Segment& memory, std::string_view name) {
  MemoryTrailer& own = trailer_of(memory);
  bool taken = false;
  const auto look = [&](const Segment& other) {
    const MemoryTrailer& theirs = trailer_of(other);
    if (theirs.ticket == own.ticket) return true;
    if (state_of(other) == NameState::claiming && theirs.ticket > own.ticket) {
      // One that does not decide is taken for one that has got it.
      taken = !wait_for_claimer(other) || state_of(other) == NameState::named;
    } else {
      taken = state_of(other) == NameState::claiming || state_of(other) == NameState::named;
    }
    return !taken;
  };
  const Result<void> looked = visit_all(name, look);
  set_state(own, looked.is_ok() && !taken ? NameState::named : NameState::gone);
  if (!looked) return looked.error();
  if (taken) return name_taken(name);
  return {};
}

Result<Segment> find_named_memory(std::string_view name) {
  Segment found;
  const auto look = [&found](Segment& memory) {
    if (state_of(memory) == NameState::claiming) static_cast<void>(wait_for_claimer(memory));
    if (state_of(memory) != NameState::named) return true;
    found = std::move(memory);
    return false;
  };
  PASSEL_CHECK(visit_all(name, look));
  if (!found) return Error{Errc::not_found, "no shared memory named '" + std::string{name} + "'"};
  return found;
}

Result<Segment> open_named_memory(Descriptor descriptor) {
  PASSEL_TRY(Segment memory, Segment::attach(std::move(descriptor), memory_kind));
  // All of it has memory behind it before anybody looks inside: there is no SIGBUS here.
  struct stat status {};
  if (::fstat(memory.descriptor().get(), &status) < 0 ||
      static_cast<std::uint64_t>(status.st_blocks) * 512 < memory.size() ||
      memory.size() < sizeof(MemoryTrailer)) {
    return Error{Errc::malformed, "shared memory that is not all there"};
  }
  const MemoryTrailer& trailer = trailer_of(memory);
  if (state_of(memory) == NameState::unfinished || trailer.name_length > SharedMemory::name_limit ||
      trailer.size > memory.size() - sizeof(MemoryTrailer)) {
    return Error{Errc::malformed, "shared memory whose trailer makes no sense"};
  }
  return memory;
}

}  // namespace passel::inline v0::detail
