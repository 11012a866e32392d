// Test support: classes in a manager's server, and a manager of its own for each case.
#pragma once

#include <passel/base_manager.hpp>
#include <passel/future.hpp>

#include <gtest/gtest.h>

#include "support/own_address.hpp"

#include <unistd.h>
#include <stdexcept>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace passel_test {

struct Counter {
  Counter() = default;
  Counter(int start, std::string name) : total{start}, label{std::move(name)} {}
  int add(int n) { return total += n; }
  [[nodiscard]] int get() const { return total; }
  [[nodiscard]] std::string name() const { return label; }
  void fail() { throw std::out_of_range{"no such thing"}; }
  passel::Result<int> refuse(int limit) {
    return passel::Error{passel::Errc::full, "limit " + std::to_string(limit)};
  }
  int secret() { return 42; }
  [[nodiscard]] int pid() const { return ::getpid(); }
  [[nodiscard]] std::string to_string() const { return "Counter at " + std::to_string(total); }
  int total = 0;
  std::string label = "plain";
};

/// One for all clients.
struct Board {
  void put(std::string text) { texts.push_back(std::move(text)); }
  [[nodiscard]] std::vector<std::string> all() const { return texts; }
  std::vector<std::string> texts;
};
inline Board& the_board() {
  static Board board;
  return board;
}

/// Somebody asks; another one answers.
struct Rendezvous {
  passel::Future<int> wait() {
    waiting.emplace_back();
    return waiting.back().future();
  }
  int meet(int value) {
    const int met = static_cast<int>(waiting.size());
    for (auto& one : waiting) one.set(value);
    waiting.clear();
    return met;
  }
  std::vector<passel::Promise<int>> waiting;
};

struct Sleeper {
  void sleep_until_killed() {
    for (;;) ::pause();
  }
};

inline int doubled(Counter& counter, int factor) { return counter.total *= factor; }

inline void register_types(passel::BaseManager& manager) {
  manager
      .register_type<Counter, passel::constructor<int, std::string>, &Counter::add, &Counter::get,
                     &Counter::name, &Counter::fail, &Counter::refuse, &Counter::pid,
                     passel::exposed<"times", &doubled>>("Counter")
      .unwrap();
  manager.register_type<Counter, &Counter::add, passel::quick_methods>("Quick").unwrap();
  manager.register_type<Board, passel::factory<&the_board>, &Board::put, &Board::all>("Board")
      .unwrap();
  manager.register_type<Rendezvous, &Rendezvous::wait, &Rendezvous::meet>("Rendezvous").unwrap();
  manager.register_type<Sleeper, &Sleeper::sleep_until_killed>("Sleeper").unwrap();
}

inline std::string kind_of(const testing::TestParamInfo<passel::Address>& address) {
  if (address.param.index() == 0) return "Unix";
  return std::get<passel::TcpAddress>(address.param).host == "::1" ? "TcpV6" : "Tcp";
}

/// A server of its own for each case, at each kind of address.
class Manager : public testing::TestWithParam<passel::Address> {
 protected:
  Manager() : manager{{.address = GetParam()}} { register_types(manager); }
  void SetUp() override {
    if (GetParam() == passel::Address{passel::TcpAddress{"::1", 0}} && !has_v6())
      GTEST_SKIP() << "this host has no ::1";
    manager.start().unwrap();
  }
  passel::Proxy<Counter> counter(int start = 0, const char* name = "c") {
    return manager.create<Counter>("Counter", start, name).unwrap();
  }
  passel::BaseManager manager;
};

inline void add_in_child(const passel::Proxy<Counter>& c, int n) {
  c.call<&Counter::add>(n).unwrap();
}

}  // namespace passel_test
