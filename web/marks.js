// What the key figures share with the panels: definitions, marks of change, and
// small curves. Part of the first paint, so it draws on little.

import {h, s} from './dom.js';
import * as f from './format.js';

/// What the page says in more than one place.
export const DEFINITIONS = {
  revenue: 'What the purchases add up to, at the prices on their receipts.',
  purchases:
    'Receipts recorded. A receipt counts once, however often its till sent it.',
  basket: 'Revenue divided by purchases.',
  customers:
    'Different people who bought. Who comes twice, or to two branches, counts once: so customers of branches and of days do not add up.',
  customersMean:
    'Different people a day, on average of the days. Who comes on two days counts on each: customers of days do not add up to those of the period.',
  share: 'Of the revenue of all branches.',
  change: 'Against the same days before, as far as both are over.',
  fresh: 'Customers whose first purchase was recorded with a sale of this day.',
};

export function changeMark(now, before, more = '') {
  const x = f.change(now, before);
  const word = x.sign > 0 ? 'up ' : x.sign < 0 ? 'down ' : '';
  return h(
    'span',
    {class: `change ${x.sign > 0 ? 'up' : x.sign < 0 ? 'down' : ''}`},
    x.sign
      ? h('span', {'aria-hidden': 'true', class: 'arrow'}, x.sign > 0 ? '▲' : '▼')
      : null,
    word ? h('span', {class: 'hidden'}, word) : null,
    x.text,
    more,
  );
}

/// A curve without axes; its last value has a dot, a hollow one with a dotted
/// way to it when its day is not over. Stretches to any width.
export function spark(values, {open = false, wide = 96, high = 28} = {}) {
  const known = values.filter((x) => x !== null);
  const svg = s('svg', {
    class: 'spark',
    viewBox: `0 0 ${wide} ${high}`,
    preserveAspectRatio: 'none',
    width: wide,
    height: high,
    'aria-hidden': 'true',
  });
  if (known.length < 2 || known.every((x) => !x)) return svg;
  const top = Math.max(...known, 0);
  const low = Math.min(...known, 0);
  const pad = 3;
  const x = (i) => (pad + (i * (wide - 2 * pad)) / (values.length - 1)).toFixed(1);
  const y = (v) =>
    (
      high -
      pad -
      (top === low ? 0 : (v - low) / (top - low)) * (high - 2 * pad)
    ).toFixed(1);
  const points = values
    .map((v, i) => (v === null ? null : [x(i), y(v)]))
    .filter(Boolean);
  const path = (list) =>
    list.map(([a, b], i) => `${i ? 'L' : 'M'}${a} ${b}`).join('');
  const over = open ? points.slice(0, -1) : points;
  const [end] = points.slice(-1);
  const dot = (name, [a, b]) => s('path', {class: name, d: `M${a} ${b}h0`});
  svg.append(
    s('path', {
      class: 'area',
      d: `${path(over)}L${over.at(-1)[0]} ${high - pad}L${over[0][0]} ${high - pad}Z`,
    }),
    s('path', {class: 'line', d: path(over)}),
  );
  if (open)
    svg.append(
      s('path', {class: 'open', d: path(points.slice(-2))}),
      dot('open-end', end),
      dot('open-core', end),
    );
  else svg.append(dot('end', end));
  return svg;
}
