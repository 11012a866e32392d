// Layer pool: RemoteExecutor.
#include <passel/remote_executor.hpp>

#include <passel/parse_address.hpp>

#include "environment.hpp"

#include <array>
#include <utility>

namespace passel::inline v0 {
namespace {

/// The certificates that it names. Errors: invalid_argument when it names some of their files only.
Result<std::optional<Certificates>> certificates_in_environment() {
  const std::array files{std::pair{"PASSEL_CA_FILE", &Certificates::ca_file},
                         std::pair{"PASSEL_CERT_FILE", &Certificates::certificate_file},
                         std::pair{"PASSEL_CERT_KEY_FILE", &Certificates::key_file}};
  Certificates found;
  for (const auto& [name, member] : files) found.*member = detail::variable(name).value_or("");
  found.peer_name = detail::variable("PASSEL_PEER_NAME").value_or("");
  if (found == Certificates{}) return std::optional<Certificates>{};
  for (const auto& [name, member] : files) {
    if ((found.*member).empty())
      return Error{Errc::invalid_argument, std::string{name} +
                                               " is not set: certificates are in PASSEL_CA_FILE, "
                                               "PASSEL_CERT_FILE and PASSEL_CERT_KEY_FILE"};
  }
  return std::optional{std::move(found)};
}

}  // namespace

Result<RemoteExecutorOptions> RemoteExecutorOptions::from_environment() {
  using detail::variable;
  RemoteExecutorOptions options;
  const auto where = variable("PASSEL_CONNECT");
  if (!where) return Error{Errc::not_found, "PASSEL_CONNECT is not set: HOST:PORT of a server"};
  auto address = parse_address(*where);
  if (!address) return Error{address.error().code(), "PASSEL_CONNECT: " + address.error().what()};
  options.address = *std::move(address);
  PASSEL_TRY(options.certificates, certificates_in_environment());
  if (const auto path = variable("PASSEL_AUTHKEY_FILE")) {
    if (options.certificates) {
      return Error{Errc::invalid_argument,
                   "PASSEL_AUTHKEY_FILE and PASSEL_CERT_FILE are both set: certificates are "
                   "instead of a key"};
    }
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
