// Test support for the crawler: a small web site, and the program run against it.
#pragma once

#include <httplib.h>
#include <nlohmann/json.hpp>

#include <sys/types.h>

#include <condition_variable>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace crawler_test {

/// A web server in this process. Handlers are added before start().
class Site {
 public:
  Site();
  Site(const Site&) = delete;
  Site& operator=(const Site&) = delete;
  ~Site();

  httplib::Server& http() { return http_; }
  /// A page of HTML at `path` with links to `links`.
  void page(const std::string& path, const std::vector<std::string>& links);
  /// `count` pages /page/0 ... with links between them, all reachable from /page/0. Their names,
  /// sorted.
  std::vector<std::string> many_pages(int count);
  /// Every answer takes this long.
  void set_answer_time(std::chrono::milliseconds time) { answer_time_ = time; }

  /// At this address of the calling thread's host.
  void start(const std::string& address = "127.0.0.1");
  [[nodiscard]] std::string url(const std::string& path) const;
  /// How often `path` was asked for.
  [[nodiscard]] int requests(const std::string& path);
  [[nodiscard]] int all_requests();
  /// The most requests that were being answered at one time.
  [[nodiscard]] int most_at_once();
  /// Waits until `count` requests have come in since start().
  void wait_for_requests(int count);

 private:
  httplib::Server http_;
  std::chrono::milliseconds answer_time_{0};
  std::string address_;
  int port_ = 0;
  std::mutex mutex_;
  std::condition_variable arrived_;
  std::map<std::string, int> requests_;
  int total_ = 0;
  int now_ = 0;
  int most_ = 0;
  std::thread thread_;
};

/// A directory that goes away with the object.
class TemporaryDirectory {
 public:
  TemporaryDirectory();
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  ~TemporaryDirectory();
  [[nodiscard]] std::string file(const std::string& name) const { return path_ + "/" + name; }
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
};

std::string content_of(const std::string& file);

/// The crawler as a child process. Its standard error goes to a file.
class Program {
 public:
  Program(const TemporaryDirectory& directory, std::vector<std::string> arguments);
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;
  /// Kills it when it still runs.
  ~Program();

  [[nodiscard]] pid_t pid() const { return pid_; }
  void signal(int number) const;
  /// SIGINT to its whole process group, as a terminal does it.
  void press_ctrl_c() const;
  /// Waits for its end: its exit code, or the negative signal.
  int wait();
  /// True once it has ended; does not wait.
  bool ended();
  /// What it has written to standard error so far.
  [[nodiscard]] std::string errors() const { return content_of(errors_); }
  /// The processes that fetch: the children of its guardian.
  [[nodiscard]] std::vector<pid_t> fetchers() const;

 private:
  std::string errors_;
  pid_t pid_ = -1;
  bool reaped_ = false;
  int status_ = 0;
};

/// What a results file holds, by URL path; a page that is there twice makes the test fail.
std::map<std::string, nlohmann::json> results_of(const std::string& file, const Site& site);
std::vector<std::string> names(const std::map<std::string, nlohmann::json>& results);

}  // namespace crawler_test
