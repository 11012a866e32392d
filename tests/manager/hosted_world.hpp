// Tests: hosted objects in simulated worlds: a server without clients, and what all worlds share.
#pragma once

#include <passel/codec.hpp>
#include <passel/detail/hosted_object.hpp>
#include <passel/detail/io_loop.hpp>
#include <passel/manager_options.hpp>

#include <gtest/gtest.h>

#include "support/seed.hpp"

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <utility>

namespace passel_test {

using namespace passel::detail;
using passel::Result;
using passel::WireValue;

/// A server without clients: what objects answer with values is shown to whoever asks.
class Site final : public HostedSite {
 public:
  explicit Site(IoLoop& loop) : loop_{loop} {}
  std::function<void(const WireValue&)> answered;

  void adopt(WireValue&, std::uint64_t) override {}
  WireValue lend(const WireValue& value) override {
    answered(value);
    return value;
  }
  Result<WireValue> host(const std::string&, std::shared_ptr<HostedObject>,
                         std::uint64_t) override {
    return WireValue{};
  }
  Result<std::shared_ptr<HostedObject>> object_of(
      const WireValue&, std::uint64_t, std::initializer_list<std::string_view>) const override {
    return passel::Error{passel::Errc::not_found, "no object"};
  }
  bool has_room(std::uint64_t) override { return true; }
  Result<void> run(std::function<void()> work) override {
    work();
    return {};
  }
  IoLoop& loop() noexcept override { return loop_; }
  const passel::ManagerLimits& limits() const noexcept override { return limits_; }

 private:
  IoLoop& loop_;
  const passel::ManagerLimits limits_{};
};

template <class... A>
void call(HostedObject& object, const std::shared_ptr<Site>& site, std::uint64_t session,
          std::uint64_t id, std::string_view method, const A&... args) {
  const Encoded encoded = encode_pack(args...).unwrap();
  HostedCall made;
  made.site = site;
  made.caller = {session, 1};
  made.id = id;
  made.method = method;
  made.args = encoded.bytes;
  made.reply = HostedReply{{}, site, session, id};
  object.handle(std::move(made));
}

/// One world of a seed; `wrong` says what did not hold.
class World {
 public:
  World(IoLoop& loop, std::uint64_t seed) : random_{seed}, site_{std::make_shared<Site>(loop)} {}
  [[nodiscard]] const std::string& wrong() const noexcept { return wrong_; }

 protected:
  std::uint64_t pick(std::uint64_t below) { return random_() % below; }
  void expect(bool holds, const std::string& what) {
    if (!holds && wrong_.empty()) wrong_ = what;
  }

  std::mt19937_64 random_;
  std::shared_ptr<Site> site_;
  std::uint64_t last_call_ = 0;
  std::string wrong_;
};

/// Runs the worlds of many seeds where hosted objects run. Gives the sum of `count` of them.
template <class W>
std::uint64_t run_worlds(std::uint64_t W::*count) {
  const std::uint64_t first = passel_test::seed();
  const unsigned worlds = passel_test::rounds(10'000);
  IoLoop loop;
  std::uint64_t sum = 0;
  std::string wrong;
  std::uint64_t seed = first;
  const bool ran = loop.call([&] {
    for (unsigned n = 0; n < worlds && wrong.empty(); ++n) {
      seed = first + n;
      W world{loop, seed};
      world.run();
      wrong = world.wrong();
      sum += world.*count;
    }
  });
  EXPECT_TRUE(ran);
  EXPECT_EQ(wrong, "") << "PASSEL_SEED=" << seed;
  return sum;
}

}  // namespace passel_test
