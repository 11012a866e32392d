// Layer transport: a caller's timeout as a deadline.
#include <passel/detail/checked_deadline.hpp>

namespace passel::inline v0::detail {

Error negative_timeout() {
  return {Errc::invalid_argument, "'timeout' must be a non-negative number"};
}

}  // namespace passel::inline v0::detail
