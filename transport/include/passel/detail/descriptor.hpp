// Layer transport: one owned file descriptor.
#pragma once

#include <passel/result.hpp>

#include <utility>

namespace passel::inline v0::detail {

/// Owns one file descriptor and closes it. Move-only; not for use by several threads at once.
class PASSEL_API Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int fd) noexcept : fd_{fd} {}
  Descriptor(Descriptor&& other) noexcept : fd_{std::exchange(other.fd_, -1)} {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    if (this != &other) {
      reset();
      fd_ = std::exchange(other.fd_, -1);
    }
    return *this;
  }
  ~Descriptor() { reset(); }

  /// A second descriptor for the same open file, close-on-exec. Errors: no_space when the process
  /// has no more of them.
  [[nodiscard]] static Result<Descriptor> duplicate(int fd);

  [[nodiscard]] int get() const noexcept { return fd_; }
  [[nodiscard]] explicit operator bool() const noexcept { return fd_ >= 0; }
  /// Gives up ownership.
  [[nodiscard]] int release() noexcept { return std::exchange(fd_, -1); }
  void reset() noexcept;

 private:
  int fd_ = -1;
};

}  // namespace passel::inline v0::detail
