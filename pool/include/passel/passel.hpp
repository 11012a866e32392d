// Layer pool: everything passel has, in one include; only passel/testing.hpp is left to tests.
#pragma once

#include <passel/actor.hpp>
#include <passel/channel.hpp>
#include <passel/codec.hpp>
#include <passel/context.hpp>
#include <passel/exit_reason.hpp>
#include <passel/export.hpp>
#include <passel/finalize.hpp>
#include <passel/future.hpp>
#include <passel/lifo_queue.hpp>
#include <passel/log.hpp>
#include <passel/pool.hpp>
#include <passel/pool_results.hpp>
#include <passel/priority_queue.hpp>
#include <passel/process.hpp>
#include <passel/queue.hpp>
#include <passel/reach.hpp>
#include <passel/result.hpp>
#include <passel/runtime.hpp>
#include <passel/select.hpp>
#include <passel/simple_queue.hpp>
#include <passel/supervisor.hpp>
#include <passel/supervisor_options.hpp>
#include <passel/value.hpp>
#include <passel/version.hpp>
#include <passel/wait.hpp>
