// Layer transport: the parts of Result and Error that need not be in every user's object file.
#include <passel/result.hpp>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <system_error>

namespace passel::inline v0 {

ErrorDetail::~ErrorDetail() = default;
WorkerLost::~WorkerLost() = default;

std::string_view to_string(LossCause cause) noexcept {
  switch (cause) {
    case LossCause::exited: return "exited";
    case LossCause::crashed: return "crashed";
    case LossCause::killed: return "killed";
    case LossCause::out_of_memory: return "out_of_memory";
    case LossCause::overtime: return "overtime";
  }
  return "unknown";
}

RemoteError::~RemoteError() = default;

std::string_view to_string(Errc code) noexcept {
  switch (code) {
    case Errc::closed: return "closed";
    case Errc::timeout: return "timeout";
    case Errc::full: return "full";
    case Errc::empty: return "empty";
    case Errc::cancelled: return "cancelled";
    case Errc::broken: return "broken";
    case Errc::refused: return "refused";
    case Errc::auth_failed: return "auth_failed";
    case Errc::version_mismatch: return "version_mismatch";
    case Errc::peer_lost: return "peer_lost";
    case Errc::worker_lost: return "worker_lost";
    case Errc::pool_failed: return "pool_failed";
    case Errc::task_failed: return "task_failed";
    case Errc::too_large: return "too_large";
    case Errc::type_mismatch: return "type_mismatch";
    case Errc::malformed: return "malformed";
    case Errc::invalid_argument: return "invalid_argument";
    case Errc::invalid_state: return "invalid_state";
    case Errc::not_found: return "not_found";
    case Errc::no_space: return "no_space";
    case Errc::unsupported: return "unsupported";
    case Errc::abandoned: return "abandoned";
    case Errc::deadlock: return "deadlock";
    case Errc::stale_object: return "stale_object";
    case Errc::system: return "system";
  }
  return "unknown";
}

std::string Error::to_string() const {
  std::string text{passel::to_string(code_)};
  if (!what_.empty()) text.append(": ").append(what_);
  return text;
}

Exception::Exception(Error error)
    : std::runtime_error{error.to_string()}, error_{std::move(error)} {}
Exception::~Exception() = default;

namespace detail {

void throw_error(const Error& error) { throw Exception{error}; }

void throw_error(const Error& error, std::string_view why) {
  throw Exception{
      Error{error.code(), std::string{why} + ": " + error.what(), error.detail_pointer()}};
}

void bad_result_access(const Error* error) noexcept {
  if (error != nullptr)
    std::fprintf(stderr, "passel: value of a failed Result was used: %s\n",
                 error->to_string().c_str());
  else
    std::fputs("passel: error() of a Result that holds a value was used\n", stderr);
  std::abort();
}

Error system_error(std::string_view call, int error_number) {
  const bool no_space = error_number == ENOMEM || error_number == EMFILE ||
                        error_number == ENFILE || error_number == ENOSPC;
  return Error{no_space ? Errc::no_space : Errc::system,
               std::string{call} + ": " + std::generic_category().message(error_number)};
}

}  // namespace detail
}  // namespace passel::inline v0
