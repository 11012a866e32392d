// Example: ten children write into a dictionary with keys of different kinds, and into a list
// (Python: with Manager() as m: d = m.dict(); l = m.list(range(5))).
#include <passel/process.hpp>
#include <passel/runtime.hpp>
#include <passel/sync_manager.hpp>

#include <unistd.h>
#include <cstdio>
#include <vector>

void change(const passel::DictProxy<>& dict, const passel::ListProxy<int>& list) {
  dict.set(1, "1").unwrap();
  dict.set("2", 2).unwrap();
  dict.set(0.25, nullptr).unwrap();
  list.append(::getpid()).unwrap();
  std::puts(list.text().unwrap().c_str());
}

int main(int argc, char** argv) {
  passel::Runtime runtime{argc, argv};
  auto manager = passel::SyncManager::started().unwrap();
  const auto dict = manager.dict().unwrap();
  const auto list = manager.list<int>({0, 1, 2, 3, 4}).unwrap();
  std::vector<passel::Process> children;
  for (int n = 0; n < 10; ++n)
    children.push_back(passel::Process::spawn<change>(dict, list).unwrap());
  for (passel::Process& child : children) child.join().unwrap();
  std::puts(dict.text().unwrap().c_str());
  std::puts(list.text().unwrap().c_str());
}
