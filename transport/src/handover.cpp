// Layer transport: what an executed copy of the program is told about the part it has to play.
#include "guardian_wire.hpp"

#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdlib>
#include <cstring>

// glibc 2.36 forgot the linkage of these declarations.
extern "C" {
#include <sys/pidfd.h>
}

namespace passel::inline v0::detail {
namespace {

constexpr std::uint64_t handover_magic = 0x6c65737361703176;  // "v1passel"

/// Fixed part of the memfd that a new image reads. The build id stands first, so that a copy built
/// from something else finds out before it trusts the layout of the rest.
struct Handover {
  std::uint64_t magic = handover_magic;
  char build[64]{};
  std::uint32_t is_guardian = 0;
  std::uint32_t flags = 0;
  std::uint32_t log_settings = 0;
  ProcessId parent;
  TaskId task;
  std::int32_t control = -1;
  std::int32_t parent_pidfd = -1;
  std::uint32_t name_size = 0;
  std::uint32_t parent_name_size = 0;
  std::uint32_t descriptor_count = 0;
  std::uint64_t args_size = 0;
};

Handover make_handover() {
  Handover handover;
  build_id().copy(handover.build, sizeof handover.build - 1);
  return handover;
}

void append(std::vector<std::byte>& bytes, const void* data, std::size_t size) {
  const auto* first = static_cast<const std::byte*>(data);
  bytes.insert(bytes.end(), first, first + size);
}

/// Reads consecutive parts of a handover; refuses to read past its end.
class Cursor {
 public:
  explicit Cursor(std::span<const std::byte> bytes) : bytes_{bytes} {}
  bool read(void* to, std::size_t size) {
    if (size > bytes_.size()) return false;
    if (size != 0) std::memcpy(to, bytes_.data(), size);
    bytes_ = bytes_.subspan(size);
    return true;
  }
  bool read_text(std::string& to, std::size_t size) {
    if (size > bytes_.size()) return false;
    to.assign(reinterpret_cast<const char*>(bytes_.data()), size);
    bytes_ = bytes_.subspan(size);
    return true;
  }
  [[nodiscard]] std::span<const std::byte> rest() const { return bytes_; }

 private:
  std::span<const std::byte> bytes_;
};

Descriptor adopt_descriptor(std::int32_t fd) {
  if (fd >= 0) ::fcntl(fd, F_SETFD, FD_CLOEXEC);
  return Descriptor{fd};
}

Result<ChildStart> read_child(const Handover& handover, Cursor cursor) {
  const auto torn = [] { return Error{Errc::malformed, "the handover to a new process is torn"}; };
  ChildStart start;
  std::vector<std::int32_t> fds(handover.descriptor_count);
  if (!cursor.read_text(start.name, handover.name_size) ||
      !cursor.read_text(start.parent_name, handover.parent_name_size) ||
      !cursor.read(fds.data(), fds.size() * sizeof(std::int32_t)) ||
      cursor.rest().size() != handover.args_size)
    return torn();
  start.parent = handover.parent;
  start.task = handover.task;
  start.daemon = (handover.flags & GuardianHeader::daemon) != 0;
  start.ignore_interrupt = (handover.flags & GuardianHeader::ignore_interrupt) != 0;
  start.log_settings = handover.log_settings;
  start.args.assign(cursor.rest().begin(), cursor.rest().end());
  for (const std::int32_t fd : fds)
    start.descriptors.push_back(std::make_shared<Descriptor>(adopt_descriptor(fd)));
  start.control = adopt_descriptor(handover.control);
  start.parent_pidfd = adopt_descriptor(handover.parent_pidfd);
  return start;
}

std::string read_build_id() {
  std::string id;
  ::dl_iterate_phdr(
      [](dl_phdr_info* info, std::size_t, void* out) {
        for (int i = 0; i < info->dlpi_phnum; ++i) {
          const ElfW(Phdr)& header = info->dlpi_phdr[i];
          if (header.p_type != PT_NOTE) continue;
          const auto* at = reinterpret_cast<const std::byte*>(info->dlpi_addr + header.p_vaddr);
          const std::byte* end = at + header.p_memsz;
          while (at + sizeof(ElfW(Nhdr)) <= end) {
            ElfW(Nhdr) note;
            std::memcpy(&note, at, sizeof note);
            const std::byte* name = at + sizeof note;
            const std::byte* text = name + ((note.n_namesz + 3U) & ~3U);
            if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == 4) {
              for (std::uint32_t k = 0; k < note.n_descsz; ++k) {
                constexpr char digits[] = "0123456789abcdef";
                const auto value = std::to_integer<unsigned>(text[k]);
                *static_cast<std::string*>(out) += {digits[value >> 4], digits[value & 15]};
              }
              return 1;
            }
            at = text + ((note.n_descsz + 3U) & ~3U);
          }
        }
        return 1;  // only the first object, the program itself
      },
      &id);
  if (id.empty()) {
    struct stat status {};
    if (::stat("/proc/self/exe", &status) == 0)
      id = std::to_string(status.st_ino) + "-" + std::to_string(status.st_size) + "-" +
           std::to_string(status.st_mtim.tv_sec) + "." + std::to_string(status.st_mtim.tv_nsec);
  }
  return id.substr(0, 63);
}

}  // namespace

const std::string& build_id() {
  static const std::string id = read_build_id();
  return id;
}

Result<Descriptor> write_handover(const ChildStart& start) {
  Handover handover = make_handover();
  handover.flags = (start.daemon ? GuardianHeader::daemon : 0) |
                   (start.ignore_interrupt ? GuardianHeader::ignore_interrupt : 0);
  handover.log_settings = start.log_settings;
  handover.parent = start.parent;
  handover.task = start.task;
  handover.control = start.control.get();
  handover.parent_pidfd = start.parent_pidfd.get();
  handover.name_size = static_cast<std::uint32_t>(start.name.size());
  handover.parent_name_size = static_cast<std::uint32_t>(start.parent_name.size());
  handover.descriptor_count = static_cast<std::uint32_t>(start.descriptors.size());
  handover.args_size = start.args.size();
  std::vector<std::byte> bytes;
  append(bytes, &handover, sizeof handover);
  append(bytes, start.name.data(), start.name.size());
  append(bytes, start.parent_name.data(), start.parent_name.size());
  for (const auto& descriptor : start.descriptors) {
    const std::int32_t fd = descriptor->get();
    append(bytes, &fd, sizeof fd);
  }
  append(bytes, start.args.data(), start.args.size());
  return bytes_to_memfd("passel-handover", bytes);
}

Result<GuardianProcess> execute_guardian(const std::vector<std::string>& argv) {
  PASSEL_TRY(auto line, control_pair());
  Handover handover = make_handover();
  handover.is_guardian = 1;
  handover.parent = this_process();
  handover.control = line.second.get();
  std::vector<std::byte> bytes;
  append(bytes, &handover, sizeof handover);
  PASSEL_TRY(Descriptor memfd, bytes_to_memfd("passel-handover", bytes));

  std::vector<std::string> environment;
  for (char** entry = environ; *entry != nullptr; ++entry) environment.emplace_back(*entry);
  environment.push_back(std::string{handover_variable} + "=" + std::to_string(memfd.get()));
  std::vector<char*> env_pointers;
  for (std::string& entry : environment) env_pointers.push_back(entry.data());
  env_pointers.push_back(nullptr);
  std::vector<char*> arguments;
  for (const std::string& arg : argv) arguments.push_back(const_cast<char*>(arg.c_str()));
  arguments.push_back(nullptr);

  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  // dup2 onto itself clears close-on-exec for the new image only.
  ::posix_spawn_file_actions_adddup2(&actions, memfd.get(), memfd.get());
  ::posix_spawn_file_actions_adddup2(&actions, line.second.get(), line.second.get());
  pid_t pid = 0;
  const int failed = ::posix_spawn(&pid, "/proc/self/exe", &actions, nullptr, arguments.data(),
                                   env_pointers.data());
  ::posix_spawn_file_actions_destroy(&actions);
  if (failed != 0) return system_error("posix_spawn(/proc/self/exe)", failed);
  return GuardianProcess{.process = process_with_pid(pid), .control = std::move(line.first)};
}

Result<InheritedRole> inherited_role() {
  InheritedRole role;
  const char* value = std::getenv(handover_variable);
  if (value == nullptr) return role;
  const std::string text{value};
  ::unsetenv(handover_variable);
  int fd = -1;
  const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), fd);
  if (failed != std::errc{} || end != text.data() + text.size() || fd < 3)
    return Error{Errc::malformed,
                 std::string{handover_variable} + "=" + text + " names no descriptor"};
  const Descriptor memfd = adopt_descriptor(fd);
  PASSEL_TRY(const std::vector<std::byte> bytes, memfd_to_bytes(memfd));
  Cursor cursor{bytes};
  Handover handover;
  if (!cursor.read(&handover, sizeof handover) || handover.magic != handover_magic)
    return Error{Errc::malformed, std::string{handover_variable} + "=" + text + " is no handover"};
  handover.build[sizeof handover.build - 1] = '\0';
  if (build_id() != handover.build)
    return Error{Errc::version_mismatch, "this program is build " + build_id() +
                                             ", the one that started it is build " +
                                             handover.build};
  if (handover.is_guardian != 0) {
    role.guardian_control = adopt_descriptor(handover.control);
    role.guardian_root = handover.parent;
    return role;
  }
  PASSEL_TRY(role.child, read_child(handover, cursor));
  return role;
}

int count_threads() noexcept {
  int threads = 0;
  if (std::FILE* file = std::fopen("/proc/self/status", "re")) {
    char line[128];
    while (std::fgets(line, sizeof line, file) != nullptr)
      if (std::sscanf(line, "Threads: %d", &threads) == 1) break;
    std::fclose(file);
  }
#if defined(__SANITIZE_THREAD__)
  --threads;  // the sanitizer's own background thread, which it handles across fork itself
#endif
  return threads;
}

Result<Descriptor> open_process(std::int32_t pid) {
  const int fd = ::pidfd_open(pid, 0);
  if (fd < 0) return system_error("pidfd_open(" + std::to_string(pid) + ")", errno);
  return Descriptor{fd};
}

Result<void> signal_process(const Descriptor& pidfd, int signal) {
  if (::pidfd_send_signal(pidfd.get(), signal, nullptr, 0) == 0) return {};
  return system_error("pidfd_send_signal", errno);
}

Result<std::pair<Descriptor, Descriptor>> control_pair() {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
    return system_error("socketpair", errno);
  return std::pair{Descriptor{ends[0]}, Descriptor{ends[1]}};
}

}  // namespace passel::inline v0::detail
