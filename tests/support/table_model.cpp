#include "tests/support/table_model.hpp"

#include "messages/core/error.hpp"
#include "messages/core/limits.hpp"

#include <algorithm>
#include <tuple>

namespace tillstream::test {

// -- applying -----------------------------------------------------------------

void table_model::visit(tables& to, first_minutes& set,
                        const purchase_event& event, bool of_chain,
                        apply_outcome& out) {
  auto add = [&](int minute, int64_t n) {
    for (auto* visits : {&to.visits, &out.visits}) {
      auto& x = (*visits)[{event.when.day, minute}];
      (of_chain ? x.second : x.first) += n;
    }
  };
  auto [i, is_new]
    = set.try_emplace({event.when.day, event.user_id}, event.when.minute);
  if (is_new) {
    for (auto* counts : {&to.customers, &out.customers}) {
      auto& x = (*counts)[event.when.day];
      (of_chain ? x.chain : x.customers) += 1;
    }
    add(event.when.minute, 1);
  } else if (event.when.minute < i->second) {
    add(i->second, -1);
    add(event.when.minute, 1);
    i->second = event.when.minute;
  }
}

void table_model::add_event(tables& to, const purchase_event& event,
                            apply_outcome& out) {
  to.events.push_back(event);
  out.applied.push_back(event.event_id);
  accumulate(out.added, event);
  visit(to, to.first, event, false, out);
  visit(to, chain_, event, true, out);
  if (event.new_customer) {
    to.customers[event.when.day].fresh += 1;
    out.customers[event.when.day].fresh += 1;
  }
  auto& cursor = out.cursor;
  cursor.outbox_seq = std::max(cursor.outbox_seq, event.outbox_seq);
  cursor.recorded_at = std::max(cursor.recorded_at, event.recorded_at);
  cursor.apply_no += 1;
}

loyalty table_model::loyalty_of(const tables& of, const uuid& customer) const {
  loyalty result;
  result.last_purchase_at = timestamp::min();
  for (const auto& x : of.events) {
    if (x.user_id != customer)
      continue;
    result.purchases += 1;
    result.revenue += x.total;
    result.last_purchase_at = std::max(result.last_purchase_at, x.occurred_at);
  }
  return result;
}

apply_outcome table_model::apply_one(const apply_request& request) {
  apply_outcome out;
  if (epochs_[request.branch_id] != request.epoch)
    return out;
  auto& to = tables_[request.branch_id];
  if (to.cursor != request.before) {
    out.moved = true;
    return out;
  }
  out.owned = true;
  out.cursor = request.before;
  if (out.cursor.stream_incarnation != request.stream_incarnation) {
    out.cursor.stream_incarnation = request.stream_incarnation;
    out.cursor.stream_seq = 0;
  }
  for (const auto& x : request.events) {
    out.cursor.stream_seq = x.stream_seq;
    if (!x.reason.empty()) {
      out.quarantined += 1;
      to.set_aside.insert({request.stream_incarnation, x.stream_seq, x.reason});
    } else if (!event_log_.emplace(x.event.event_id, request.branch_id)
                  .second) {
      out.duplicates += 1;
    } else {
      add_event(to, x.event, out);
    }
  }
  to.cursor = out.cursor;
  for (const auto& [customer, totals] : out.added.customers)
    out.loyal[customer] = loyalty_of(to, customer);
  return out;
}

std::vector<apply_outcome>
table_model::apply(const std::vector<apply_request_ptr>& requests) {
  std::vector<apply_outcome> result;
  for (const auto& x : requests)
    result.push_back(apply_one(*x));
  return result;
}

// -- reading ------------------------------------------------------------------

branch_state table_model::load(const std::string& branch_id) const {
  branch_state result;
  auto i = tables_.find(branch_id);
  if (i == tables_.end())
    return result;
  const auto& of = i->second;
  result.cursor = of.cursor;
  for (const auto& x : of.events)
    result.days[x.when.day].sales
      += {x.total, 1, static_cast<int64_t>(x.items.size())};
  for (const auto& [day, counts] : of.customers)
    result.days[day].customers = counts;
  return result;
}

slice table_model::load_slice(const slice_request& request) const {
  using kind = slice_request::kind;
  slice result;
  if (request.what == kind::subset_customers) {
    std::set<std::pair<calendar_day, uuid>> seen;
    for (size_t i = 0; i < request.branch_ids.size(); ++i) {
      auto at = tables_.find(request.branch_ids[i]);
      if (at == tables_.end())
        continue;
      auto until
        = request.until_minutes.empty() ? 24 * 60 : request.until_minutes[i];
      for (const auto& x : at->second.events)
        if (x.when.day >= request.from && x.when.day <= request.to
            && x.when.minute <= until
            && seen.emplace(x.when.day, x.user_id).second)
          result.subset_customers[x.when.day] += 1;
    }
    return result;
  }
  auto at = tables_.find(request.branch_id);
  if (request.what == kind::known_events)
    for (const auto& id : request.event_ids)
      if (auto known = event_log_.find(id); known != event_log_.end()) {
        result.known_events.push_back(id);
        result.known_branches.push_back(known->second);
      }
  if (at == tables_.end())
    return result;
  const auto& of = at->second;
  result.apply_no = of.cursor.apply_no;
  std::map<uuid, loyalty> loyal;
  for (const auto& x : of.events) {
    sales_totals sale{x.total, 1, static_cast<int64_t>(x.items.size())};
    auto in_range = x.when.day >= request.from && x.when.day <= request.to;
    if (request.what == kind::hours && in_range)
      result.hours[{x.when.day, x.when.hour}] += sale;
    if (request.what == kind::minutes && x.when.day == request.from)
      result.minutes[x.when.minute].sales += sale;
    if (request.what == kind::loyal)
      loyal[x.user_id] = loyalty_of(of, x.user_id);
    for (const auto& item : x.items) {
      auto add = [&](product_totals& to) {
        to.quantity += 1;
        to.revenue += item.unit_price;
      };
      if (request.what == kind::products && in_range)
        add(result.products[item.product_id]);
      if (request.what == kind::product_days && in_range
          && item.product_id == request.product_id)
        add(result.product_days[x.when.day]);
    }
  }
  if (request.what == kind::minutes)
    for (const auto& [key, n] : of.visits)
      if (key.first == request.from) {
        result.minutes[key.second].customers += n.first;
        result.minutes[key.second].chain += n.second;
      }
  // Labels: the latest of all sales, whatever the period.
  for (const auto& x : of.events)
    for (const auto& item : x.items) {
      auto wanted = request.what == kind::products
                      ? result.products.count(item.product_id) > 0
                      : request.what == kind::product_days
                          && item.product_id == request.product_id;
      if (!wanted || (item.name.empty() && item.category.empty()))
        continue;
      auto& label = result.labels[item.product_id];
      if (x.outbox_seq > label.outbox_seq)
        label = {item.name, item.category, x.outbox_seq};
    }
  for (const auto& [id, totals] : loyal) {
    result.by_purchases.push_back({id, totals});
    result.by_revenue.push_back({id, totals});
  }
  auto key = [](const loyal_customer& x, bool by_revenue) {
    auto a = -x.totals.purchases, b = -x.totals.revenue;
    return by_revenue ? std::tuple{b, a, x.customer_id}
                      : std::tuple{a, b, x.customer_id};
  };
  auto sort = [&](std::vector<loyal_customer>& xs, bool by_revenue) {
    std::sort(xs.begin(), xs.end(), [&](const auto& x, const auto& y) {
      return key(x, by_revenue) < key(y, by_revenue);
    });
    xs.resize(std::min(xs.size(), limits::rank_max));
  };
  sort(result.by_purchases, false);
  sort(result.by_revenue, true);
  return result;
}

// -- the store ----------------------------------------------------------------

caf::expected<std::vector<apply_outcome>>
model_store::apply(const std::vector<apply_request_ptr>& requests) {
  how_->batches.push_back(requests.size());
  auto err = std::exchange(how_->apply_error, errc::none);
  if (err == errc::none)
    return tables_->apply(requests);
  if (how_->landed)
    tables_->apply(requests);
  return caf::make_error(err, "told to fail");
}

caf::expected<branch_state> model_store::load(const std::string& branch_id) {
  if (how_->read_error != errc::none)
    return caf::make_error(how_->read_error, "told to fail");
  return tables_->load(branch_id);
}

caf::expected<slice> model_store::load_slice(const slice_request& request) {
  if (how_->read_error != errc::none)
    return caf::make_error(how_->read_error, "told to fail");
  return tables_->load_slice(request);
}

caf::expected<int64_t> model_store::prune(int64_t) {
  return 0;
}

} // namespace tillstream::test
