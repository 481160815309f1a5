// The busy hours: a table that is its own chart.

import {h} from './dom.js';
import * as f from './format.js';
import {section} from './model.js';
import {cell, countCell, moneyCell, Panel} from './panel.js';

/// @returns what draws it: `(model, state)`.
export function makeHeat() {
  const heat = new Panel('heat', 'Busy hours');
  const heatBox = h('div', {class: 'heat-box'});
  heat.body.append(heatBox);

  return (model, state) => {
    const cells = section(model.parts.heat, state.branch)?.cells;
    if (!cells) return;
    const sold = cells.filter((x) => x.purchases);
    const top = Math.max(0, ...sold.map((x) => f.minor(x.revenue)));
    let first = Math.min(23, ...sold.map((x) => x.hour));
    let end = Math.max(0, ...sold.map((x) => x.hour));
    if (end - first < 8) {
      first = Math.max(0, Math.min(first, 15));
      end = Math.min(23, first + 8);
    }
    const hours = Array.from({length: end - first + 1}, (_, i) => first + i);
    const at = (weekday, hour) => cells[(weekday - 1) * 24 + hour];
    const best = sold.reduce(
      (a, x) => (!a || f.minor(x.revenue) > f.minor(a.revenue) ? x : a),
      null,
    );
    const describe = (x) =>
      `${f.weekdayName(x.weekday)}, ${f.hourName(x.hour)}: ${f.money(f.minor(x.revenue))}, ${f.count(x.purchases)} purchases`;
    heatBox.replaceChildren(
      h(
        'table',
        {class: 'heat'},
        h('caption', {class: 'hidden'}, 'Revenue by weekday and hour'),
        h(
          'thead',
          null,
          h(
            'tr',
            null,
            h('td'),
            hours.map((hour) =>
              h(
                'th',
                {scope: 'col', class: (hour - first) % 3 ? 'minor' : ''},
                h(
                  'span',
                  {'aria-hidden': 'true'},
                  (hour - first) % 3 ? '' : f.hourName(hour),
                ),
                h('span', {class: 'hidden'}, f.hourName(hour)),
              ),
            ),
          ),
        ),
        h(
          'tbody',
          null,
          [1, 2, 3, 4, 5, 6, 7].map((weekday) =>
            h(
              'tr',
              null,
              h('th', {scope: 'row'}, f.weekdayTick(weekday)),
              hours.map((hour) => {
                const x = at(weekday, hour);
                const level = top
                  ? Math.ceil(Math.sqrt(f.minor(x.revenue) / top) * 8)
                  : 0;
                return h(
                  'td',
                  {
                    class: `l${level}${x === best ? ' best' : ''}`,
                    title: describe(x),
                  },
                  h('span', {class: 'hidden'}, f.money(f.minor(x.revenue))),
                );
              }),
            ),
          ),
        ),
      ),
      h(
        'p',
        {class: 'scale', 'aria-hidden': 'true'},
        'less',
        [1, 2, 3, 4, 5, 6, 7, 8].map((n) => h('i', {class: `l${n}`})),
        'more',
      ),
    );
    heat.set({
      sub: `Revenue by weekday and hour, ${f.dayRange(model.heat.from, model.heat.to)}`,
      summary: best
        ? `Busiest: ${f.weekdayName(best.weekday)} at ${f.hourName(best.hour)}.`
        : '',
      file: `${model.heat.from}_${model.heat.to}`,
      table: {
        columns: [
          {label: 'Weekday', name: 'weekday'},
          {label: 'Hour', name: 'hour', number: true},
          {label: 'Revenue', name: 'revenue', number: true},
          {label: 'Purchases', name: 'purchases', number: true},
        ],
        rows: cells
          .filter((x) => x.hour >= first && x.hour <= end)
          .map((x) => [
            cell(f.weekdayName(x.weekday), x.weekday),
            cell(f.hourName(x.hour), x.hour),
            moneyCell(f.minor(x.revenue)),
            countCell(x.purchases),
          ]),
      },
    });
    heat.say(sold.length ? null : 'No sales in these weeks.');
  };
}
