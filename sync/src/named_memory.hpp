// Layer sync: shared memory that is found by the label of its descriptor.
#pragma once

#include <passel/detail/segment.hpp>
#include <passel/detail/shared_object.hpp>
#include <passel/result.hpp>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace passel::inline v0::detail {

// A memory file has a label, which readlink shows for every descriptor of it in /proc/PID/fd. The
// label is the name, so the name goes when the last descriptor goes, and there is nothing to clean
// up.
//
// Two processes may claim one name at the same moment. Each first makes its memory, which is seen
// from then on, in the state `claiming`, and then looks for others. Whoever finds a named one gives
// up, and so does whoever finds a claiming one with a smaller ticket. Whoever finds a claiming one
// with a larger ticket waits for it: that one either saw us and gives up, or it looked before we
// were there, and takes the name. Memory in an earlier state was made by somebody who has yet to
// look, and who will find us.
enum class NameState : std::uint32_t { unfinished = 0, claiming, named, gone };

/// At the very end of the segment, behind the user's bytes, which so begin at a page.
struct MemoryTrailer {
  std::atomic<std::uint32_t> state;
  std::uint32_t name_length;
  std::uint64_t size;
  std::uint64_t ticket;
  ProcessId claimer;
  std::array<char, 216> name;
};
static_assert(sizeof(MemoryTrailer) == 256);

/// What the handles of one memory in this process share. The segment is unmapped when the last open
/// handle is closed; the descriptor stays, and with it the name.
struct NamedMemory {
  Segment segment;
  std::string name;
  std::size_t size = 0;
};

/// Errors: invalid_argument.
[[nodiscard]] Result<void> check_memory_name(std::string_view name);
/// "psm_PID_TICKET".
[[nodiscard]] std::string automatic_memory_name(std::uint64_t ticket);
/// A number that nobody else has.
[[nodiscard]] std::uint64_t new_ticket();

/// New memory in the state claiming. Errors: invalid_argument, no_space.
[[nodiscard]] Result<Segment> make_named_memory(std::string_view name, std::size_t size,
                                                std::uint64_t ticket);
/// Gets the name for it. Errors: refused; no_space, when it was not possible to look.
[[nodiscard]] Result<void> claim_name(const Segment& memory, std::string_view name);
/// The memory that has the name. Errors: not_found, no_space.
[[nodiscard]] Result<Segment> find_named_memory(std::string_view name);

/// The memory behind a descriptor, its trailer checked. Errors: malformed, no_space.
[[nodiscard]] Result<Segment> open_named_memory(Descriptor descriptor);
[[nodiscard]] MemoryTrailer& trailer_of(const Segment& memory) noexcept;
void set_state(MemoryTrailer& trailer, NameState state) noexcept;

/// What this process may still take: what the host has available and its control group allows.
[[nodiscard]] std::uint64_t available_memory();

}  // namespace passel::inline v0::detail
