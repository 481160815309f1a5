#include "actors/aggregation/pending_queries.hpp"

#include <cassert>
#include <utility>

namespace tillstream {

pending_queries::~pending_queries() {
  while (!waiting_.empty())
    finish(waiting_.begin());
}

uint64_t pending_queries::open(size_t branches, reply on_answer) {
  assert(branches > 0);
  entry x;
  x.parts = std::make_shared<shard_answers>();
  // Until a part comes.
  x.parts->branches.assign(branches, {errc::unavailable, nullptr});
  x.missing = branches;
  x.on_answer = std::move(on_answer);
  waiting_.emplace(++last_, std::move(x));
  return last_;
}

void pending_queries::take(uint64_t number, size_t index, branch_answer part) {
  auto i = waiting_.find(number);
  if (i == waiting_.end())
    return;
  i->second.parts->branches.at(index) = std::move(part);
  if (--i->second.missing == 0)
    finish(i);
}

void pending_queries::expire(uint64_t number) {
  if (auto i = waiting_.find(number); i != waiting_.end())
    finish(i);
}

void pending_queries::finish(std::map<uint64_t, entry>::iterator which) {
  auto x = std::move(which->second);
  waiting_.erase(which);
  x.on_answer(std::move(x.parts));
}

} // namespace tillstream
