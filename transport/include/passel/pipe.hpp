// Layer transport: Pipe, two connected ends.
#pragma once

#include <passel/connection.hpp>
#include <passel/export.hpp>
#include <passel/result.hpp>

namespace passel::inline v0 {

/// Which way messages go.
enum class PipeDirection {
  duplex,   ///< both ends send and receive
  one_way,  ///< `first` only receives, `second` only sends (Python: duplex=False)
};

/// Settings of a pipe.
struct PipeOptions {
  PipeDirection direction = PipeDirection::duplex;
};

/// Two ends of one line; what is sent at one is received at the other. It has no name and is gone
/// when both ends are.
///
///     auto [parent, child] = passel::Pipe::create().unwrap();
///     auto [reader, writer] =
///         passel::Pipe::create({.direction = passel::PipeDirection::one_way}).unwrap();
///
/// Source of the semantics: Python's multiprocessing.Pipe.
struct PASSEL_API Pipe {
  Connection first;
  Connection second;

  /// Never waits. Errors: no_space when this process may not have two more descriptors.
  [[nodiscard]] static Result<Pipe> create(PipeOptions options = {});
};

}  // namespace passel::inline v0
