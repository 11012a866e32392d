// Layer transport: shared memory of this library, looked at from outside.
#include <passel/detail/foreign_memory.hpp>

#include "segment_header.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <algorithm>
#include <memory>
#include <string>
#include <string_view>

namespace passel::inline v0::detail {
namespace {

constexpr std::string_view memory_file = "/memfd:passel";

bool links_to_memory(const std::string& path) {
  char target[64];
  const ssize_t length = ::readlink(path.c_str(), target, sizeof target);
  return length > 0 &&
         std::string_view{target, static_cast<std::size_t>(length)}.starts_with(memory_file);
}

/// Descriptors of the process that look like memory of this library, as paths.
std::vector<std::string> memory_files(int pid) {
  std::vector<std::string> paths;
  const std::string folder = "/proc/" + std::to_string(pid) + "/fd/";
  const std::unique_ptr<DIR, int (*)(DIR*)> entries{::opendir(folder.c_str()), &::closedir};
  if (!entries) return paths;
  while (const dirent* entry = ::readdir(entries.get())) {
    std::string path = folder + entry->d_name;
    // Who uses it may write; who can only read looks at it from outside, as we do.
    struct stat link {};
    if (links_to_memory(path) && ::lstat(path.c_str(), &link) == 0 && (link.st_mode & S_IWUSR) != 0)
      paths.push_back(std::move(path));
  }
  return paths;
}

/// A descriptor of our own, and the number of the file; an empty one where it is no memory (any
/// more).
Descriptor open_memory(const std::string& path, std::uint64_t& inode) {
  // First a reference that cannot become another file between looking at it and opening it.
  const Descriptor seen{::open(path.c_str(), O_PATH | O_CLOEXEC)};
  struct stat status {};
  const std::string self = "/proc/self/fd/" + std::to_string(seen.get());
  if (!seen || ::fstat(seen.get(), &status) != 0 || !links_to_memory(self)) return {};
  inode = status.st_ino;
  return Descriptor{::open(self.c_str(), O_RDONLY | O_CLOEXEC)};
}

}  // namespace

bool ForeignMemory::read(std::uint64_t offset, void* to, std::size_t length) const noexcept {
  if (offset > size_ || length > size_ - offset) return false;
  const ssize_t got =
      ::pread(descriptor_.get(), to, length, static_cast<off_t>(segment_header_size + offset));
  return got == static_cast<ssize_t>(length);
}

std::vector<ForeignMemory> ForeignMemory::find(const std::vector<int>& pids) {
  std::vector<ForeignMemory> found;
  for (const int pid : pids) {
    for (const std::string& path : memory_files(pid)) {
      std::uint64_t inode = 0;
      Descriptor opened = open_memory(path, inode);
      if (!opened) continue;
      auto known = std::find_if(found.begin(), found.end(), [inode](const ForeignMemory& memory) {
        return memory.inode_ == inode;
      });
      if (known == found.end()) {
        SegmentHeader header{};
        if (::pread(opened.get(), &header, sizeof header, 0) != sizeof header ||
            header.magic != segment_magic || header.size < segment_header_size) {
          continue;
        }
        ForeignMemory memory{std::move(opened), inode};
        memory.kind_ = header.kind;
        memory.size_ = header.size - segment_header_size;
        known = found.insert(found.end(), std::move(memory));
      }
      if (known->pids_.empty() || known->pids_.back() != pid) known->pids_.push_back(pid);
    }
  }
  return found;
}

}  // namespace passel::inline v0::detail
