// Tool passel: what proves to the other side who one is: a key that both know, or certificates.
#include "proof.hpp"

#include <passel/authkey.hpp>
#include <passel/log.hpp>
#include <passel/parse_address.hpp>

#include <CLI/CLI.hpp>

#include <algorithm>
#include <array>
#include <iterator>
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

void prefer(const ProofOptions& nearer, ProofOptions& options) {
  const bool has_key = !nearer.key_file.empty();
  const bool has_certificates = nearer.certificates != Certificates{};
  if (has_key && !has_certificates) options.certificates = {};
  if (has_certificates && !has_key) options.key_file.clear();
}

void prefer_command_line(const CLI::App& command, ProofOptions& options) {
  ProofOptions given = options;
  const auto forget_unless_given = [&command, &all = command.parse_order()](const char* name,
                                                                            std::string& value) {
    if (std::find(all.begin(), all.end(), command.get_option(name)) == all.end()) value.clear();
  };
  forget_unless_given("--key-file", given.key_file);
  forget_unless_given("--ca", given.certificates.ca_file);
  forget_unless_given("--cert", given.certificates.certificate_file);
  forget_unless_given("--cert-key", given.certificates.key_file);
  forget_unless_given("--peer-name", given.certificates.peer_name);
  prefer(given, options);
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

void check_address(const std::string& address) {
  if (const auto parsed = passel::parse_address(address); !parsed) throw_misuse(parsed.error());
}

void check_log_level(const std::string& level) {
  if (const auto parsed = passel::parse_log_level(level); !parsed) throw_misuse(parsed.error());
}

void settle_server(const CLI::App& command, const std::string& address, ProofOptions& options) {
  prefer_command_line(command, options);
  throw_misuse(require_proof(options));
  check_address(address);
}

Result<passel::ManagerOptions> manager_at(const std::string& address, const ProofOptions& options) {
  passel::ManagerOptions out;
  PASSEL_CHECK(require_proof(options));
  PASSEL_TRY(out.address, passel::parse_address(address));
  if (options.key_file.empty()) {
    out.certificates = options.certificates;
  } else {
    PASSEL_TRY(auto keys, passel::AuthKey::load_all(options.key_file));
    out.authkey = std::move(keys.front());
    out.former_authkeys.assign(std::make_move_iterator(keys.begin() + 1),
                               std::make_move_iterator(keys.end()));
  }
  return out;
}

}  // namespace passel_cli
