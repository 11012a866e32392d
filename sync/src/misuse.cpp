// Layer sync: the errors of calls that a primitive's state does not allow, in Python's words.
#include <passel/detail/misuse.hpp>

#include <string>

namespace passel::inline v0::detail {

Error not_locked() { return Error{Errc::invalid_state, "release unlocked lock"}; }

Error not_owner() { return Error{Errc::invalid_state, "cannot release un-acquired lock"}; }

Error lock_not_held(std::string_view doing) {
  return Error{Errc::invalid_state, "cannot " + std::string{doing} + " on un-acquired lock"};
}

Error released_too_often(std::uint64_t limit) {
  return Error{Errc::invalid_argument,
               "Semaphore released too many times: its limit is " + std::to_string(limit)};
}

Error handle_is_closed(std::string_view kind) {
  return Error{Errc::invalid_state, std::string{kind} + " is closed"};
}

}  // namespace passel::inline v0::detail
