// Example crawler: what travels through the queues between the parent and its fetchers.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace crawler {

/// One request to make. Plain aggregates need no macro and no registration to travel through a
/// passel queue.
struct Job {
  std::uint64_t id = 0;  ///< unique within one run; the parent drops a second answer to it
  std::string url{};     ///< canonical
  bool robots = false;   ///< a robots.txt: the body is wanted, not its links
};

/// Why a request brought no HTTP answer that can be used.
enum class Failure : std::uint8_t {
  none,
  no_such_host,
  connect,
  timeout,
  interrupted,  ///< the connection broke in the middle of the answer
  too_large,
  tls,
  protocol,
  deadly,  ///< fetchers died of it, again and again
};

/// True for failures that may be gone at the next attempt.
constexpr bool is_transient(Failure failure) {
  return failure == Failure::connect || failure == Failure::timeout ||
         failure == Failure::interrupted;
}

/// What a fetcher found at a job's URL.
struct PageResult {
  std::uint64_t id = 0;
  std::uint32_t worker = 0;  ///< the fetcher's place in the crew, from 0
  int status = 0;            ///< HTTP status, 0 when there was no answer
  Failure failure = Failure::none;
  std::string error{};
  std::string content_type{};
  bool html = false;
  std::uint64_t bytes = 0;
  std::uint32_t ms = 0;
  std::string location{};        ///< canonical target of a redirect
  std::int64_t retry_after = 0;  ///< seconds, from Retry-After
  std::string title{};
  std::vector<std::string> links{};      ///< canonical, each once, in page order
  std::vector<std::string> malformed{};  ///< links that are no URL, as they stand in the page
  bool noindex = false;
  std::string body{};  ///< of a robots.txt
};

/// How a fetcher makes its requests.
struct FetchOptions {
  std::string user_agent = "passel-crawler/0.1";
  std::int64_t connect_timeout_ms = 5000;
  std::int64_t timeout_ms = 30000;
  std::uint64_t max_bytes = 10u << 20;
  bool images = false;        ///< img[src] counts as a link
  bool obey_nofollow = true;  ///< rel=nofollow and meta robots nofollow
  bool compressed = true;     ///< ask for compressed answers; on loopback they only cost time
  bool use_proxy = true;      ///< take http_proxy and friends from the environment

  friend bool operator==(const FetchOptions&, const FetchOptions&) = default;
};

}  // namespace crawler
