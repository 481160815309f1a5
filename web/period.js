// What is looked at: the period, the filters, and how both stand in the URL.

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
