#include "work.h"

#include <exception>
#include <new>

namespace understudy {

Napi::Value errorValue(Napi::Env env, const Failure& failure) {
  // The message may quote a name from the disk, in any encoding; napi makes text of it either way.
  Napi::Error error = Napi::Error::New(env, failure.message);
  error.Set("code", Napi::String::New(env, failure.code));
  return error.Value();
}

Napi::Value Work::start(Napi::Env env, Run run, Answer answer) {
  auto* work = new Work(env, std::move(run), std::move(answer));
  const Napi::Value promise = work->deferred_.Promise();
  work->Queue();
  return promise;
}

void Work::Execute() {
  try {
    failure_ = run_();
  } catch (const std::bad_alloc&) {
    failure_ = {"MEMORY", "out of memory"};
  } catch (const std::exception& error) {
    failure_ = {"IO", error.what()};
  } catch (...) {
    failure_ = {"IO", "an unknown exception"};
  }
  // What it held of the store goes on this thread, too.
  run_ = nullptr;
}

void Work::OnOK() {
  const Napi::Env env = Env();
  Napi::HandleScope scope(env);
  if (failure_) {
    deferred_.Reject(errorValue(env, failure_));
    return;
  }
  try {
    deferred_.Resolve(answer_(env));
  } catch (const Napi::Error& error) {
    deferred_.Reject(error.Value());
  } catch (const std::bad_alloc&) {
    deferred_.Reject(errorValue(env, {"MEMORY", "out of memory"}));
  }
}

void Work::OnError(const Napi::Error& error) { deferred_.Reject(error.Value()); }

}  // namespace understudy
