// Example crawler: one HTTP request at a time, with libcurl.
#pragma once

#include "messages.hpp"

#include <memory>
#include <stop_token>

namespace crawler {

/// Makes requests over connections that it keeps open between them. Each fetcher process or thread
/// has one of its own.
///
///     Fetcher fetcher{options};
///     PageResult result = fetcher.fetch({.id = 1, .url = "http://example.com/"});
class Fetcher {
 public:
  /// A request to stop ends the request under way, within a second.
  explicit Fetcher(FetchOptions options, std::stop_token stop = {});
  Fetcher(const Fetcher&) = delete;
  Fetcher& operator=(const Fetcher&) = delete;
  ~Fetcher();

  /// Fetches one URL, without following redirects, and reads links and title when it is HTML. Waits
  /// until the answer is there or a time limit has passed; whatever goes wrong is said in the
  /// result.
  PageResult fetch(const Job& job);

 private:
  struct Transfer;
  struct Handle;
  FetchOptions options_;
  std::stop_token stop_;
  std::unique_ptr<Handle> handle_;
};

}  // namespace crawler
