// Layer pool: RemoteExecutor.
#include <passel/remote_executor.hpp>

#include <passel/parse_address.hpp>

#include "environment.hpp"

namespace passel::inline v0 {

Result<RemoteExecutorOptions> RemoteExecutorOptions::from_environment() {
  using detail::variable;
  RemoteExecutorOptions options;
  const auto where = variable("PASSEL_CONNECT");
  if (!where) return Error{Errc::not_found, "PASSEL_CONNECT is not set: HOST:PORT of a server"};
  auto address = parse_address(*where);
  if (!address) return Error{address.error().code(), "PASSEL_CONNECT: " + address.error().what()};
  options.address = *std::move(address);
  if (const auto path = variable("PASSEL_AUTHKEY_FILE")) {
    PASSEL_TRY(options.authkey, AuthKey::load(*path));
  }
  options.pool = variable("PASSEL_POOL").value_or("");
  return options;
}

Result<RemoteExecutor> RemoteExecutor::connect(Options options) {
  PASSEL_TRY(auto crew, detail::RemoteCrew::connect(std::move(options)));
  return RemoteExecutor{std::move(crew)};
}

RemoteExecutor& RemoteExecutor::operator=(RemoteExecutor&& other) noexcept {
  RemoteExecutor taken{std::move(other)};
  std::swap(crew_, taken.crew_);
  return *this;
}

RemoteExecutor::~RemoteExecutor() {
  if (crew_) static_cast<void>(shutdown().is_ok());
}

Result<void> RemoteExecutor::shutdown(ShutdownOptions options) {
  return shutdown(options, detail::Deadline::never());
}

Result<void> RemoteExecutor::shutdown(ShutdownOptions options, detail::Deadline deadline) {
  crew_->close(options.cancel_futures);
  if (!options.wait) return {};
  return crew_->join(deadline);
}

}  // namespace passel::inline v0
