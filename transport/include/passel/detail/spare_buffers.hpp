// Layer transport: memory of large messages, used again for the next one.
#pragma once

#include <passel/export.hpp>

#include <cstddef>
#include <vector>

namespace passel::inline v0::detail {

/// Below that malloc is as good.
inline constexpr std::size_t least_spare = std::size_t{128} << 10;

/// An empty buffer with room for `size` bytes. A large one is taken from the few that this process
/// keeps: fresh memory costs a page fault for each 4 KiB, several times what copying them does.
/// Any thread.
[[nodiscard]] PASSEL_API std::vector<std::byte> take_buffer(std::size_t size);

/// The same of at least `size` bytes, with whatever was in it: to fill it with zeros takes as long
/// as what comes then.
[[nodiscard]] PASSEL_API std::vector<std::byte> take_used_buffer(std::size_t size);
/// Room for `more` bytes behind what is in the buffer.
PASSEL_API void make_room(std::vector<std::byte>& buffer, std::size_t more);

/// Keeps the memory for the next one, if it is large but not too large, and few are kept. Any
/// thread.
PASSEL_API void give_buffer(std::vector<std::byte>&& buffer) noexcept;

}  // namespace passel::inline v0::detail
