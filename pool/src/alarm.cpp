// Layer pool: something that is to happen at a time.
#include <passel/detail/alarm.hpp>

#include <passel/detail/child.hpp>
#include <passel/detail/io_loop.hpp>

namespace passel::inline v0::detail {

Result<Alarm> Alarm::set(Deadline when, std::function<void()> call) {
  PASSEL_TRY(IoLoop* const loop, runtime_io());
  Alarm alarm;
  alarm.loop_ = loop;
  alarm.key_ = loop->at(when, std::move(call));
  return alarm;
}

Alarm::~Alarm() {
  if (loop_ != nullptr) loop_->cancel(key_);
}

}  // namespace passel::inline v0::detail
