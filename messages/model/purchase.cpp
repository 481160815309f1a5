#include "messages/model/purchase.hpp"

namespace tillstream {

std::string to_string(verdict x) {
  switch (x) {
    case verdict::recorded:
      return "recorded";
    case verdict::replayed:
      return "replayed";
    case verdict::key_reused:
      return "key-reused";
    case verdict::receipt_taken:
      return "receipt-taken";
    case verdict::customer_unknown:
      return "customer-unknown";
    case verdict::in_progress:
      return "in-progress";
    case verdict::unavailable:
      return "unavailable";
  }
  return "unknown";
}

} // namespace tillstream
