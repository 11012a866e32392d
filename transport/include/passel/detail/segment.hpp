// Layer transport: a piece of shared memory without a name, handed over as a descriptor.
#pragma once

#include <passel/detail/descriptor.hpp>

#include <cstddef>
#include <cstdint>

namespace passel::inline v0::detail {

/// Memory that several processes of this host map at once. It has no name anywhere (nothing is left
/// in /dev/shm when all processes are killed); its descriptor is the only way to it. Its size is an
/// address range: pages cost memory only after `populate`, so it can be far larger than what it
/// holds. It is sealed, so that no holder can shrink it under the others.
///
/// The memory starts with a small header of its own; users have `data()` of `size()` bytes behind
/// it, zeroed when new. Move-only; one thread at a time for construction and destruction,
/// `populate` from any thread or process.
class PASSEL_API Segment {
 public:
  Segment() = default;
  Segment(Segment&& other) noexcept;
  Segment& operator=(Segment&& other) noexcept;
  ~Segment();

  /// New memory of `size` bytes for objects of the given `kind` (any number that names the layout;
  /// `attach` asks for the same). `label` is what /proc/PID/maps shows. Errors: no_space, system.
  [[nodiscard]] static Result<Segment> create(const char* label, std::uint64_t kind,
                                              std::size_t size);
  /// Maps what another process created. Errors: malformed when the descriptor is no sealed memory
  /// file, or its size or kind is not what `create` wrote; the text says which.
  [[nodiscard]] static Result<Segment> attach(Descriptor descriptor, std::uint64_t kind);

  /// Makes sure that these bytes have memory behind them, so that touching them cannot fail later:
  /// running out is an error (no_space) here, never a SIGBUS there. Bytes that had memory keep
  /// their contents.
  [[nodiscard]] Result<void> populate(std::size_t offset, std::size_t length);
  /// Gives the memory of these bytes back to the system; they read as zero until populated again.
  /// Whole pages only.
  void release(std::size_t offset, std::size_t length) noexcept;
  /// Takes the memory out of this process and keeps the descriptor, by which it can be attached
  /// again. Nothing but `descriptor`, assignment and destruction is allowed after that.
  void unmap() noexcept;

  [[nodiscard]] std::byte* data() const noexcept;
  [[nodiscard]] std::size_t size() const noexcept;
  [[nodiscard]] const Descriptor& descriptor() const noexcept { return descriptor_; }
  [[nodiscard]] explicit operator bool() const noexcept { return base_ != nullptr; }

 private:
  static Result<Segment> map(Descriptor descriptor, std::size_t whole);

  Descriptor descriptor_;
  std::byte* base_ = nullptr;
  std::size_t whole_ = 0;
};

}  // namespace passel::inline v0::detail
