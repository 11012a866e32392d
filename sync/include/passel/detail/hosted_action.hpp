// Layer sync: barriers in a manager's server whose action is a function of the program.
#pragma once

#include <passel/barrier.hpp>
#include <passel/detail/hosted_object.hpp>
#include <passel/result.hpp>

#include <memory>

namespace passel::inline v0::detail {

/// What the server calls when all parties are there.
using HostedAction = Result<void> (*)();

template <auto Action>
Result<void> run_hosted_action() {
  auto action = Action;
  return run_barrier_action(action);
}

/// A barrier out of (parties) or (parties, nanoseconds of a wait or nothing).
PASSEL_API Result<std::shared_ptr<HostedObject>> make_hosted_barrier(const HostedCall& call,
                                                                     HostedAction action);

template <auto Action>
Result<std::shared_ptr<HostedObject>> make_barrier_with(const HostedCall& call) {
  return make_hosted_barrier(call, &run_hosted_action<Action>);
}

}  // namespace passel::inline v0::detail
