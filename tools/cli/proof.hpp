// Tool passel: what proves to the other side who one is: a key that both know, or certificates.
#pragma once

#include <passel/certificates.hpp>
#include <passel/manager_options.hpp>
#include <passel/result.hpp>

#include <CLI/App.hpp>

#include <string>

namespace passel_cli {

struct ProofOptions {
  std::string key_file;
  passel::Certificates certificates{};
};

/// --key-file, and --ca, --cert, --cert-key and --peer-name.
void add_proof_options(CLI::App& command, ProofOptions& options);
/// Where `nearer` has a key alone, or certificates alone, the other of `options` does not count.
void prefer(const ProofOptions& nearer, ProofOptions& options);
/// The same with what the command line gave, and the environment.
void prefer_command_line(const CLI::App& command, ProofOptions& options);
/// Whether it is one or the other, and whole; nothing at all is fine. Errors: invalid_argument,
/// naming the option that is missing or too much.
[[nodiscard]] passel::Result<void> check_proof(const ProofOptions& options);
/// The same, where one is needed.
[[nodiscard]] passel::Result<void> require_proof(const ProofOptions& options);
/// For callbacks of commands: exit code 2, called in the wrong way. What follows does the same.
void throw_misuse(const passel::Result<void>& checked);

void check_address(const std::string& address);
void check_log_level(const std::string& level);
/// For callbacks of commands that need a server: exit code 2 unless there is an address and a
/// proof, of which the command line counts most.
void settle_server(const CLI::App& command, const std::string& address, ProofOptions& options);

/// Settings of a manager there, or of a client of it. A key file's further keys are former ones.
/// Errors: those of the address, of require_proof and of AuthKey::load_all.
[[nodiscard]] passel::Result<passel::ManagerOptions> manager_at(const std::string& address,
                                                                const ProofOptions& options);

}  // namespace passel_cli
