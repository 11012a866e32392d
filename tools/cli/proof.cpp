// Tool passel: what proves to the other side who one is: a key that both know, or certificates.
#include "proof.hpp"

#include <passel/authkey.hpp>
#include <passel/parse_address.hpp>

#include <CLI/CLI.hpp>

#include <algorithm>
#include <array>
#include <utility>

namespace passel_cli {

using passel::Certificates;
using passel::Errc;
using passel::Error;
using passel::Result;

void add_proof_options(CLI::App& command, ProofOptions& options) {
  Certificates& certificates = options.certificates;
  command
      .add_option("--key-file", options.key_file, "The key of server and clients (passel keygen)")
      ->envname("PASSEL_AUTHKEY_FILE");
  command
      .add_option("--ca", certificates.ca_file,
                  "Instead of a key, over TCP: the authorities that sign both sides' certificates")
      ->envname("PASSEL_CA_FILE");
  command
      .add_option("--cert", certificates.certificate_file,
                  "... one's own certificate, with its chain")
      ->envname("PASSEL_CERT_FILE");
  command
      .add_option("--cert-key", certificates.key_file,
                  "... its private key, which nobody else may read")
      ->envname("PASSEL_CERT_KEY_FILE");
  command
      .add_option("--peer-name", certificates.peer_name,
                  "... the name in the other side's certificate; a client expects the host that it "
                  "connects to, a server any name")
      ->envname("PASSEL_PEER_NAME");
}

void prefer_command_line(const CLI::App& command, ProofOptions& options) {
  const auto is_given = [given = command.parse_order()](const CLI::Option* option) {
    return std::find(given.begin(), given.end(), option) != given.end();
  };
  const bool has_key = is_given(command.get_option("--key-file"));
  const bool has_certificates =
      is_given(command.get_option("--ca")) || is_given(command.get_option("--cert")) ||
      is_given(command.get_option("--cert-key")) || is_given(command.get_option("--peer-name"));
  if (has_key && !has_certificates) options.certificates = {};
  if (has_certificates && !has_key) options.key_file.clear();
}

Result<void> check_proof(const ProofOptions& options) {
  const Certificates& given = options.certificates;
  if (given == Certificates{}) return {};
  if (!options.key_file.empty())
    return Error{Errc::invalid_argument,
                 "a key (--key-file, PASSEL_AUTHKEY_FILE) and certificates (--cert, "
                 "PASSEL_CERT_FILE) are given: one or the other"};
  for (const auto& [name, value] :
       {std::pair{"--ca (PASSEL_CA_FILE)", &given.ca_file},
        std::pair{"--cert (PASSEL_CERT_FILE)", &given.certificate_file},
        std::pair{"--cert-key (PASSEL_CERT_KEY_FILE)", &given.key_file}}) {
    if (value->empty())
      return Error{Errc::invalid_argument,
                   std::string{name} + " is missing: --ca, --cert and --cert-key go together"};
  }
  return {};
}

Result<void> require_proof(const ProofOptions& options) {
  if (options.key_file.empty() && options.certificates == Certificates{})
    return Error{Errc::invalid_argument,
                 "no key: --key-file FILE, or PASSEL_AUTHKEY_FILE; passel keygen makes one. Or "
                 "certificates: --ca, --cert and --cert-key"};
  return check_proof(options);
}

void throw_misuse(const Result<void>& checked) {
  if (!checked) throw CLI::ValidationError{checked.error().what()};
}

Result<passel::ManagerOptions> manager_at(const std::string& address, const ProofOptions& options) {
  passel::ManagerOptions out;
  PASSEL_CHECK(require_proof(options));
  PASSEL_TRY(out.address, passel::parse_address(address));
  if (options.key_file.empty()) {
    out.certificates = options.certificates;
  } else {
    PASSEL_TRY(out.authkey, passel::AuthKey::load(options.key_file));
  }
  return out;
}

}  // namespace passel_cli
