// Example: five users and two places.
#include <passel/process.hpp>
#include <passel/runtime.hpp>
#include <passel/semaphore.hpp>

#include "pace.hpp"

#include <cstdio>
#include <random>
#include <string>
#include <vector>

void go(const passel::Semaphore& places, const std::string& user) {
  {
    const auto place = places.acquire().unwrap();
    std::printf("%s 占到一个茅坑\n", user.c_str());
    std::random_device random;
    sleep_seconds(std::uniform_int_distribution{0, 3}(random));
  }
  std::printf("%s OK\n", user.c_str());
}

int main(int argc, char** argv) {
  passel::Runtime runtime{argc, argv};
  const passel::Semaphore places{2};
  std::vector<passel::Process> users;
  for (int i = 0; i < 5; ++i) {
    users.push_back(passel::Process::spawn<go>(places, "user" + std::to_string(i)).unwrap());
  }
  for (auto& user : users) user.join().unwrap();
}
