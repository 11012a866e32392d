// The example program fetch, against a server on loopback that answers late where the test wants it
// to.
#include "run_program.hpp"

#include <httplib.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <condition_variable>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace std::chrono_literals;
using passel_test::run_program;
using ::testing::ElementsAre;
using ::testing::UnorderedElementsAre;

/// Serves /NUMBER. With `in_turn`, /1 is answered before /2 and that before /0, whoever asks first.
class StubServer {
 public:
  explicit StubServer(bool in_turn = false) {
    http_.new_task_queue = [] { return new httplib::ThreadPool(8); };
    http_.Get("/(\\d)", [this, in_turn](const httplib::Request& request, httplib::Response& page) {
      if (in_turn) {
        wait_for_turn(std::stoi(request.matches[1]));
      } else {
        std::this_thread::sleep_for(300ms);  // the client has time to see that it is not done
      }
      page.set_content("page", "text/plain");
    });
    port_ = http_.bind_to_any_port("127.0.0.1");
    thread_ = std::thread{[this] { http_.listen_after_bind(); }};
    while (!http_.is_running()) std::this_thread::yield();
  }
  StubServer(const StubServer&) = delete;
  StubServer& operator=(const StubServer&) = delete;
  ~StubServer() {
    http_.stop();
    thread_.join();
  }

  [[nodiscard]] std::string url(int page) const {
    return "http://127.0.0.1:" + std::to_string(port_) + "/" + std::to_string(page);
  }
  [[nodiscard]] std::string urls() const { return url(0) + " " + url(1) + " " + url(2); }

 private:
  void wait_for_turn(int page) {
    static constexpr int order[] = {1, 2, 0};
    std::unique_lock lock{mutex_};
    answered_.wait(lock, [&] { return turn_ >= 3 || order[turn_] == page; });
    // So much later that the client is done with the one before.
    if (turn_ > 0) std::this_thread::sleep_for(300ms);
    ++turn_;
    answered_.notify_all();
  }

  httplib::Server http_;
  int port_ = 0;
  std::thread thread_;
  std::mutex mutex_;
  std::condition_variable answered_;
  int turn_ = 0;
};

TEST(Fetch, OneResultAndWhetherItIsDone) {
  const StubServer server;
  EXPECT_THAT(run_program("fetch one " + server.url(0)), ElementsAre("False", "200", "True"));
}

TEST(Fetch, MapKeepsTheOrderOfTheUrls) {
  const StubServer server{true};
  EXPECT_THAT(run_program("fetch map " + server.urls()),
              ElementsAre("'" + server.url(0) + "' page status_code 200",
                          "'" + server.url(1) + "' page status_code 200",
                          "'" + server.url(2) + "' page status_code 200"));
}

TEST(Fetch, AsCompletedHasTheOrderOfTheAnswers) {
  const StubServer server{true};
  EXPECT_THAT(run_program("fetch as_completed " + server.urls()),
              ElementsAre("('" + server.url(1) + "', 200)", "('" + server.url(2) + "', 200)",
                          "('" + server.url(0) + "', 200)"));
}

TEST(Fetch, WaitComesAfterAll) {
  const StubServer server{true};
  EXPECT_THAT(run_program("fetch wait " + server.urls()),
              ElementsAre(server.url(1), server.url(2), server.url(0), "all_cone"));
}

TEST(Fetch, InProcesses) {
  const StubServer server;
  EXPECT_THAT(run_program("fetch processes " + server.urls()), ElementsAre("200", "200", "200"));
}

}  // namespace
