// Numbers, money and dates, in the reader's language and the chain's currency.

const locale = navigator.languages?.length ? [...navigator.languages] : undefined;

/// Formatters take a while to make, and the first paint needs few of them.
function lazy(make) {
  let made = null;
  return () => (made ??= make());
}

let currency = 'USD';
let digits = 2;
let moneyFormat, roundFormat, compactFormat;

export function setCurrency(code) {
  if (moneyFormat && code === currency) return;
  currency = code;
  const make = (more) =>
    lazy(
      () =>
        new Intl.NumberFormat(locale, {
          style: 'currency',
          currency,
          currencyDisplay: 'narrowSymbol',
          ...more,
        }),
    );
  moneyFormat = make({});
  digits = moneyFormat().resolvedOptions().maximumFractionDigits;
  roundFormat = make({maximumFractionDigits: 0, minimumFractionDigits: 0});
  compactFormat = make({
    notation: 'compact',
    maximumFractionDigits: 1,
    minimumFractionDigits: 0,
  });
}

/// '4.50' becomes 450. Exact up to 2^53, which is 90 trillion dollars.
export function minor(text) {
  if (text === null || text === undefined) return 0;
  const [whole, part = ''] = text.split('.');
  const sign = whole.startsWith('-') ? -1 : 1;
  const scale = part.length;
  return sign * (Math.abs(Number(whole)) * 10 ** scale + Number(part || 0));
}

/// 450 becomes '4.50', as the API writes it.
export function decimal(amount, places = digits) {
  const sign = amount < 0 ? '-' : '';
  const text = String(Math.abs(amount)).padStart(places + 1, '0');
  return places === 0
    ? sign + text
    : `${sign}${text.slice(0, -places)}.${text.slice(-places)}`;
}

export const money = (amount) => moneyFormat().format(amount / 10 ** digits);
export const moneyRound = (amount) => roundFormat().format(amount / 10 ** digits);
export const moneyCompact = (amount) =>
  Math.abs(amount) < 1000 * 10 ** digits
    ? moneyRound(amount)
    : compactFormat().format(amount / 10 ** digits);

const number = (options) => lazy(() => new Intl.NumberFormat(locale, options));

const plain = number({});
const one = number({maximumFractionDigits: 1});
const compact = number({notation: 'compact', maximumFractionDigits: 1});
export const count = (n) => plain().format(n);
export const about = (n) => one().format(n);
export const countCompact = (n) =>
  n < 10000 ? plain().format(n) : compact().format(n);

const percentFormat = number({
  style: 'percent',
  maximumFractionDigits: 1,
  minimumFractionDigits: 1,
});
const wholePercent = number({
  style: 'percent',
  maximumFractionDigits: 0,
});
export const percent = (x) => percentFormat().format(x);

/// How much more or less: {text, sign}; nothing to compare with is 'new'.
export function change(now, before) {
  if (!before) return now ? {text: 'new', sign: 0} : {text: '–', sign: 0};
  const x = now / before - 1;
  if (Math.abs(x) < 0.0005) return {text: 'same', sign: 0};
  const size =
    Math.abs(x) >= 10
      ? '> 999%'
      : (Math.abs(x) >= 0.995 ? wholePercent : percentFormat)().format(Math.abs(x));
  return {text: size, sign: Math.sign(x)};
}

// -- dates: 'YYYY-MM-DD' is a day without a zone ------------------------------

const utc = (day) => new Date(`${day}T00:00:00Z`);
const day = (options) =>
  lazy(() => new Intl.DateTimeFormat(locale, {timeZone: 'UTC', ...options}));

const long = day({weekday: 'long', day: 'numeric', month: 'long', year: 'numeric'});
const medium = day({
  weekday: 'short',
  day: 'numeric',
  month: 'short',
  year: 'numeric',
});
const short = day({day: 'numeric', month: 'short'});
const shortYear = day({day: 'numeric', month: 'short', year: 'numeric'});
const monthYear = day({month: 'long', year: 'numeric'});
const monthShort = day({month: 'short', year: '2-digit'});
const weekdayShort = day({weekday: 'short'});
const weekdayLong = day({weekday: 'long'});
const weekdayDay = day({weekday: 'short', day: 'numeric', month: 'short'});

export const dayLong = (d) => long().format(utc(d));
export const dayMedium = (d) => medium().format(utc(d));
export const dayShort = (d) => short().format(utc(d));
export const dayWithYear = (d) => shortYear().format(utc(d));
export const dayWeekday = (d) => weekdayDay().format(utc(d));
export const monthLong = (d) => monthYear().format(utc(d));
export const monthTick = (d) => monthShort().format(utc(d));
export const dayRange = (from, to) =>
  from === to
    ? long().format(utc(from))
    : shortYear().formatRange(utc(from), utc(to));

/// 1 is Monday; 2024-01-01 was one.
const monday = (n) => `2024-01-0${n}`;
export const weekdayName = (n) => weekdayLong().format(utc(monday(n)));
export const weekdayTick = (n) => weekdayShort().format(utc(monday(n)));

const hourFormat = day({hour: 'numeric'});
export const hourName = (hour) =>
  hourFormat().format(new Date(Date.UTC(2024, 0, 1, hour)));

const clocks = new Map();
function clock(zone, options) {
  const key = zone + JSON.stringify(options);
  if (!clocks.has(key))
    clocks.set(key, new Intl.DateTimeFormat(locale, {timeZone: zone, ...options}));
  return clocks.get(key);
}

/// An instant as the clock in `zone` shows it.
export const timeOf = (instant, zone) =>
  clock(zone, {hour: '2-digit', minute: '2-digit', second: '2-digit'}).format(
    new Date(instant),
  );
export const dayTimeOf = (instant, zone) =>
  clock(zone, {
    day: 'numeric',
    month: 'short',
    year: 'numeric',
    hour: '2-digit',
    minute: '2-digit',
  }).format(new Date(instant));
export const dayOf = (instant, zone) =>
  clock(zone, {day: 'numeric', month: 'short', year: 'numeric'}).format(
    new Date(instant),
  );
