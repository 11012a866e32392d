// Layer transport: a piece of shared memory without a name, handed over as a descriptor.
#include <passel/detail/segment.hpp>

#include "segment_header.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cerrno>
#include <string>

namespace passel::inline v0::detail {
namespace {

constexpr std::size_t page = 4096;
constexpr std::size_t header_size = segment_header_size;
constexpr int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;

std::size_t round_up(std::size_t n) { return (n + page - 1) / page * page; }

Result<void> allocate(int fd, std::size_t offset, std::size_t length) {
  int result;
  do {
    result = ::fallocate(fd, 0, static_cast<off_t>(offset), static_cast<off_t>(length));
  } while (result < 0 && errno == EINTR);
  if (result == 0) return {};
  if (errno == ENOSPC || errno == ENOMEM) {
    return Error{Errc::no_space,
                 "no memory for " + std::to_string(length) + " more bytes of shared memory"};
  }
  return system_error("fallocate(" + std::to_string(length) + " bytes of shared memory)", errno);
}

}  // namespace

Segment::Segment(Segment&& other) noexcept
    : descriptor_{std::move(other.descriptor_)},
      base_{std::exchange(other.base_, nullptr)},
      whole_{std::exchange(other.whole_, 0)} {}

Segment& Segment::operator=(Segment&& other) noexcept {
  if (this != &other) {
    unmap();
    descriptor_ = std::move(other.descriptor_);
    base_ = std::exchange(other.base_, nullptr);
    whole_ = std::exchange(other.whole_, 0);
  }
  return *this;
}

Segment::~Segment() { unmap(); }

void Segment::unmap() noexcept {
  if (base_ != nullptr) ::munmap(base_, whole_);
  base_ = nullptr;
  whole_ = 0;
}

Result<Segment> Segment::map(Descriptor descriptor, std::size_t whole) {
  void* base = ::mmap(nullptr, whole, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE,
                      descriptor.get(), 0);
  if (base == MAP_FAILED) {
    if (errno == ENOMEM) {
      return Error{Errc::no_space,
                   "no address space for " + std::to_string(whole) + " bytes of shared memory"};
    }
    return system_error("mmap(" + std::to_string(whole) + " bytes of shared memory)", errno);
  }
  // A crash dump of one process should not hold what all processes share.
  ::madvise(base, whole, MADV_DONTDUMP);
  Segment segment;
  segment.descriptor_ = std::move(descriptor);
  segment.base_ = static_cast<std::byte*>(base);
  segment.whole_ = whole;
  return segment;
}

Result<Segment> Segment::create(const char* label, std::uint64_t kind, std::size_t size) {
  const std::size_t whole = header_size + round_up(size);
  if (whole < size) {
    return Error{Errc::invalid_argument,
                 std::to_string(size) + " bytes of shared memory are too many"};
  }
  // Growing a file beyond RLIMIT_FSIZE would raise SIGXFSZ: ask first.
  rlimit limit{};
  if (::getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur < whole) {
    return Error{Errc::no_space, "shared memory of " + std::to_string(whole) +
                                     " bytes is over the file size limit (RLIMIT_FSIZE) of " +
                                     std::to_string(limit.rlim_cur)};
  }
  Descriptor descriptor{::memfd_create(label, MFD_CLOEXEC | MFD_ALLOW_SEALING)};
  if (!descriptor) return system_error("memfd_create", errno);
  if (::ftruncate(descriptor.get(), static_cast<off_t>(whole)) < 0) {
    return system_error("ftruncate(shared memory, " + std::to_string(whole) + ")", errno);
  }
  PASSEL_CHECK(allocate(descriptor.get(), 0, header_size));
  if (::fcntl(descriptor.get(), F_ADD_SEALS, seals) < 0)
    return system_error("fcntl(F_ADD_SEALS)", errno);
  PASSEL_TRY(Segment segment, map(std::move(descriptor), whole));
  *reinterpret_cast<SegmentHeader*>(segment.base_) =
      SegmentHeader{.magic = segment_magic, .kind = kind, .size = whole};
  return segment;
}

Result<Segment> Segment::attach(Descriptor descriptor, std::uint64_t kind) {
  const int present = ::fcntl(descriptor.get(), F_GET_SEALS);
  if (present < 0 || (present & seals) != seals) {
    return Error{Errc::malformed, "descriptor " + std::to_string(descriptor.get()) +
                                      " is not sealed shared memory of this library"};
  }
  struct stat status {};
  if (::fstat(descriptor.get(), &status) < 0) return system_error("fstat(shared memory)", errno);
  const auto whole = static_cast<std::size_t>(status.st_size);
  SegmentHeader header{};
  const ssize_t got = ::pread(descriptor.get(), &header, sizeof header, 0);
  if (got != static_cast<ssize_t>(sizeof header) || header.magic != segment_magic) {
    return Error{Errc::malformed, "shared memory without the expected header"};
  }
  if (header.size != whole) {
    return Error{Errc::malformed, "shared memory of " + std::to_string(whole) +
                                      " bytes announces " + std::to_string(header.size)};
  }
  if (header.kind != kind) {
    return Error{Errc::malformed, "shared memory holds an object of kind " +
                                      std::to_string(header.kind) + ", expected " +
                                      std::to_string(kind)};
  }
  return map(std::move(descriptor), whole);
}

Result<void> Segment::populate(std::size_t offset, std::size_t length) {
  if (offset > size() || length > size() - offset) {
    return Error{Errc::invalid_argument, std::to_string(offset) + " + " + std::to_string(length) +
                                             " is outside of " + std::to_string(size()) +
                                             " bytes of shared memory"};
  }
  return allocate(descriptor_.get(), header_size + offset, length);
}

void Segment::release(std::size_t offset, std::size_t length) noexcept {
  static_cast<void>(::fallocate(descriptor_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                                static_cast<off_t>(header_size + offset),
                                static_cast<off_t>(length)));
}

std::byte* Segment::data() const noexcept { return base_ + header_size; }

std::size_t Segment::size() const noexcept { return whole_ - header_size; }

}  // namespace passel::inline v0::detail
