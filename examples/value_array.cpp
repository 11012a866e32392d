// Example: a number and an array in shared memory, changed by another process.
#include <passel/array.hpp>
#include <passel/process.hpp>
#include <passel/runtime.hpp>
#include <passel/value.hpp>

#include <cstdio>
#include <numeric>
#include <vector>

void f(const passel::Value<double>& n, const passel::Array<int>& a) {
  n.set_value(3.14);
  a.set(0, 5).unwrap();
}

int main(int argc, char** argv) {
  passel::Runtime runtime{argc, argv};
  std::vector<int> ten(10);
  std::iota(ten.begin(), ten.end(), 0);

  passel::Value<double> num{0.0};
  passel::Array<int> arr(ten);

  auto p = passel::Process::spawn<f>(num, arr).unwrap();
  p.join().unwrap();

  const std::vector<int> now = arr.values();
  std::puts(passel::WireValue{num.value()}.to_string().c_str());
  std::puts(passel::WireValue::list({now.begin(), now.end()}).to_string().c_str());
}
