#include "messages/model/aggregates.hpp"

#include <algorithm>

namespace tillstream {

namespace {

void add_customer(branch_delta& delta, const purchase_event& event) {
  auto [i, is_new] = delta.customers.try_emplace(event.user_id);
  auto& x = i->second;
  x.purchases += 1;
  x.revenue += event.total;
  x.last_purchase_at = is_new ? event.occurred_at
                              : std::max(x.last_purchase_at, event.occurred_at);
  auto [visit, is_first] = delta.visits.try_emplace(
    {event.when.day, event.user_id}, event.when.minute);
  if (!is_first)
    visit->second = std::min(visit->second, event.when.minute);
}

void add_label(branch_delta& delta, const event_item& item, int64_t seq) {
  if (item.name.empty() && item.category.empty())
    return;
  auto [i, is_new] = delta.labels.try_emplace(item.product_id);
  if (is_new || seq > i->second.outbox_seq)
    i->second = product_label{item.name, item.category, seq};
}

} // namespace

void accumulate(branch_delta& delta, const purchase_event& event) {
  sales_totals sale{event.total, 1, static_cast<int64_t>(event.items.size())};
  const auto& when = event.when;
  delta.events += 1;
  delta.days[when.day] += sale;
  delta.hours[{when.day, when.hour}] += sale;
  delta.minutes[{when.day, when.minute}] += sale;
  if (event.new_customer)
    delta.fresh[when.day] += 1;
  add_customer(delta, event);
  for (const auto& item : event.items) {
    auto& product = delta.products[{when.day, item.product_id}];
    product.quantity += 1;
    product.revenue += item.unit_price;
    add_label(delta, item, event.outbox_seq);
  }
}

} // namespace tillstream
