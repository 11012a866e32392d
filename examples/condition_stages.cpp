// Example: two processes wait on a condition until a third has done the first stage of the work.
#include <passel/condition.hpp>
#include <passel/process.hpp>
#include <passel/runtime.hpp>

#include "pace.hpp"

#include <cstdio>
#include <string>
#include <vector>

void stage_1(const passel::Condition& cond) {
  const std::string name = passel::current_process().name;
  std::printf("Starting %s\n", name.c_str());
  const auto guard = cond.acquire().unwrap();
  std::printf("%s done and ready for stage 2\n", name.c_str());
  cond.notify_all().unwrap();
}

void stage_2(const passel::Condition& cond) {
  const std::string name = passel::current_process().name;
  std::printf("Starting %s\n", name.c_str());
  const auto guard = cond.acquire().unwrap();
  cond.wait().unwrap();
  std::printf("%s running\n", name.c_str());
}

int main(int argc, char** argv) {
  passel::Runtime runtime{argc, argv};
  const passel::Condition condition;
  std::vector<passel::Process> clients;
  for (int i = 1; i <= 2; ++i) {
    const std::string name = "stage_2[" + std::to_string(i) + "]";
    clients.push_back(passel::Process::spawn<stage_2>({.name = name}, condition).unwrap());
    sleep_seconds(1);
  }
  // The original trusts that a second is enough for them to wait. A notify is not remembered, so
  // here we look.
  while (condition.waiting() < clients.size()) sleep_seconds(0.01);
  auto s1 = passel::Process::spawn<stage_1>({.name = "s1"}, condition).unwrap();
  s1.join().unwrap();
  for (auto& client : clients) client.join().unwrap();
}
