// Example crawler: what a fetcher does, as a process or as a thread.
#pragma once

#include "messages.hpp"

#include <passel/queue.hpp>

#include <stop_token>

namespace crawler {

using JobQueue = passel::JoinableQueue<Job>;
using ResultQueue = passel::Queue<PageResult>;

/// Takes jobs and answers them until the queue of jobs is shut down. A job is in the fetcher's hand
/// until task_done(): when the fetcher dies before that, the queue gives the job to another one.
void fetch_pages(JobQueue jobs, ResultQueue results, FetchOptions options, std::uint32_t worker,
                 std::stop_token stop);

/// The same for a process of its own: a Ctrl-C at the terminal reaches every process there, and is
/// for the parent alone.
void fetch_pages_in_process(JobQueue jobs, ResultQueue results, FetchOptions options,
                            std::uint32_t worker);

}  // namespace crawler
