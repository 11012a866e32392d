// Example: pages fetched by executors: one, by map, as they come, all of them, in processes. The
// first argument is the way, the others are URLs (http://host:port/path).
#include <passel/process_pool_executor.hpp>
#include <passel/runtime.hpp>
#include <passel/thread_pool_executor.hpp>
#include <passel/wait.hpp>

#include <httplib.h>

#include <cstdio>
#include <string>
#include <utility>
#include <vector>

using Urls = std::vector<std::string>;
using passel::Future;
using passel::ThreadPoolExecutor;

/// The status code of a page, 0 when it could not be fetched.
int load_url(const std::string& url) {
  const auto path = url.find('/', url.find("//") + 2);
  httplib::Client client{url.substr(0, path)};
  const auto page = client.Get(path == std::string::npos ? "/" : url.substr(path));
  return page ? page->status : 0;
}

template <class Executor>
std::vector<Future<int>> submit_all(Executor& executor, const Urls& urls) {
  std::vector<Future<int>> tasks;
  for (const std::string& url : urls) tasks.push_back(executor.template submit<load_url>(url));
  return tasks;
}

void fetch_one(const Urls& urls) {
  auto executor = ThreadPoolExecutor::start({.max_workers = 1}).unwrap();
  auto future = executor.submit(load_url, urls.front());
  std::puts(future.done() ? "True" : "False");
  std::printf("%d\n", *future.result());
  std::puts(future.done() ? "True" : "False");
}

void fetch_map(const Urls& urls) {
  auto executor = ThreadPoolExecutor::start({.max_workers = 3}).unwrap();
  auto url = urls.begin();
  for (auto& status : executor.map(load_url, urls).unwrap())
    std::printf("'%s' page status_code %d\n", url++->c_str(), *status);
}

void fetch_as_completed(const Urls& urls) {
  auto executor = ThreadPoolExecutor::start({.max_workers = 3}).unwrap();
  std::vector<Future<std::pair<std::string, int>>> tasks;
  for (const std::string& url : urls)
    tasks.push_back(executor.submit([url] { return std::pair{url, load_url(url)}; }));
  for (auto future : passel::as_completed(std::move(tasks))) {
    const auto [url, status] = future.get().unwrap();
    std::printf("('%s', %d)\n", url.c_str(), status);
  }
}

void fetch_wait_all(const Urls& urls) {
  auto executor = ThreadPoolExecutor::start({.max_workers = 3}).unwrap();
  std::vector<Future<void>> tasks;
  for (const std::string& url : urls)
    tasks.push_back(executor.submit([url] {
      load_url(url);
      std::puts(url.c_str());
    }));
  passel::wait(tasks, passel::WaitFor::all_completed);
  std::puts("all_cone");
}

void fetch_processes(const Urls& urls) {
  auto executor = passel::ProcessPoolExecutor::start().unwrap();
  for (auto future : passel::as_completed(submit_all(executor, urls)))
    if (future.done()) std::printf("%d\n", future.get().unwrap());
}

int main(int argc, char** argv) {
  passel::Runtime runtime{argc, argv};
  if (argc < 3) return std::puts("usage: fetch one|map|as_completed|wait|processes URL..."), 2;
  const std::string way = argv[1];
  const Urls urls{argv + 2, argv + argc};
  if (way == "one") fetch_one(urls);
  if (way == "map") fetch_map(urls);
  if (way == "as_completed") fetch_as_completed(urls);
  if (way == "wait") fetch_wait_all(urls);
  if (way == "processes") fetch_processes(urls);
}
