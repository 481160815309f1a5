// What the page asks for a state, and what follows from the answers.

import {get, question} from './api.js';
import {addDays, grainOf, rangeOf, trendRange} from './period.js';
import {minor} from './format.js';

const SPARK_DAYS = 14;
const HEAT_DAYS = 28;
export const ROWS = 10;

/// Above so many branches the answers do not tell each of them.
export const BRANCHES_MAX = 30;

/// The questions of a state, by what they are for.
/// @param branches How many the chain has.
export function questionsOf(state, today, branches) {
  const range = rangeOf(state, today);
  const grain = grainOf(state, range);
  const trend = trendRange(range, grain);
  // One day alone is no curve: small charts show the days that lead to it.
  const curve = range.single
    ? {from: addDays(range.to, 1 - SPARK_DAYS), to: range.to}
    : range;
  const heat =
    range.days >= 7
      ? range
      : {from: addDays(range.to, 1 - HEAT_DAYS), to: range.to};
  const days = ({from, to}) => ({from, to});
  const many = branches > BRANCHES_MAX;
  const ask = (name, parameters) =>
    question(
      name,
      !many
        ? parameters
        : {
            ...parameters,
            branch_id: state.branch,
            detail: state.branch ? undefined : 'total',
          },
    );
  const asks = {
    daily: ask('revenue', {...days(curve), granularity: 'day'}),
    trend: ask('revenue', {...days(trend), granularity: grain}),
    trendBefore: ask('revenue', {...days(trend.before), granularity: grain}),
    products: ask('top-products', {...days(range), by: state.by, limit: ROWS}),
    loyal: ask('loyal-customers', {by: state.loyal, limit: ROWS}),
    unique: ask('unique-customers', days(curve)),
    heat: ask('heatmap', days(heat)),
  };
  if (range.single)
    asks.summary = question('summary', {
      date: range.to === today ? undefined : range.to,
    });
  else
    Object.assign(asks, {
      dailyBefore: ask('revenue', {...days(range.before), granularity: 'day'}),
      uniqueBefore: ask('unique-customers', days(range.before)),
    });
  if (state.product) {
    const span = grain === 'hour' ? trendRange(range, 'day') : trend;
    asks.product = ask('product', {product_id: state.product, ...days(span)});
    asks.productRange = ask('product', {product_id: state.product, ...days(range)});
  }
  return {range, grain, trend, curve, heat, asks, many};
}

/// Asks all that is not there yet, and again what is in `again`. Calls `part`
/// as answers come; the same question is asked once.
export async function fill(model, again, part) {
  const running = new Map();
  const one = async (name) => {
    const path = model.asks[name];
    if (!running.has(path)) running.set(path, get(path));
    model.parts[name] = await running.get(path);
    part(name);
  };
  await Promise.all(
    Object.keys(model.asks)
      .filter((name) =>
        again === 'all'
          ? true
          : again
            ? again.includes(name)
            : !(name in model.parts),
      )
      .map(one),
  );
}

// -- what follows -------------------------------------------------------------

/// Answers by branch. A chain may have thousands, and each is looked for.
const indexes = new WeakMap();
function ofBranch(answer, branch) {
  if (!indexes.has(answer))
    indexes.set(answer, new Map(answer.branches.map((x) => [x.branch_id, x])));
  return indexes.get(answer).get(branch) ?? null;
}

/// The part of an answer that the filter is about: a branch, or all.
export const section = (answer, branch) =>
  !answer ? null : branch ? ofBranch(answer, branch) : answer.total;

const empty = () => ({revenue: 0, purchases: 0, items: 0, customers: 0});

const basket = (x) => (x.purchases ? Math.round(x.revenue / x.purchases) : null);

function fromSummary(x) {
  const read = (y) => ({
    revenue: minor(y.revenue),
    purchases: y.purchases,
    items: y.items,
    customers: y.unique_customers,
    basket: y.average_basket === null ? null : minor(y.average_basket),
  });
  return {...read(x), fresh: x.new_customers, before: read(x.previous)};
}

function sum(series, customers, n = Infinity) {
  const result = empty();
  series?.slice(0, n).forEach((x) => {
    result.revenue += minor(x.revenue);
    result.purchases += x.purchases;
    result.items += x.items;
  });
  const counted = customers?.slice(0, n) ?? [];
  // Distinct customers do not add up: what is shown is the mean of the days.
  if (counted.length)
    result.customers =
      counted.reduce((a, x) => a + x.customers, 0) / counted.length;
  return {...result, basket: basket(result)};
}

/// The key figures of a branch or of all: now, what is compared, and before.
export function figures(model, branch) {
  const {parts, range} = model;
  if (range.single) {
    const x = section(parts.summary, branch);
    return x && fromSummary(x);
  }
  if (!parts.daily || !parts.dailyBefore || !parts.unique || !parts.uniqueBefore)
    return null;
  const at = (name) => section(parts[name], branch);
  const [now, then] = [at('daily')?.series, at('dailyBefore')?.series];
  const [who, whoThen] = [at('unique')?.days, at('uniqueBefore')?.days];
  if (!now) return null;
  return {
    ...sum(now, who),
    fair: sum(now, who, range.fair),
    before: range.fair ? sum(then, whoThen, range.fair) : null,
  };
}

/// Curves of the last days, for the small charts.
export function curves(model, branch) {
  const days = section(model.parts.daily, branch)?.series ?? [];
  const who = section(model.parts.unique, branch)?.days ?? [];
  return {
    revenue: days.map((x) => minor(x.revenue)),
    purchases: days.map((x) => x.purchases),
    basket: days.map((x) => (x.purchases ? minor(x.revenue) / x.purchases : null)),
    customers: who.map((x) => x.customers),
  };
}

/// All branches with their figures, the one with the most revenue first.
export function branchRows(model) {
  const list = (model.parts.summary ?? model.parts.daily)?.branches ?? [];
  return list
    .map((x) => ({
      id: x.branch_id,
      name: x.name,
      zone: x.time_zone,
      as_of: x.as_of,
      ...figures(model, x.branch_id),
    }))
    .sort((a, b) => b.revenue - a.revenue || (a.id < b.id ? -1 : 1));
}

/// A product's days in buckets of the trend.
export function productSeries(days, grain, startOf) {
  const result = new Map();
  for (const x of days) {
    const key = grain === 'day' || grain === 'hour' ? x.day : startOf(x.day);
    const bucket = result.get(key) ?? {bucket: key, revenue: 0, quantity: 0};
    bucket.revenue += minor(x.revenue);
    bucket.quantity += x.quantity;
    result.set(key, bucket);
  }
  return [...result.values()];
}
