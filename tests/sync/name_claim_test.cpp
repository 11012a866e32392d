// Who gets a name of shared memory when several claim it at once: each order of events, made by
// hand.
#include <passel/shared_memory.hpp>

#include <gtest/gtest.h>

#include <unistd.h>
#include <cstdint>
#include <limits>
#include <string>
#include <thread>

#include "named_memory.hpp"

namespace {

using passel::Errc;
using passel::SharedMemory;
namespace detail = passel::detail;
using detail::NameState;

constexpr std::uint64_t first = 0;  // wins against everybody who claims, too
constexpr std::uint64_t last = std::numeric_limits<std::uint64_t>::max();

class NameClaim : public ::testing::Test {
 protected:
  /// Memory of a claimer who has not looked around yet.
  [[nodiscard]] detail::Segment claimer(std::uint64_t ticket) const {
    return detail::make_named_memory(name, 8, ticket).unwrap();
  }
  [[nodiscard]] Errc refusal() const {
    const auto memory = SharedMemory::create(8, name);
    return memory ? Errc{} : memory.error().code();
  }

  const std::string name = "passel_test_claim_" + std::to_string(::getpid());
};

TEST_F(NameClaim, IsLostToAClaimerWithASmallerTicket) {
  const auto rival = claimer(first);
  EXPECT_EQ(refusal(), Errc::refused);
}

TEST_F(NameClaim, WaitsForAClaimerWithALargerTicketThatGetsIt) {
  const auto rival = claimer(last);
  std::thread decides{[&rival] { detail::set_state(detail::trailer_of(rival), NameState::named); }};
  EXPECT_EQ(refusal(), Errc::refused);
  decides.join();
}

TEST_F(NameClaim, WaitsForAClaimerWithALargerTicketThatGivesUp) {
  const auto rival = claimer(last);
  std::thread decides{[&rival] { detail::set_state(detail::trailer_of(rival), NameState::gone); }};
  EXPECT_EQ(refusal(), Errc{});
  decides.join();
}

TEST_F(NameClaim, ADeadClaimerHasNoName) {
  const auto rival = claimer(last);
  detail::trailer_of(rival).claimer = {.pid = ::getpid(), .start = 1};  // an earlier one's number
  EXPECT_EQ(refusal(), Errc{});
  EXPECT_EQ(detail::trailer_of(rival).state, static_cast<std::uint32_t>(NameState::gone));
}

TEST_F(NameClaim, OneThatNeverDecidesIsTakenForTheWinner) {
  const auto rival = claimer(last);
  EXPECT_EQ(refusal(), Errc::refused);
  EXPECT_EQ(SharedMemory::attach(name).error(), Errc::not_found);
}

TEST_F(NameClaim, AttachWaitsForTheClaimer) {
  const auto rival = claimer(last);
  std::thread decides{[&rival] { detail::set_state(detail::trailer_of(rival), NameState::named); }};
  EXPECT_TRUE(SharedMemory::attach(name).is_ok());
  decides.join();
}

TEST_F(NameClaim, MemoryThatIsNotFinishedIsNotInTheWay) {
  const auto rival = claimer(first);
  detail::set_state(detail::trailer_of(rival), NameState::unfinished);
  const auto memory = SharedMemory::create(8, name);
  EXPECT_TRUE(memory.is_ok());
  // The other one looks only now, and finds us.
  detail::set_state(detail::trailer_of(rival), NameState::claiming);
  EXPECT_EQ(detail::claim_name(rival, name).error(), Errc::refused);
  EXPECT_EQ(detail::trailer_of(rival).state, static_cast<std::uint32_t>(NameState::gone));
}

}  // namespace
