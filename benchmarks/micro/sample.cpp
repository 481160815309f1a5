#include "benchmarks/micro/sample.hpp"

namespace tillstream::bench {

const chain& sample_chain() {
  static const auto instance = [] {
    chain result;
    result.name = "Bench";
    result.branches = {{"branch-01", "One", "Europe/Berlin", 0},
                       {"branch-02", "Two", "Europe/Berlin", 0},
                       {"branch-03", "Three", "Europe/Berlin", 0}};
    return result;
  }();
  return instance;
}

const std::string& sample_body() {
  static const std::string instance
    = R"({"branch_id":"branch-01","cashier_id":"cashier-1","pos_id":"pos-1",)"
      R"("receipt_id":"r-0000000000000001",)"
      R"("idempotency_key":"6f0d2b0a-5a56-4b6e-9d0e-0a7b3f1c2d3e","items":[)"
      R"({"product_id":"product-000001","name":"product-000001",)"
      R"("unit_price":"2.50","qty":1},)"
      R"({"product_id":"product-000002","name":"product-000002",)"
      R"("unit_price":"2.50","qty":1},)"
      R"({"product_id":"product-000003","name":"product-000003",)"
      R"("unit_price":"2.50","qty":1}]})";
  return instance;
}

purchase_context sample_context() {
  purchase_context result;
  result.till_branch = "branch-01";
  result.traceparent
    = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
  result.now = from_ms(1'700'000'000'000);
  return result;
}

purchase_event sample_event(uint64_t n) {
  purchase_event result;
  uuid_source ids{n};
  result.recorded_at = from_ms(1'700'000'000'000 + static_cast<int64_t>(n));
  result.occurred_at = result.recorded_at;
  result.event_id = ids.v7(result.recorded_at);
  result.purchase_id = ids.v7(result.recorded_at);
  result.outbox_seq = static_cast<int64_t>(n) + 1;
  result.branch_id = "branch-01";
  result.cashier_id = "cashier-1";
  result.pos_id = "pos-1";
  result.receipt_id = "r-0000000000000001";
  result.idempotency_key = ids.v4();
  result.user_id = ids.v4();
  result.new_customer = true;
  result.total = 750;
  auto clock = branch_clock::make(sample_chain().branches[0]);
  result.when = clock->at(result.occurred_at);
  for (uint64_t i = 0; i < 3; ++i) {
    event_item item;
    item.product_id = "product-" + std::to_string(100 + (n + 7 * i) % 200);
    item.name = item.product_id;
    item.unit_price = 250;
    result.items.push_back(item);
  }
  return result;
}

} // namespace tillstream::bench
