// Example: a child changes one of everything that a manager hosts (Python: Manager().dict(),
// .list(), .Namespace(), .Value(), .Array()).
#include <passel/process.hpp>
#include <passel/runtime.hpp>
#include <passel/sync_manager.hpp>

#include <cstdio>

struct Shared {
  passel::ValueProxy<double> num;
  passel::ArrayProxy<int> arr;
  passel::ListProxy<std::string> list;
  passel::DictProxy<int, int> dict;
  passel::NamespaceProxy space;
};

void change(const Shared& shared) {
  shared.num.set(3.14).unwrap();
  shared.arr.set(0, 5).unwrap();
  shared.list.append("Hello").unwrap();
  shared.dict.set(1, 2).unwrap();
  shared.space.set("a", 10).unwrap();
}

int main(int argc, char** argv) {
  passel::Runtime runtime{argc, argv};
  auto manager = passel::SyncManager::started().unwrap();
  const Shared shared{manager.value(0.0).unwrap(),
                      manager.array<int>({0, 1, 2, 3, 4, 5, 6, 7, 8, 9}).unwrap(),
                      manager.list<std::string>().unwrap(), manager.dict<int, int>().unwrap(),
                      manager.namespace_().unwrap()};
  auto child = passel::Process::spawn<change>(shared).unwrap();
  child.join().unwrap();
  std::printf("%g\n", shared.num.get().unwrap());
  for (const passel::DynamicProxy& each :
       {passel::DynamicProxy{shared.arr}, passel::DynamicProxy{shared.list},
        passel::DynamicProxy{shared.dict}, passel::DynamicProxy{shared.space}})
    std::puts(each.text().unwrap().c_str());
}
