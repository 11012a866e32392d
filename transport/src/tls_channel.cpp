// Layer transport: TLS 1.3 with a key that both ends know, as a transformer of bytes.
#include "tls_channel.hpp"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include <algorithm>
#include <cstring>
#include <string_view>

namespace passel::inline v0::detail {
namespace {

constexpr unsigned char cipher_number[] = {0x13, 0x01};
constexpr std::size_t record_header = 5;
constexpr std::size_t longest_plain = 16384;
constexpr std::size_t longest_record = longest_plain + 256;  // RFC 8446, 5.2

/// A key of one session, and the name by which the client says that it has it.
struct NamedKey {
  Secret key{};
  Secret name{};
};
struct SessionKeys {
  std::vector<NamedKey> all;
  std::size_t used = 0;
  SessionKeys() = default;
  SessionKeys(const SessionKeys&) = delete;
  SessionKeys& operator=(const SessionKeys&) = delete;
  ~SessionKeys() {
    for (NamedKey& one : all) ::OPENSSL_cleanse(one.key.data(), one.key.size());
  }
};

SessionKeys& keys_of(SSL* ssl) { return *static_cast<SessionKeys*>(SSL_get_app_data(ssl)); }

/// The key in the form in which the library wants it.
SSL_SESSION* key_session(SSL* ssl, const Secret& key) {
  const SSL_CIPHER* cipher = ::SSL_CIPHER_find(ssl, cipher_number);
  SSL_SESSION* session = ::SSL_SESSION_new();
  if (cipher == nullptr || session == nullptr ||
      ::SSL_SESSION_set1_master_key(session, reinterpret_cast<const unsigned char*>(key.data()),
                                    key.size()) != 1 ||
      ::SSL_SESSION_set_cipher(session, cipher) != 1 ||
      ::SSL_SESSION_set_protocol_version(session, TLS1_3_VERSION) != 1) {
    ::SSL_SESSION_free(session);
    return nullptr;
  }
  return session;
}

extern "C" int passel_use_key(SSL* ssl, const EVP_MD*, const unsigned char** id,
                              std::size_t* id_size, SSL_SESSION** session) {
  const NamedKey& mine = keys_of(ssl).all.front();
  *session = key_session(ssl, mine.key);
  *id = reinterpret_cast<const unsigned char*>(mine.name.data());
  *id_size = mine.name.size();
  return *session != nullptr ? 1 : 0;
}

extern "C" int passel_find_key(SSL* ssl, const unsigned char* id, std::size_t id_size,
                               SSL_SESSION** session) {
  const std::span name{reinterpret_cast<const std::byte*>(id), id_size};
  const NamedKey* found = nullptr;
  SessionKeys& keys = keys_of(ssl);
  for (const NamedKey& one : keys.all) {  // all of them, however early one fits
    if (!same_proof(name, one.name)) continue;
    found = &one;
    keys.used = static_cast<std::size_t>(found - keys.all.data());
  }
  *session = found != nullptr ? key_session(ssl, found->key) : nullptr;
  return 1;
}

/// Settings of all sessions of one side. Null when the library cannot do TLS 1.3.
SSL_CTX* new_context(Side side) {
  SSL_CTX* const context = new_tls_context(side);
  if (context == nullptr) return nullptr;
  if (side == Side::client) {
    // A listener that shows a certificate instead of knowing the key is nobody.
    ::SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nullptr);
    ::SSL_CTX_set_psk_use_session_callback(context, passel_use_key);
  } else {
    ::SSL_CTX_set_psk_find_session_callback(context, passel_find_key);
  }
  return context;
}

// Never destroyed: threads may connect until the end.
SSL_CTX* context_of(Side side) {
  static SSL_CTX* const client = new_context(Side::client);
  static SSL_CTX* const listener = new_context(Side::listener);
  return side == Side::client ? client : listener;
}

struct FreeSession {
  void operator()(SSL* ssl) const noexcept { ::SSL_free(ssl); }
};

Error tls_unavailable() { return {Errc::system, "TLS 1.3 is not available"}; }

}  // namespace

struct TlsChannel::Session {
  SessionKeys keys;
  std::unique_ptr<SSL, FreeSession> ssl;
  BIO* in = nullptr;          // of ssl
  BIO* out = nullptr;         // of ssl
  std::uint64_t records = 0;  // written with the present key
  bool with_certificates = false;
  bool heard = false;  // something that was encrypted
};

TlsChannel::TlsChannel(std::unique_ptr<Session> session) : session_{std::move(session)} {}
TlsChannel::~TlsChannel() = default;

Result<std::unique_ptr<TlsChannel>> TlsChannel::make(Side side, std::span<const Secret> keys) {
  auto session = std::make_unique<Session>();
  for (const Secret& key : keys) {
    PASSEL_TRY(const Secret name, session_key_name(key));
    session->keys.all.push_back({key, name});
  }
  SSL_CTX* const context = context_of(side);
  if (context == nullptr || keys.empty()) return tls_unavailable();
  ::ERR_clear_error();
  session->ssl.reset(::SSL_new(context));
  return begin(side, std::move(session));
}

Result<std::unique_ptr<TlsChannel>> TlsChannel::make(Side side, const TlsIdentity& identity,
                                                     const std::string& host) {
  auto session = std::make_unique<Session>();
  session->with_certificates = true;
  session->ssl.reset(identity.new_session(side, host));
  return begin(side, std::move(session));
}

Result<std::unique_ptr<TlsChannel>> TlsChannel::begin(Side side, std::unique_ptr<Session> session) {
  session->in = ::BIO_new(::BIO_s_mem());
  session->out = ::BIO_new(::BIO_s_mem());
  if (session->ssl == nullptr || session->in == nullptr || session->out == nullptr) {
    ::BIO_free(session->in);
    ::BIO_free(session->out);
    return tls_unavailable();
  }
  SSL* const ssl = session->ssl.get();
  ::SSL_set_bio(ssl, session->in, session->out);
  SSL_set_app_data(ssl, &session->keys);
  if (side == Side::client)
    ::SSL_set_connect_state(ssl);
  else
    ::SSL_set_accept_state(ssl);
  return std::unique_ptr<TlsChannel>{new TlsChannel{std::move(session)}};
}

Result<bool> TlsChannel::shake_hands() {
  const std::lock_guard lock{mutex_};
  SSL* const ssl = session_->ssl.get();
  ::ERR_clear_error();
  const int done = ::SSL_do_handshake(ssl);
  if (done == 1) {
    // Without the key there is no session that was "reused", whatever else the other end showed.
    const bool proved =
        session_->with_certificates ? TlsIdentity::is_proved(ssl) : ::SSL_session_reused(ssl) == 1;
    if (!proved) return authentication_failed();
    proved_.store(true);
    return true;
  }
  if (::SSL_get_error(ssl, done) == SSL_ERROR_WANT_READ) return false;
  ::ERR_clear_error();
  return authentication_failed();
}

std::size_t TlsChannel::key() const noexcept { return session_->keys.used; }

Result<void> TlsChannel::write(std::span<const std::byte> plain) {
  const std::lock_guard lock{mutex_};
  while (!plain.empty()) {
    std::size_t written = 0;
    ::ERR_clear_error();
    if (::SSL_write_ex(session_->ssl.get(), plain.data(), plain.size(), &written) != 1) {
      ::ERR_clear_error();
      return Error{Errc::system, "TLS refused to encrypt"};
    }
    plain = plain.subspan(written);
    session_->records += written / longest_plain + 1;
    if (session_->records >= records_per_key) change_key();
  }
  return {};
}

void TlsChannel::renew_key() noexcept {
  const std::lock_guard lock{mutex_};
  change_key();
}

void TlsChannel::change_key() noexcept {
  ::ERR_clear_error();
  // Goes out before the next bytes that are written.
  ::SSL_key_update(session_->ssl.get(), SSL_KEY_UPDATE_NOT_REQUESTED);
  session_->records = 0;
  ::ERR_clear_error();
}

Result<std::size_t> TlsChannel::read(std::span<std::byte> plain) {
  const std::lock_guard lock{mutex_};
  std::size_t got = 0;
  ::ERR_clear_error();
  SSL* const ssl = session_->ssl.get();
  const int done = ::SSL_read_ex(ssl, plain.data(), plain.size(), &got);
  if (done == 1) {
    session_->heard = true;
    return got;
  }
  const int why = ::SSL_get_error(ssl, done);
  // A listener looks at the client's certificate when the client is through.
  const bool alert = ERR_GET_REASON(::ERR_peek_error()) >= SSL_AD_REASON_OFFSET;
  ::ERR_clear_error();
  if (why == SSL_ERROR_SSL && alert && session_->with_certificates && !session_->heard)
    return authentication_failed();
  if (why == SSL_ERROR_WANT_READ) return std::size_t{0};
  if (why == SSL_ERROR_ZERO_RETURN)
    return Error{Errc::closed, "the other end of the connection is closed"};
  return Error{Errc::malformed, "what came was changed on its way"};
}

void TlsChannel::finish() noexcept {
  const std::lock_guard lock{mutex_};
  ::ERR_clear_error();
  ::SSL_shutdown(session_->ssl.get());
  ::ERR_clear_error();
}

Result<std::size_t> TlsChannel::wanted() const {
  if (record_.size() < record_header) return record_header - record_.size();
  const std::size_t length =
      (std::to_integer<std::size_t>(record_[3]) << 8) | std::to_integer<std::size_t>(record_[4]);
  if (length > longest_record)
    return Error{Errc::malformed, "a TLS record of " + std::to_string(length) + " bytes, limit " +
                                      std::to_string(longest_record)};
  const std::size_t most = session_->with_certificates ? max_before_certificate : max_before_proof;
  if (!proved_.load(std::memory_order_relaxed) && before_proof_ + length > most)
    return Error{Errc::malformed, "more than " + std::to_string(most) +
                                      " bytes before the other end has proved who it is"};
  return record_header + length - record_.size();
}

void TlsChannel::put(std::span<const std::byte> cipher) {
  record_.insert(record_.end(), cipher.begin(), cipher.end());
  if (record_.size() < record_header) return;
  if (const auto more = wanted(); !more || *more != 0) return;
  if (!proved_.load(std::memory_order_relaxed)) before_proof_ += record_.size();
  const std::lock_guard lock{mutex_};
  ::BIO_write(session_->in, record_.data(), static_cast<int>(record_.size()));
  record_.clear();
}

Result<void> TlsChannel::feed(std::span<const std::byte> cipher) {
  while (!cipher.empty()) {
    PASSEL_TRY(const std::size_t more, wanted());
    const std::size_t piece = std::min(more, cipher.size());
    put(cipher.first(piece));
    cipher = cipher.subspan(piece);
    if (proved_.load(std::memory_order_relaxed)) continue;
    // At once, so that what the other side sends after its proof does not count as before it.
    PASSEL_CHECK(shake_hands());
  }
  PASSEL_TRY(const std::size_t next, wanted());  // or what a header has just announced is refused
  static_cast<void>(next);
  return {};
}

void TlsChannel::take(std::vector<std::byte>& out) {
  const std::lock_guard lock{mutex_};
  const std::size_t waiting = ::BIO_ctrl_pending(session_->out);
  const std::size_t before = out.size();
  out.resize(before + waiting);
  if (waiting != 0) ::BIO_read(session_->out, out.data() + before, static_cast<int>(waiting));
}

}  // namespace passel::inline v0::detail
