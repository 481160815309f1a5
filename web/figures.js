// The key figures, each with its change and a small curve, and what they share
// with the panels: definitions, marks of change, curves.

import {$, h, s, setText, term} from './dom.js';
import * as f from './format.js';
import {curves, figures} from './model.js';

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

// -- the key figures ----------------------------------------------------------

const NBSP = '\u00a0';

/// @returns what draws them: `(model, state, glow)`.
export function makeFigures() {
  const kpiRoot = $('kpis');
  const kpis = [
    {id: 'revenue', label: 'Revenue', show: f.money},
    {id: 'purchases', label: 'Purchases', show: f.count},
    {
      id: 'basket',
      label: 'Average basket',
      show: (x) => (x === null ? '–' : f.money(x)),
    },
    {id: 'customers', label: 'Customers', show: f.about},
  ].map((kpi) => {
    kpi.term = h('div', {class: 'kpi-label'}, term(kpi.label, DEFINITIONS[kpi.id]));
    kpi.value = h('p', {class: 'kpi-value', elementtiming: 'figures'}, '\u2007');
    kpi.note = h('p', {class: 'kpi-note'}, NBSP);
    kpi.curve = h('div', {class: 'kpi-curve'});
    kpiRoot.append(
      h('div', {class: 'kpi'}, kpi.term, kpi.value, kpi.note, kpi.curve),
    );
    return kpi;
  });

  return (model, state, glow) => {
    const {range} = model;
    const x = figures(model, state.branch);
    if (x) {
      const now = range.single ? x : x.fair;
      kpis.forEach((kpi) => {
        setText(kpi.value, kpi.show(x[kpi.id]), glow);
        kpi.note.replaceChildren(
          ...(x.before?.purchases
            ? [
                changeMark(now[kpi.id], x.before[kpi.id]),
                h('span', {class: 'than'}, ` ${kpi.show(x.before[kpi.id])} before`),
              ]
            : [
                h(
                  'span',
                  {class: 'than'},
                  x.before ? 'no sales before' : 'nothing to compare with yet',
                ),
              ]),
        );
      });
      const mean = !range.single;
      const [button, tip] = kpis[3].term.firstChild.children;
      setText(button, mean ? 'Customers a day' : 'Customers');
      setText(tip, mean ? DEFINITIONS.customersMean : DEFINITIONS.customers);
    }
    if (model.parts.daily && model.parts.unique) {
      const all = curves(model, state.branch);
      kpis.forEach((kpi) =>
        kpi.curve.replaceChildren(
          spark(all[kpi.id], {
            wide: 240,
            high: 40,
            open: model.curve.to >= model.today,
          }),
        ),
      );
    }
  };
}
