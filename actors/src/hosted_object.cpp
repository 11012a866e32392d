// Layer actors: hosted objects: their calls, replies and lines.
#include <passel/detail/hosted_object.hpp>

#include <passel/detail/hosted_result.hpp>

#include <iterator>

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
void HostedObject::session_ready(std::uint64_t) {}
void HostedObject::session_ended(std::uint64_t) {}
std::optional<std::string> HostedObject::text_at_once() const { return text(); }
const void* HostedObject::identity() const noexcept { return nullptr; }
void HostedObject::share_line(HostedObject&) {}

Result<HostedMaker> find_hosted_factory(TaskId id) {
  PASSEL_TRY(const TaskFunction task, find_task(id));
  PASSEL_TRY(const Encoded answer, task({}, {}));
  using Named = std::pair<std::uintptr_t, bool>;
  PASSEL_TRY(const auto named, decode<Named>(answer.bytes));
  return HostedMaker{reinterpret_cast<HostedFactory>(named.first),
                     named.second ? MadeOn::thread : MadeOn::io_thread};
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
  if (is_quick() && !line_->is_shared) return serve(std::move(call));
  call.keep();
  const auto site = call.site;
  const auto line = line_;
  {
    const std::lock_guard lock{line->mutex};
    const Line::Key key{call.caller.session, call.id};
    line->calls.push_back({shared_from_this(), std::move(call)});
    line->places.emplace(key, std::prev(line->calls.end()));
    if (std::exchange(line->running, true)) return;
  }
  const auto begun = site->run([line] { line->drain(); });
  if (!begun) line->refuse(begun.error());
}

void LinedObject::share_line(HostedObject& other) {
  if (const auto* lined = dynamic_cast<LinedObject*>(&other)) line_ = lined->line_;
  line_->is_shared = true;
}

void LinedObject::Line::refuse(const Error& error) {
  std::unique_lock lock{mutex};
  auto refused = std::exchange(calls, {});
  places.clear();
  running = false;
  lock.unlock();
  for (Waiting& one : refused) one.call.reply.set(error);
}

void LinedObject::serve(HostedCall&& call) {
  // Text, codecs and what is gone through are the user's.
  try {
    if (is_about_object(call.method)) return answer_about(*this, std::move(call));
    run(std::move(call));
  } catch (...) {
    call.reply.set(current_exception_as_error());
  }
}

std::optional<std::string> LinedObject::text_at_once() const {
  {
    const std::lock_guard lock{line_->mutex};
    if (line_->running) return std::nullopt;
  }
  // On the I/O thread, which alone could make it run.
  try {
    return text();
  } catch (...) {
    return "(" + current_exception_as_error().to_string() + ")";
  }
}

void LinedObject::abandoned(std::uint64_t session, std::uint64_t call) {
  std::list<Line::Waiting> gone;  // destroyed without the lock
  const std::lock_guard lock{line_->mutex};
  if (const auto found = line_->places.extract({session, call}))
    gone.splice(gone.end(), line_->calls, found.mapped());
}

void LinedObject::Line::drain() {
  std::unique_lock lock{mutex};
  while (!calls.empty()) {
    std::list<Waiting> first;
    first.splice(first.end(), calls, calls.begin());
    HostedCall& call = first.front().call;
    places.erase({call.caller.session, call.id});
    lock.unlock();
    first.front().object->serve(std::move(call));
    first.clear();  // perhaps the object's end
    lock.lock();
  }
  running = false;
}

}  // namespace passel::inline v0::detail
