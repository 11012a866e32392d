// Layer transport: processes that members of a family forked by themselves, and whose they are.
#pragma once

#include <passel/detail/guardian.hpp>

#include <sys/types.h>
#include <optional>
#include <vector>

namespace passel::inline v0::detail {

/// The children of the calling process, zombies included. The file is opened once, so that the list
/// can be had when there are no descriptors left.
class ChildList {
 public:
  ChildList();
  [[nodiscard]] std::vector<pid_t> read() const;

 private:
  Descriptor file_;
};

/// The pid of the member that `child` or one of its forebears was; empty when it bears no mark.
/// `child` must be a child of the calling process that was not waited for.
std::optional<pid_t> member_of(pid_t child) noexcept;

}  // namespace passel::inline v0::detail
