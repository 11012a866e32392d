// Layer actors: hosted objects: their calls, replies and lines.
#include <passel/detail/hosted_object.hpp>

#include <passel/detail/hosted_result.hpp>

namespace passel::inline v0::detail {

HostedSite::~HostedSite() = default;

HostedReply& HostedReply::operator=(HostedReply&& other) noexcept {
  HostedReply taken{std::move(other)};
  std::swap(server_, taken.server_);
  std::swap(site_, taken.site_);
  std::swap(session_, taken.session_);
  std::swap(call_, taken.call_);
  return *this;
}

HostedReply::~HostedReply() {
  if (call_ != 0) set(Error{Errc::broken, "the object went away without an answer"});
}

void HostedReply::set(Result<Encoded> answer) {
  if (const std::uint64_t call = std::exchange(call_, 0))
    SessionServer::reply(server_, session_, call, std::move(answer));
}

void HostedReply::set_wire(const WireValue& value) {
  const auto site = site_.lock();
  if (!site) return set(encode(value));
  if (site->loop().on_loop_thread()) return set(encode(site->lend(value)));
  auto kept = std::make_shared<HostedReply>(std::move(*this));
  site->loop().post([kept, value] { kept->set_wire(value); });
}

void HostedReply::object(const std::string& type, std::shared_ptr<HostedObject> made) {
  const auto site = site_.lock();
  if (!site) return;
  if (site->loop().on_loop_thread()) return value(site->host(type, std::move(made), session_));
  auto kept = std::make_shared<HostedReply>(std::move(*this));
  site->loop().post([kept, type, made] { kept->object(type, made); });
}

void HostedCall::keep() {
  if (kept_) return;
  kept_ = std::make_shared<Kept>(Kept{
      std::string{method}, {args.begin(), args.end()}, {descriptors.begin(), descriptors.end()}});
  method = kept_->method;
  args = kept_->args;
  descriptors = kept_->descriptors;
}

HostedObject::~HostedObject() = default;
Result<WireValue> HostedObject::copy() const {
  return Error{Errc::unsupported, text() + " cannot be copied: its type cannot be sent"};
}
void HostedObject::abandoned(std::uint64_t, std::uint64_t) {}
void HostedObject::kept(std::uint64_t, std::uint64_t) {}
void HostedObject::discarded(std::uint64_t, std::uint64_t) {}
void HostedObject::session_ended(std::uint64_t) {}
std::optional<std::string> HostedObject::text_at_once() const { return text(); }
const void* HostedObject::identity() const noexcept { return nullptr; }

Result<HostedFactory> find_hosted_factory(TaskId id) {
  PASSEL_TRY(const TaskFunction task, find_task(id));
  PASSEL_TRY(const Encoded answer, task({}, {}));
  PASSEL_TRY(const auto address, decode<std::uintptr_t>(answer.bytes));
  return reinterpret_cast<HostedFactory>(address);
}

Error no_such_method(std::string_view method, const HostedObject& object) {
  std::string known;
  for (const std::string& name : object.methods()) known += (known.empty() ? "" : ", ") + name;
  return {Errc::not_found, "no method '" + std::string{method} +
                               "' is exposed; there are: " + (known.empty() ? "none" : known)};
}

bool is_about_object(std::string_view method) noexcept {
  return method == "#text" || method == "#copy" || method == "#methods";
}

void answer_about(const HostedObject& object, HostedCall&& call) {
  if (call.method == "#text") return call.reply.value(object.text());
  if (call.method == "#copy") return call.reply.value(object.copy());
  call.reply.value(object.methods());
}

void LinedObject::handle(HostedCall&& call) {
  const bool about = is_about_object(call.method);
  if (!about && !exposes(call.method)) return call.reply.set(no_such_method(call.method, *this));
  if (call.method == "#methods") return answer_about(*this, std::move(call));
  if (is_quick()) return serve(std::move(call));
  call.keep();
  const auto site = call.site;
  {
    const std::lock_guard lock{mutex_};
    line_.push_back(std::move(call));
    if (std::exchange(running_, true)) return;
  }
  const auto begun = site->run([self = shared_from_this()] { self->drain(); });
  if (!begun) refuse(begun.error());
}

void LinedObject::refuse(const Error& error) {
  std::unique_lock lock{mutex_};
  auto refused = std::exchange(line_, {});
  running_ = false;
  lock.unlock();
  for (HostedCall& call : refused) call.reply.set(error);
}

void LinedObject::serve(HostedCall&& call) {
  if (!is_about_object(call.method)) return run(std::move(call));
  // The text and the codec are the user's.
  try {
    answer_about(*this, std::move(call));
  } catch (...) {
    call.reply.set(current_exception_as_error());
  }
}

std::optional<std::string> LinedObject::text_at_once() const {
  {
    const std::lock_guard lock{mutex_};
    if (running_) return std::nullopt;
  }
  // On the I/O thread, which alone could make it run.
  try {
    return text();
  } catch (...) {
    return "(" + current_exception_as_error().to_string() + ")";
  }
}

void LinedObject::abandoned(std::uint64_t session, std::uint64_t call) {
  const std::lock_guard lock{mutex_};
  std::erase_if(line_, [&](const HostedCall& waiting) {
    return waiting.caller.session == session && waiting.id == call;
  });
}

void LinedObject::drain() {
  std::unique_lock lock{mutex_};
  while (!line_.empty()) {
    HostedCall call = std::move(line_.front());
    line_.pop_front();
    lock.unlock();
    serve(std::move(call));
    lock.lock();
  }
  running_ = false;
}

}  // namespace passel::inline v0::detail
