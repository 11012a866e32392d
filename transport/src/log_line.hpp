// Layer transport: writing a line to a descriptor of the program without waiting for it for long.
#pragma once

#include <passel/export.hpp>

#include <chrono>
#include <climits>
#include <string_view>

namespace passel::inline v0::detail {

/// What a pipe takes in one piece, whoever else writes to it.
inline constexpr std::size_t whole_line_limit = PIPE_BUF;

/// What became of a line.
enum class LineWrite { done, would_wait, failed };

/// Writes `bytes`, at most whole_line_limit of them, in one piece, if that needs no waiting; what
/// is not done has left nothing in a pipe. The flags of the open file, which other processes share,
/// are left alone; no SIGPIPE.
[[nodiscard]] PASSEL_API LineWrite write_without_waiting(int descriptor,
                                                         std::string_view bytes) noexcept;
/// The same, but gives the other side `limit` to make room.
[[nodiscard]] PASSEL_API LineWrite write_within(std::chrono::milliseconds limit, int descriptor,
                                                std::string_view bytes) noexcept;

}  // namespace passel::inline v0::detail
