#pragma once

#include <caf/actor_cast.hpp>
#include <caf/actor_control_block.hpp>
#include <caf/local_actor.hpp>
#include <caf/typed_response_promise.hpp>

#include <utility>

namespace tillstream::test {

/// A promise that a test keeps, to be answered from the test's own body.
///
/// The coordinator runs an actor on a worker that lives as long as that one
/// run; afterwards the actor still points to it. Delivering from outside must
/// therefore forget that worker first, so that CAF asks the scheduler.
template <class T>
class late_promise {
public:
  late_promise() = default;

  template <class Self>
  explicit late_promise(Self* self)
    : self_(self),
      keep_(self->ctrl()),
      promise_(self->template make_response_promise<T>()) {
    // nop
  }

  /// What the handler returns.
  const caf::typed_response_promise<T>& get() const {
    return promise_;
  }

  template <class X>
  void deliver(X&& x) {
    self_->context(nullptr);
    promise_.deliver(std::forward<X>(x));
  }

private:
  caf::local_actor* self_ = nullptr;
  caf::strong_actor_ptr keep_;
  caf::typed_response_promise<T> promise_;
};

} // namespace tillstream::test
