// Example: two children write into one dictionary, and the parent reads both entries
// (Python: Process(target=f, args=(d, 'jack', 22))).
#include <passel/process.hpp>
#include <passel/runtime.hpp>
#include <passel/sync_manager.hpp>

#include <cstdio>
#include <string>

using Ages = passel::DictProxy<std::string, int>;

void put_age(const Ages& ages, const std::string& name, int age) { ages.set(name, age).unwrap(); }

int main(int argc, char** argv) {
  passel::Runtime runtime{argc, argv};
  auto manager = passel::SyncManager::started().unwrap();
  const Ages ages = manager.dict<std::string, int>().unwrap();
  auto first = passel::Process::spawn<put_age>(ages, "jack", 22).unwrap();
  auto second = passel::Process::spawn<put_age>(ages, "hong", 34).unwrap();
  first.join().unwrap();
  second.join().unwrap();
  std::puts(ages.text().unwrap().c_str());  // in the order in which they were written
}
