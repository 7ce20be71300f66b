#pragma once

#include <napi.h>

#include <functional>
#include <string>
#include <utility>

#include "failure.h"

namespace understudy {

Napi::Value errorValue(Napi::Env env, const Failure& failure);

// Runs on a worker thread, answers with a promise. What it works on is its own: nothing that JavaScript could change.
class Work : public Napi::AsyncWorker {
 public:
  using Run = std::function<Failure()>;
  using Answer = std::function<Napi::Value(Napi::Env)>;

  static Napi::Value start(Napi::Env env, Run run, Answer answer);

 protected:
  void Execute() override;
  void OnOK() override;
  void OnError(const Napi::Error& error) override;

 private:
  Work(Napi::Env env, Run run, Answer answer)
      : Napi::AsyncWorker(env, "understudy-rocksdb"),
        run_(std::move(run)),
        answer_(std::move(answer)),
        deferred_(Napi::Promise::Deferred::New(env)) {}

  Run run_;
  Answer answer_;
  Failure failure_;
  Napi::Promise::Deferred deferred_;
};

}  // namespace understudy
