// Test support for the crawler.
#include "crawler_support.hpp"

#include <gtest/gtest.h>

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace crawler_test {

namespace fs = std::filesystem;

Site::Site() {
  http_.new_task_queue = [] { return new httplib::ThreadPool(16); };
  http_.set_keep_alive_max_count(100000);
  http_.set_keep_alive_timeout(1);
  http_.set_tcp_nodelay(true);
  http_.set_pre_routing_handler([this](const httplib::Request& request, httplib::Response&) {
    {
      const std::lock_guard lock{mutex_};
      ++requests_[request.path];
      ++total_;
      most_ = std::max(most_, ++now_);
    }
    arrived_.notify_all();
    if (answer_time_.count() > 0) std::this_thread::sleep_for(answer_time_);
    return httplib::Server::HandlerResponse::Unhandled;
  });
  http_.set_post_routing_handler([this](const httplib::Request&, httplib::Response&) {
    const std::lock_guard lock{mutex_};
    --now_;
  });
}

Site::~Site() {
  http_.stop();
  if (thread_.joinable()) thread_.join();
}

void Site::page(const std::string& path, const std::vector<std::string>& links) {
  std::string html = "<!doctype html><title>Page " + path + "</title>";
  for (const std::string& link : links) html += "<a href=\"" + link + "\">x</a>";
  http_.Get(path, [html](const httplib::Request&, httplib::Response& response) {
    response.set_content(html, "text/html");
  });
}

std::vector<std::string> Site::many_pages(int count) {
  http_.Get(
      R"(/page/(\d+))", [count](const httplib::Request& request, httplib::Response& response) {
        const int number = std::stoi(request.matches[1].str());
        std::string html = "<title>" + std::to_string(number) + "</title>";
        for (int next : {number * 3 + 1, number * 3 + 2, number * 3 + 3, number / 2, number + 7}) {
          if (next < count) html += "<a href='/page/" + std::to_string(next) + "'>x</a>";
        }
        response.set_content(html, "text/html");
      });
  std::vector<std::string> all;
  for (int number = 0; number < count; ++number) all.push_back("/page/" + std::to_string(number));
  std::sort(all.begin(), all.end());
  return all;
}

void Site::start(const std::string& address) {
  address_ = address;
  port_ = http_.bind_to_any_port(address);
  ASSERT_GT(port_, 0);
  thread_ = std::thread{[this] { http_.listen_after_bind(); }};
  while (!http_.is_running()) std::this_thread::yield();
}

std::string Site::url(const std::string& path) const {
  return "http://" + address_ + ":" + std::to_string(port_) + path;
}

int Site::requests(const std::string& path) {
  const std::lock_guard lock{mutex_};
  return requests_[path];
}

int Site::all_requests() {
  const std::lock_guard lock{mutex_};
  return total_;
}

int Site::most_at_once() {
  const std::lock_guard lock{mutex_};
  return most_;
}

void Site::wait_for_requests(int count) {
  std::unique_lock lock{mutex_};
  arrived_.wait(lock, [&] { return total_ >= count; });
}

TemporaryDirectory::TemporaryDirectory() {
  path_ = (fs::temp_directory_path() / "crawler_test_XXXXXX").string();
  if (::mkdtemp(path_.data()) == nullptr) throw std::runtime_error{"no temporary directory"};
}

TemporaryDirectory::~TemporaryDirectory() { fs::remove_all(path_); }

std::string content_of(const std::string& file) {
  std::ostringstream text;
  text << std::ifstream{file}.rdbuf();
  return text.str();
}

Program::Program(const TemporaryDirectory& directory, std::vector<std::string> arguments)
    : errors_{directory.file("stderr")} {
  arguments.insert(arguments.begin(), CRAWLER_BINARY);
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_addopen(&files, STDERR_FILENO, errors_.c_str(),
                                   O_WRONLY | O_CREAT | O_TRUNC, 0644);
  // A process group of its own, as a shell gives one to what it starts.
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
  const int failed =
      ::posix_spawn(&pid_, CRAWLER_BINARY, &files, &attributes, argv.data(), environ);
  posix_spawn_file_actions_destroy(&files);
  posix_spawnattr_destroy(&attributes);
  if (failed != 0) throw std::runtime_error{"cannot start the crawler"};
}

Program::~Program() {
  if (reaped_) return;
  signal(SIGKILL);
  wait();
}

void Program::signal(int number) const { ::kill(pid_, number); }

void Program::press_ctrl_c() const { ::kill(-pid_, SIGINT); }

int Program::wait() {
  if (!reaped_) {
    while (::waitpid(pid_, &status_, 0) < 0 && errno == EINTR) {
    }
    reaped_ = true;
  }
  return WIFEXITED(status_) ? WEXITSTATUS(status_) : -WTERMSIG(status_);
}

bool Program::ended() {
  if (!reaped_) reaped_ = ::waitpid(pid_, &status_, WNOHANG) == pid_;
  return reaped_;
}

namespace {

std::multimap<pid_t, pid_t> children_by_parent() {
  std::multimap<pid_t, pid_t> all;
  for (const auto& entry : fs::directory_iterator{"/proc"}) {
    const std::string name = entry.path().filename().string();
    if (name.find_first_not_of("0123456789") != name.npos) continue;
    const std::string stat = content_of(entry.path() / "stat");
    const std::size_t end = stat.rfind(')');
    char state = '?';
    pid_t parent = 0;
    if (end == stat.npos || !(std::istringstream{stat.substr(end + 1)} >> state >> parent))
      continue;
    if (state != 'Z') all.emplace(parent, std::stoi(name));
  }
  return all;
}

}  // namespace

std::vector<pid_t> Program::fetchers() const {
  const auto all = children_by_parent();
  std::vector<pid_t> found;
  for (auto [guardian, last] = all.equal_range(pid_); guardian != last; ++guardian) {
    const auto [first, end] = all.equal_range(guardian->second);
    std::transform(first, end, std::back_inserter(found),
                   [](const auto& pair) { return pair.second; });
  }
  return found;
}

std::map<std::string, nlohmann::json> results_of(const std::string& file, const Site& site) {
  std::map<std::string, nlohmann::json> results;
  std::ifstream in{file};
  const std::string origin = site.url("");
  for (std::string line; std::getline(in, line);) {
    nlohmann::json result = nlohmann::json::parse(line);
    std::string url = result.at("url");
    if (url.starts_with(origin)) url.erase(0, origin.size());
    EXPECT_TRUE(results.emplace(url, std::move(result)).second)
        << url << " stands twice in the results";
  }
  return results;
}

std::vector<std::string> names(const std::map<std::string, nlohmann::json>& results) {
  std::vector<std::string> all;
  for (const auto& [name, result] : results) all.push_back(name);
  return all;
}

}  // namespace crawler_test
