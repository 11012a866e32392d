// Example: two robots recite a poem in turns, with one condition. A notify is not remembered: the
// one who answers has to wait before the other one begins.
#include <passel/condition.hpp>
#include <passel/runtime.hpp>
#include <passel/semaphore.hpp>
#include <passel/thread.hpp>

#include <cstdio>

constexpr const char* xiaoai_says[] = {
    "在", "好啊", "君住长江尾", "共饮长江水", "此恨何时已", "定不负相思意",
};
constexpr const char* tianmao_says[] = {
    "小爱同学", "我们来对古诗吧", "我住长江头", "日日思君不见君", "此水几时休", "只愿君心似我心",
};

void say(const char* line) {
  std::printf("%s : %s \n", passel::current_thread().name().c_str(), line);
}

void answer(const passel::Condition& cond, const passel::Semaphore& listening) {
  const auto guard = cond.acquire().unwrap();
  listening.release().unwrap();
  for (const char* line : xiaoai_says) {
    cond.wait().unwrap();
    say(line);
    cond.notify().unwrap();
  }
}

void begin(const passel::Condition& cond) {
  const auto guard = cond.acquire().unwrap();
  for (const char* line : tianmao_says) {
    say(line);
    cond.notify().unwrap();
    cond.wait().unwrap();
  }
}

int main(int argc, char** argv) {
  const passel::Runtime runtime{argc, argv};
  const passel::Condition cond;
  const passel::Semaphore listening{0};
  const auto xiaoai = passel::Thread::spawn({.name = "小爱"}, answer, cond, listening).unwrap();
  listening.acquire().unwrap().detach();
  const auto tianmao = passel::Thread::spawn({.name = "天猫精灵"}, begin, cond).unwrap();
  xiaoai.join().unwrap();
  tianmao.join().unwrap();
}
