// What is looked at, how that stands in the URL, what the page asks for it, and
// what follows from the answers.

import {get, question} from './api.js';
import {minor} from './format.js';

// -- the period and the filters -----------------------------------------------

export const addDays = (day, n) => {
  const t = new Date(`${day}T00:00:00Z`);
  t.setUTCDate(t.getUTCDate() + n);
  return t.toISOString().slice(0, 10);
};

export const daysBetween = (from, to) =>
  Math.round((Date.parse(to) - Date.parse(from)) / 86400000);

export const monthStart = (day) => `${day.slice(0, 7)}-01`;
export const monthEnd = (day) => addDays(nextMonth(day), -1);
export const nextMonth = (day) => monthStart(addDays(monthStart(day), 31));
const monthBefore = (day) => monthStart(addDays(monthStart(day), -1));
export const weekStart = (day) =>
  addDays(day, -((new Date(`${day}T00:00:00Z`).getUTCDay() + 6) % 7));

const isDay = (text) =>
  /^\d{4}-\d{2}-\d{2}$/.test(text ?? '') &&
  !isNaN(Date.parse(text)) &&
  new Date(`${text}T00:00:00Z`).toISOString().startsWith(text);

export const PERIODS = [
  {id: 'today', label: 'Today', key: 't'},
  {id: 'yesterday', label: 'Yesterday', key: 'y'},
  {id: '7d', label: '7 days', key: 'w'},
  {id: '28d', label: '28 days', key: 'f'},
  {id: 'month', label: 'Month', key: 'm'},
  {id: 'custom', label: 'Custom', key: 'c'},
];

const GRAINS = ['hour', 'day', 'week', 'month'];

const FIELDS = {
  period: (x) =>
    ['today', 'yesterday', 'day', '7d', '28d', 'month', 'custom'].includes(x),
  date: isDay,
  from: isDay,
  to: isDay,
  branch: (x) => x.length <= 64,
  product: (x) => x.length > 0 && x.length <= 256,
  by: (x) => x === 'quantity',
  loyal: (x) => x === 'revenue',
  grain: (x) => GRAINS.includes(x),
  compare: (x) => x === 'off',
};

/// Reads a query string; what makes no sense is left out.
export function readState(search) {
  const query = new URLSearchParams(search);
  const state = {period: 'today'};
  for (const [name, fits] of Object.entries(FIELDS)) {
    const value = query.get(name);
    if (value !== null && fits(value)) state[name] = value;
  }
  if (
    state.period === 'custom' &&
    !(state.from && state.to && state.from <= state.to)
  )
    state.period = 'today';
  if (state.period === 'day' && !state.date) state.period = 'today';
  return state;
}

export function writeState(state) {
  const query = new URLSearchParams();
  for (const name of Object.keys(FIELDS)) {
    const value = state[name];
    if (value && !(name === 'period' && value === 'today')) query.set(name, value);
  }
  const text = query.toString();
  return text ? `?${text}` : location.pathname;
}

/// The days of a state, and those that they are compared with. `fair` tells how
/// many days from the front may be compared: those that are over.
export function rangeOf(state, today) {
  const done = (from, to, before) => {
    const days = daysBetween(from, to) + 1;
    const open = to >= today ? Math.min(days, daysBetween(today, to) + 1) : 0;
    return {
      from,
      to,
      days,
      fair: days - open,
      single: days === 1,
      before: {from: before, to: addDays(before, days - 1)},
    };
  };
  switch (state.period) {
    case 'yesterday': {
      const day = addDays(today, -1);
      return done(day, day, addDays(day, -7));
    }
    case 'day':
      return done(state.date, state.date, addDays(state.date, -7));
    case '7d':
    case '28d': {
      const n = state.period === '7d' ? 7 : 28;
      const to = state.date ?? addDays(today, -1);
      return done(addDays(to, 1 - n), to, addDays(to, 1 - 2 * n));
    }
    case 'month': {
      const from = monthStart(state.date ?? today);
      const end = monthEnd(from);
      const to = end > today && from <= today ? today : end;
      const range = done(from, to, monthBefore(from));
      // The month before may be shorter.
      if (range.before.to >= from) {
        range.before.to = addDays(from, -1);
        range.fair = Math.min(range.fair, daysBetween(range.before.from, from));
      }
      return range;
    }
    case 'custom': {
      const n = daysBetween(state.from, state.to) + 1;
      return done(state.from, state.to, addDays(state.from, -n));
    }
    default:
      return done(today, today, addDays(today, -7));
  }
}

/// The state one period earlier (-1) or later (1).
export function shifted(state, today, by) {
  const range = rangeOf(state, today);
  const next = {...state};
  switch (state.period) {
    case '7d':
    case '28d':
      next.date = addDays(range.to, by * range.days);
      if (next.date >= addDays(today, -1)) delete next.date;
      return next;
    case 'month':
      next.date = by < 0 ? monthBefore(range.from) : nextMonth(range.from);
      if (next.date === monthStart(today)) delete next.date;
      return next;
    case 'custom':
      next.from = addDays(range.from, by * range.days);
      next.to = addDays(range.to, by * range.days);
      return next;
    default: {
      const date = addDays(range.from, by);
      delete next.date;
      if (date === today) return {...next, period: 'today'};
      if (date === addDays(today, -1)) return {...next, period: 'yesterday'};
      return {...next, period: 'day', date};
    }
  }
}

/// Whether there is a later period that has begun.
export const hasNext = (state, today) =>
  rangeOf(shifted(state, today, 1), today).from <= today &&
  !(['7d', '28d'].includes(state.period) && !state.date);

export const grainOf = (state, range) =>
  state.grain ??
  (range.single
    ? 'hour'
    : range.days <= 62
      ? 'day'
      : range.days <= 400
        ? 'week'
        : 'month');

/// The trend's own days: a period too short for its buckets gets a longer run.
export function trendRange(range, grain) {
  const {to} = range;
  const at = (from, before) => ({
    from,
    to,
    before: {from: before, to: addDays(before, daysBetween(from, to))},
  });
  switch (grain) {
    case 'hour':
      if (range.days <= 14)
        return range.single ? at(range.from, addDays(range.from, -7)) : range;
      return at(addDays(to, -6), addDays(to, -13));
    case 'day':
      return range.days >= 7 ? range : at(addDays(to, -27), addDays(to, -55));
    case 'week': {
      if (range.days >= 28)
        return at(
          weekStart(range.from),
          weekStart(addDays(weekStart(range.from), -7 * Math.ceil(range.days / 7))),
        );
      const from = addDays(weekStart(to), -77);
      return at(from, addDays(from, -84));
    }
    default: {
      let from = monthStart(range.from);
      let n = 1;
      for (let m = from; nextMonth(m) <= to; m = nextMonth(m)) ++n;
      while (n < 12) {
        from = monthBefore(from);
        ++n;
      }
      let before = from;
      for (let i = 0; i < n; ++i) before = monthBefore(before);
      return {from, to, before: {from: before, to: addDays(from, -1)}};
    }
  }
}

// -- the questions ------------------------------------------------------------

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
