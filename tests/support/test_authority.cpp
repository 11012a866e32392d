// Test support: an authority that signs certificates, and the files of those who have one.
#include "test_authority.hpp"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <fcntl.h>
#include <unistd.h>
#include <cstdio>
#include <stdexcept>
#include <vector>

namespace passel_test {
namespace {

void check(bool done, const char* what) {
  if (!done) throw std::runtime_error{what};
}

void add(X509* certificate, int kind, const std::string& value) {
  X509_EXTENSION* const extension = X509V3_EXT_conf_nid(nullptr, nullptr, kind, value.c_str());
  check(extension != nullptr && X509_add_ext(certificate, extension, -1) == 1, "extension");
  X509_EXTENSION_free(extension);
}

X509* new_certificate(EVP_PKEY* key, const std::string& name, long serial, long seconds) {
  X509* const certificate = X509_new();
  check(certificate != nullptr && X509_set_version(certificate, 2) == 1, "X509_new");
  ASN1_INTEGER_set(X509_get_serialNumber(certificate), serial);
  X509_gmtime_adj(X509_getm_notBefore(certificate), -7200);
  X509_gmtime_adj(X509_getm_notAfter(certificate), seconds);
  X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate), "CN", MBSTRING_ASC,
                             reinterpret_cast<const unsigned char*>(name.c_str()), -1, -1, 0);
  check(X509_set_pubkey(certificate, key) == 1, "X509_set_pubkey");
  return certificate;
}

/// Files that nobody else can read, as private keys have to be.
template <class Write>
void write_file(const std::filesystem::path& path, const Write& write) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  check(fd >= 0, "open");
  std::FILE* const file = ::fdopen(fd, "w");
  check(file != nullptr && write(file) == 1, "PEM_write");
  std::fclose(file);
}

}  // namespace

void TestAuthority::Free::operator()(EVP_PKEY* key) const noexcept { EVP_PKEY_free(key); }
void TestAuthority::Free::operator()(X509* certificate) const noexcept { X509_free(certificate); }

TestAuthority::TestAuthority() : key_{EVP_EC_gen("P-256")} {
  std::string pattern = (std::filesystem::temp_directory_path() / "passel-ca-XXXXXX").string();
  check(::mkdtemp(pattern.data()) != nullptr, "mkdtemp");
  directory_ = pattern;
  check(key_ != nullptr, "EVP_EC_gen");
  certificate_.reset(new_certificate(key_.get(), "the authority of a test", 1, 3600));
  X509_set_issuer_name(certificate_.get(), X509_get_subject_name(certificate_.get()));
  add(certificate_.get(), NID_basic_constraints, "critical,CA:TRUE");
  add(certificate_.get(), NID_key_usage, "critical,keyCertSign");
  check(X509_sign(certificate_.get(), key_.get(), EVP_sha256()) != 0, "X509_sign");
  write_file(ca_file(), [&](std::FILE* file) { return PEM_write_X509(file, certificate_.get()); });
}

TestAuthority::~TestAuthority() {
  std::error_code ignored;
  std::filesystem::remove_all(directory_, ignored);
}

passel::Certificates TestAuthority::issue(const std::string& name, long seconds,
                                          const std::string& passphrase) {
  const std::string number = std::to_string(++issued_);
  const std::unique_ptr<EVP_PKEY, Free> key{EVP_EC_gen("P-256")};
  check(key != nullptr, "EVP_EC_gen");
  const std::unique_ptr<X509, Free> made{new_certificate(key.get(), name, issued_ + 1, seconds)};
  X509_set_issuer_name(made.get(), X509_get_subject_name(certificate_.get()));
  const bool is_address = name.find_first_not_of("0123456789.") == name.npos;
  add(made.get(), NID_subject_alt_name, (is_address ? "IP:" : "DNS:") + name);
  check(X509_sign(made.get(), key_.get(), EVP_sha256()) != 0, "X509_sign");
  passel::Certificates files{.ca_file = ca_file(),
                             .certificate_file = (directory_ / (number + ".pem")).string(),
                             .key_file = (directory_ / (number + ".key")).string()};
  write_file(files.certificate_file,
             [&](std::FILE* file) { return PEM_write_X509(file, made.get()); });
  write_file(files.key_file, [&](std::FILE* file) {
    const auto* const secret = reinterpret_cast<const unsigned char*>(passphrase.data());
    const EVP_CIPHER* const cipher = passphrase.empty() ? nullptr : EVP_aes_128_cbc();
    return PEM_write_PrivateKey(file, key.get(), cipher, secret,
                                static_cast<int>(passphrase.size()), nullptr, nullptr);
  });
  return files;
}

}  // namespace passel_test
