// Layer transport: writing a line to a descriptor of the program without ever waiting for it.
#pragma once

#include <passel/export.hpp>

#include <climits>
#include <string_view>

namespace passel::inline v0::detail {

/// What a pipe takes in one piece, whoever else writes to it.
inline constexpr std::size_t whole_line_limit = PIPE_BUF;

/// Writes `bytes`, at most whole_line_limit of them, in one piece. False when the descriptor would
/// make the caller wait, or fails; a pipe takes nothing then. The flags of the open file, which
/// other processes share, are left alone; no SIGPIPE.
[[nodiscard]] PASSEL_API bool write_without_waiting(int descriptor,
                                                    std::string_view bytes) noexcept;

}  // namespace passel::inline v0::detail
