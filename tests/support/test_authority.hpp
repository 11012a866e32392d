// Test support: an authority that signs certificates, and the files of those who have one.
#pragma once

#include <passel/certificates.hpp>

#include <filesystem>
#include <memory>
#include <string>

struct evp_pkey_st;
struct x509_st;

namespace passel_test {

/// Makes a key and a certificate of its own, in a directory that goes with it.
class TestAuthority {
 public:
  TestAuthority();
  TestAuthority(const TestAuthority&) = delete;
  TestAuthority& operator=(const TestAuthority&) = delete;
  ~TestAuthority();

  /// A certificate for a DNS name, or for an address, valid until so many seconds from now. Its key
  /// is encrypted when there is a passphrase.
  [[nodiscard]] passel::Certificates issue(const std::string& name, long seconds = 3600,
                                           const std::string& passphrase = "");
  [[nodiscard]] std::string ca_file() const { return (directory_ / "ca.pem").string(); }

 private:
  struct Free {
    void operator()(evp_pkey_st* key) const noexcept;
    void operator()(x509_st* certificate) const noexcept;
  };

  std::filesystem::path directory_;
  std::unique_ptr<evp_pkey_st, Free> key_;
  std::unique_ptr<x509_st, Free> certificate_;
  int issued_ = 0;
};

}  // namespace passel_test
