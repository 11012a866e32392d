// Layer transport: shared memory of this library, looked at from outside.
#pragma once

#include <passel/detail/descriptor.hpp>

#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <vector>

namespace passel::inline v0::detail {

/// A Segment that other processes have open, read through /proc without their doing: they need not
/// run, so that one can look at processes that are stuck or stopped. Nothing is mapped or written,
/// no lock is taken: what is read may be changed at the same time and is to be judged as such.
class PASSEL_API ForeignMemory {
 public:
  /// The Segments that any of these processes has open, each once. Processes that may not be looked
  /// at (of other users) or that are gone are left out.
  [[nodiscard]] static std::vector<ForeignMemory> find(const std::vector<int>& pids);

  [[nodiscard]] std::uint64_t kind() const noexcept { return kind_; }
  [[nodiscard]] std::uint64_t size() const noexcept { return size_; }  ///< bytes behind the header
  [[nodiscard]] std::uint64_t inode() const noexcept { return inode_; }
  /// Who has it open, in the order asked for.
  [[nodiscard]] const std::vector<int>& pids() const noexcept { return pids_; }

  /// Copies bytes from the data of the segment. False where it does not reach that far.
  [[nodiscard]] bool read(std::uint64_t offset, void* to, std::size_t length) const noexcept;
  /// The same into an object that has room for any bytes.
  template <class T>
  [[nodiscard]] bool read(std::uint64_t offset, std::vector<T>& to) const noexcept {
    static_assert(std::is_trivially_copyable_v<T>);
    return read(offset, to.data(), to.size() * sizeof(T));
  }

 private:
  ForeignMemory(Descriptor descriptor, std::uint64_t inode) noexcept
      : descriptor_{std::move(descriptor)}, inode_{inode} {}

  Descriptor descriptor_;
  std::uint64_t inode_ = 0;
  std::uint64_t kind_ = 0;
  std::uint64_t size_ = 0;
  std::vector<int> pids_;
};

/// Room for a copy of a structure that lies in shared memory, atomics included.
template <class T>
class MemoryCopy {
 public:
  [[nodiscard]] void* bytes() noexcept { return bytes_; }
  [[nodiscard]] const T& operator*() const noexcept { return *reinterpret_cast<const T*>(bytes_); }
  [[nodiscard]] const T* operator->() const noexcept { return &**this; }
  /// False where the memory does not reach that far.
  [[nodiscard]] bool take(const ForeignMemory& memory, std::uint64_t offset) noexcept {
    return memory.read(offset, bytes_, sizeof(T));
  }

 private:
  alignas(T) std::byte bytes_[sizeof(T)]{};
};

}  // namespace passel::inline v0::detail
