// Layer transport: how processes on different hosts know each other by certificates.
#pragma once

#include <string>

namespace passel::inline v0 {

/// Mutual TLS: over a network both sides show a certificate, signed by an authority that both
/// trust, instead of proving that they know one key. For those who have an authority already: one
/// program can be shut out without a new key for all others. Files are in PEM form. They are read
/// with each connection, and when a server starts: invalid_argument names the one that is missing,
/// unreadable, encrypted or not the other one's. A private key that others may read or write is
/// refused, as AuthKey::load has it: it would be anybody's.
///
///     passel::Certificates mine{.ca_file = "ca.pem",
///                               .certificate_file = "node7.pem",
///                               .key_file = "node7.key"};
struct Certificates {
  std::string ca_file;           ///< whose signature counts
  std::string certificate_file;  ///< one's own, followed by what leads from it to the authority
  std::string key_file;          ///< its private key, which nobody else may use: mode 0600, 0400
  /// The name (or address) that the other side's certificate must be for. Empty: a client expects
  /// the host that it connects to, a server takes every name that the authority has signed.
  std::string peer_name{};

  friend bool operator==(const Certificates&, const Certificates&) = default;
};

}  // namespace passel::inline v0
