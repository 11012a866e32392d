// Example: a number that another process sets, and an array that it negates under the lock.
#include <passel/array.hpp>
#include <passel/process.hpp>
#include <passel/runtime.hpp>
#include <passel/value.hpp>

#include <cstdio>
#include <numeric>
#include <vector>

// Python's type codes, for those who know them by heart.
using Number = passel::Value<passel::typecode<'d'>>;
using Numbers = passel::Array<passel::typecode<'i'>>;

void f(const Number& n, const Numbers& a) {
  n.set_value(3.1415927);
  const auto guard = a.acquire().unwrap();
  for (int& x : a) x = -x;
}

int main(int argc, char** argv) {
  passel::Runtime runtime{argc, argv};
  std::vector<int> ten(10);
  std::iota(ten.begin(), ten.end(), 0);

  Number num{0.0};
  Numbers arr(ten);

  auto p = passel::Process::spawn<f>(num, arr).unwrap();
  p.join().unwrap();

  const std::vector<int> now = arr.values();
  std::puts(passel::WireValue{num.value()}.to_string().c_str());
  std::puts(passel::WireValue::list({now.begin(), now.end()}).to_string().c_str());
}
