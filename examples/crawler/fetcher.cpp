// Example crawler: libcurl transfers and what they mean.
#include "fetcher.hpp"

#include "charset.hpp"
#include "page.hpp"
#include "url.hpp"

#include <curl/curl.h>

#include <algorithm>
#include <cctype>
#include <chrono>
#include <mutex>
#include <new>
#include <stdexcept>
#include <string_view>

namespace crawler {
namespace {

// A body that nobody will parse is read to its end when it is short, because that keeps the
// connection.
constexpr std::uint64_t drain_limit = 256u << 10;
// RFC 9309 asks for at least 500 KiB of a robots.txt.
constexpr std::size_t robots_limit = 512u << 10;

void start_curl() {
  static std::once_flag once;
  std::call_once(once, [] { curl_global_init(CURL_GLOBAL_DEFAULT); });
}

bool is_html_type(std::string_view content_type) {
  std::string type{content_type.substr(0, content_type.find(';'))};
  for (char& c : type) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  while (type.ends_with(' ')) type.pop_back();
  return type == "text/html" || type == "application/xhtml+xml";
}

Failure failure_of(CURLcode code) {
  switch (code) {
    case CURLE_OK: return Failure::none;
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY: return Failure::no_such_host;
    case CURLE_COULDNT_CONNECT: return Failure::connect;
    case CURLE_OPERATION_TIMEDOUT: return Failure::timeout;
    case CURLE_GOT_NOTHING:
    case CURLE_RECV_ERROR:
    case CURLE_SEND_ERROR:
    case CURLE_PARTIAL_FILE: return Failure::interrupted;
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CACERT_BADFILE: return Failure::tls;
    default: return Failure::protocol;
  }
}

std::string text_of(Failure failure, const std::string& detail, const std::string& url,
                    const FetchOptions& options) {
  const std::string host{split_url(url).host};
  switch (failure) {
    case Failure::none: return {};
    case Failure::no_such_host: return "no such host: " + host;
    case Failure::connect: return "cannot connect to " + host + ": " + detail;
    case Failure::timeout:
      return "timed out (limits: connecting " + std::to_string(options.connect_timeout_ms) +
             " ms, whole answer " + std::to_string(options.timeout_ms) + " ms)";
    case Failure::interrupted: return "connection to " + host + " broke: " + detail;
    case Failure::too_large:
      return "page over the size limit of " + std::to_string(options.max_bytes) + " bytes";
    case Failure::tls: return "TLS with " + host + " failed: " + detail;
    case Failure::deadly: return "the fetchers died of it";
    case Failure::protocol: return "bad answer from " + host + ": " + detail;
  }
  return detail;
}

}  // namespace

struct Fetcher::Handle {
  CURL* easy = curl_easy_init();
  char error[CURL_ERROR_SIZE] = {};
  Handle() = default;
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
  ~Handle() { curl_easy_cleanup(easy); }

  /// libcurl asks this at least once a second; anything but 0 ends the transfer.
  static int stop_requested(void* token, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
    return static_cast<std::stop_token*>(token)->stop_requested() ? 1 : 0;
  }
};

/// The state of one request while libcurl calls back.
struct Fetcher::Transfer {
  CURL* easy;
  const FetchOptions& options;
  bool robots;
  std::string body;
  std::uint64_t received = 0;
  std::uint64_t announced = 0;
  bool started = false;
  bool wanted = false;  // the body is for us: HTML, or a robots.txt
  bool too_large = false;
  bool cut = false;  // the rest was not wanted

  void start() {
    started = true;
    const char* type = nullptr;
    long status = 0;
    curl_easy_getinfo(easy, CURLINFO_CONTENT_TYPE, &type);
    curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
    curl_off_t length = -1;
    curl_easy_getinfo(easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
    announced = length > 0 ? static_cast<std::uint64_t>(length) : 0;
    wanted = status >= 200 && status < 300 && (robots || (type != nullptr && is_html_type(type)));
  }

  /// False ends the transfer.
  bool take(std::string_view bytes) {
    if (!started) start();
    received += bytes.size();
    if (!wanted) {
      cut = std::max(received, announced) > drain_limit;
      return !cut;
    }
    if (robots) {
      cut = body.size() + bytes.size() > robots_limit;
    } else {
      too_large = std::max(received, announced) > options.max_bytes;
    }
    if (cut || too_large) return false;
    body.append(bytes);
    return true;
  }

  static std::size_t on_body(char* data, std::size_t, std::size_t size, void* self) {
    return static_cast<Transfer*>(self)->take({data, size}) ? size : 0;
  }
};

Fetcher::Fetcher(FetchOptions options, std::stop_token stop)
    : options_{std::move(options)}, stop_{std::move(stop)} {
  start_curl();
  handle_ = std::make_unique<Handle>();
  CURL* easy = handle_->easy;
  if (easy == nullptr) throw std::bad_alloc{};
  curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, handle_->error);
  curl_easy_setopt(easy, CURLOPT_USERAGENT, options_.user_agent.c_str());
  curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(options_.connect_timeout_ms));
  curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, static_cast<long>(options_.timeout_ms));
  if (options_.compressed) curl_easy_setopt(easy, CURLOPT_ACCEPT_ENCODING, "");
  curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, &Transfer::on_body);
  curl_easy_setopt(easy, CURLOPT_NOPROGRESS, 0L);
  curl_easy_setopt(easy, CURLOPT_XFERINFOFUNCTION, &Handle::stop_requested);
  curl_easy_setopt(easy, CURLOPT_XFERINFODATA, &stop_);
  if (!options_.use_proxy) curl_easy_setopt(easy, CURLOPT_PROXY, "");
}

Fetcher::~Fetcher() = default;

PageResult Fetcher::fetch(const Job& job) {
  const auto begun = std::chrono::steady_clock::now();
  CURL* easy = handle_->easy;
  Transfer transfer{.easy = easy, .options = options_, .robots = job.robots, .body = {}};
  handle_->error[0] = '\0';
  curl_easy_setopt(easy, CURLOPT_URL, job.url.c_str());
  curl_easy_setopt(easy, CURLOPT_WRITEDATA, &transfer);
  const CURLcode code = curl_easy_perform(easy);

  PageResult result{.id = job.id};
  const char* type = nullptr;
  const char* location = nullptr;
  long status = 0;
  curl_off_t retry_after = 0;
  curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
  curl_easy_getinfo(easy, CURLINFO_CONTENT_TYPE, &type);
  curl_easy_getinfo(easy, CURLINFO_REDIRECT_URL, &location);
  curl_easy_getinfo(easy, CURLINFO_RETRY_AFTER, &retry_after);
  const bool cut_short = code == CURLE_WRITE_ERROR && transfer.cut;
  result.failure = transfer.too_large ? Failure::too_large
                   : cut_short        ? Failure::none
                                      : failure_of(code);
  const std::string detail = handle_->error[0] != '\0' ? handle_->error : curl_easy_strerror(code);
  result.error = text_of(result.failure, detail, job.url, options_);
  result.status = static_cast<int>(status);
  result.content_type = type != nullptr ? type : "";
  result.bytes = transfer.received;
  result.retry_after = std::max<std::int64_t>(retry_after, 0);
  if (location != nullptr) {
    if (auto target = canonical_url(location)) {
      result.location = *std::move(target);
    } else {
      result.error = "bad redirect: " + target.error().what();
    }
  }
  if (result.failure == Failure::none && transfer.wanted) {
    if (job.robots) {
      result.body = std::move(transfer.body);
    } else {
      result.html = true;
      Page page = parse_page(transfer.body, charset_parameter(result.content_type), job.url,
                             {.images = options_.images, .obey_nofollow = options_.obey_nofollow});
      if (page.too_deep) {
        result.failure = Failure::too_large;
        result.error =
            "page over the nesting limit of " + std::to_string(max_nesting) + " elements";
      }
      result.title = std::move(page.title);
      result.links = std::move(page.links);
      result.malformed = std::move(page.malformed);
      result.noindex = page.noindex;
    }
  }
  const auto taken = std::chrono::steady_clock::now() - begun;
  result.ms = static_cast<std::uint32_t>(
      std::chrono::duration_cast<std::chrono::milliseconds>(taken).count());
  return result;
}

}  // namespace crawler
