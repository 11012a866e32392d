// Layer transport: who one is in TLS: certificates, and whose are believed.
#include "tls_identity.hpp"

#include "private_file.hpp"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <memory>
#include <utility>

namespace passel::inline v0::detail {
namespace {

constexpr const char* cipher_suite = "TLS_AES_128_GCM_SHA256";

struct FreeContext {
  void operator()(SSL_CTX* context) const noexcept { ::SSL_CTX_free(context); }
};
using Context = std::unique_ptr<SSL_CTX, FreeContext>;

struct FreeBio {
  void operator()(BIO* bio) const noexcept { ::BIO_free(bio); }
};
struct FreeKey {
  void operator()(EVP_PKEY* key) const noexcept { ::EVP_PKEY_free(key); }
};
using PrivateKey = std::unique_ptr<EVP_PKEY, FreeKey>;

constexpr std::size_t max_key_file_size = 65536;  // with certificates in it, too

Error bad_file(const std::string& what, const std::string& file) {
  const unsigned long why = ::ERR_peek_last_error();
  const char* const text = why != 0 ? ::ERR_reason_error_string(why) : nullptr;
  ::ERR_clear_error();
  return {Errc::invalid_argument,
          what + " '" + file + "'" + (text != nullptr ? std::string{": "} + text : std::string{})};
}

Result<void> check_whole(const Certificates& given) {
  for (const auto& [name, file] : {std::pair{"ca_file", &given.ca_file},
                                   std::pair{"certificate_file", &given.certificate_file},
                                   std::pair{"key_file", &given.key_file}}) {
    if (file->empty())
      return Error{Errc::invalid_argument, std::string{"certificates without a "} + name +
                                               ": ca_file, certificate_file and key_file go "
                                               "together"};
  }
  return {};
}

/// A file that needs one is an error: else the terminal would be asked for it.
int no_passphrase(char*, int, int, void*) { return 0; }

Error no_private_key(const Certificates& from) {
  return bad_file("no private key of '" + from.certificate_file + "' in", from.key_file);
}

Result<PrivateKey> private_key_of(const Certificates& from) {
  PASSEL_TRY(const SecretText secret,
             read_private_file(from.key_file, "private key file", max_key_file_size));
  ::ERR_clear_error();
  const std::unique_ptr<BIO, FreeBio> text{
      ::BIO_new_mem_buf(secret.text.data(), static_cast<int>(secret.text.size()))};
  if (text == nullptr) return Error{Errc::no_space, "no memory for a private key"};
  PrivateKey key{::PEM_read_bio_PrivateKey(text.get(), nullptr, no_passphrase, nullptr)};
  if (key == nullptr) return no_private_key(from);
  return key;
}

/// What both sides ask of each other is the same.
Result<Context> context_with(Side side, const Certificates& from, EVP_PKEY* key) {
  ::ERR_clear_error();
  Context context{new_tls_context(side)};
  if (context == nullptr) return Error{Errc::system, "TLS 1.3 is not available"};
  ::SSL_CTX_set_default_passwd_cb(context.get(), no_passphrase);
  ::SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  if (::SSL_CTX_load_verify_file(context.get(), from.ca_file.c_str()) != 1)
    return bad_file("no certificate of an authority in", from.ca_file);
  if (::SSL_CTX_use_certificate_chain_file(context.get(), from.certificate_file.c_str()) != 1)
    return bad_file("no certificate in", from.certificate_file);
  if (::SSL_CTX_use_PrivateKey(context.get(), key) != 1 ||
      ::SSL_CTX_check_private_key(context.get()) != 1)
    return no_private_key(from);
  return context;
}

/// A name, or an address as text.
bool expect_peer(SSL* session, const std::string& name) {
  if (::X509_VERIFY_PARAM_set1_ip_asc(::SSL_get0_param(session), name.c_str()) == 1) return true;
  ::ERR_clear_error();
  ::SSL_set_hostflags(session, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
  return ::SSL_set1_host(session, name.c_str()) == 1;
}

}  // namespace

SSL_CTX* new_tls_context(Side side) {
  use_crypto();
  SSL_CTX* const context =
      ::SSL_CTX_new(side == Side::client ? ::TLS_client_method() : ::TLS_server_method());
  if (context == nullptr || ::SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION) != 1 ||
      ::SSL_CTX_set_max_proto_version(context, TLS1_3_VERSION) != 1 ||
      ::SSL_CTX_set_ciphersuites(context, cipher_suite) != 1 ||
      ::SSL_CTX_set_num_tickets(context, 0) != 1) {
    ::SSL_CTX_free(context);
    return nullptr;
  }
  ::SSL_CTX_set_options(context, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION);
  ::SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);  // an idle session keeps none
  return context;
}

TlsIdentity::TlsIdentity(SSL_CTX* client, SSL_CTX* listener, std::string peer_name) noexcept
    : client_{client}, listener_{listener}, peer_name_{std::move(peer_name)} {}

TlsIdentity::~TlsIdentity() {
  ::SSL_CTX_free(client_);
  ::SSL_CTX_free(listener_);
}

Result<std::shared_ptr<const TlsIdentity>> TlsIdentity::load(const Certificates& certificates) {
  use_crypto();
  PASSEL_CHECK(check_whole(certificates));
  PASSEL_TRY(const PrivateKey key, private_key_of(certificates));
  PASSEL_TRY(Context client, context_with(Side::client, certificates, key.get()));
  PASSEL_TRY(Context listener, context_with(Side::listener, certificates, key.get()));
  return std::make_shared<const TlsIdentity>(client.release(), listener.release(),
                                             certificates.peer_name);
}

SSL* TlsIdentity::new_session(Side side, const std::string& host) const {
  ::ERR_clear_error();
  SSL* const session = ::SSL_new(side == Side::client ? client_ : listener_);
  const std::string& name = peer_name_.empty() && side == Side::client ? host : peer_name_;
  if (session == nullptr || name.empty() || expect_peer(session, name)) return session;
  ::SSL_free(session);
  return nullptr;
}

bool TlsIdentity::is_proved(const SSL* session) {
  return ::SSL_get0_peer_certificate(session) != nullptr &&
         ::SSL_get_verify_result(session) == X509_V_OK;
}

}  // namespace passel::inline v0::detail
