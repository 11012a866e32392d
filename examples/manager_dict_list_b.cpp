// Example: ten children write their pids into a dictionary and a list
// (Python: d[os.getpid()] = os.getpid(); l.append(os.getpid())).
#include <passel/process.hpp>
#include <passel/runtime.hpp>
#include <passel/sync_manager.hpp>

#include <unistd.h>
#include <cstdio>
#include <vector>

void sign(const passel::DictProxy<int, int>& dict, const passel::ListProxy<int>& list) {
  dict.set(::getpid(), ::getpid()).unwrap();
  list.append(::getpid()).unwrap();
}

int main(int argc, char** argv) {
  passel::Runtime runtime{argc, argv};
  auto manager = passel::SyncManager::started().unwrap();
  const auto dict = manager.dict<int, int>().unwrap();
  const auto list = manager.list<int>({0, 1, 2, 3, 4}).unwrap();
  std::vector<passel::Process> children;
  for (int n = 0; n < 10; ++n)
    children.push_back(passel::Process::spawn<sign>(dict, list).unwrap());
  for (passel::Process& child : children) child.join().unwrap();
  std::puts(dict.text().unwrap().c_str());
  std::puts(list.text().unwrap().c_str());
}
