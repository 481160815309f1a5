// The loyal customers, and how many different ones came on each day.

import {h, named, setText, term} from './dom.js';
import {bars} from './charts.js';
import * as f from './format.js';
import {DEFINITIONS} from './figures.js';
import {section} from './model.js';
import {cell, choice, countCell, moneyCell, Panel} from './panel.js';
import {SteadyRows} from './table.js';

/// @returns what draws the ranking: `(model, state, glow)`.
export function makeLoyal(act) {
  const loyalBy = choice(
    'Measure',
    [
      {id: 'purchases', text: 'Visits'},
      {id: 'revenue', text: 'Spend'},
    ],
    (id) => act.set({loyal: id === 'revenue' ? id : undefined}),
  );
  const customers = new Panel('customers', 'Loyal customers', [loyalBy.node]);
  const loyalBody = h('tbody');
  const loyalBranchHead = h('th', {scope: 'col', class: 'c-where'}, 'Branch');
  customers.body.append(
    h(
      'table',
      {class: 'rows customers'},
      h('caption', {class: 'hidden'}, 'Loyal customers'),
      h(
        'thead',
        null,
        h(
          'tr',
          null,
          h(
            'th',
            {scope: 'col', class: 'rank'},
            h('span', {class: 'hidden'}, 'Place'),
          ),
          h('th', {scope: 'col'}, 'Customer'),
          loyalBranchHead,
          h('th', {scope: 'col', class: 'number'}, 'Visits'),
          h('th', {scope: 'col', class: 'number'}, 'Spent'),
          h('th', {scope: 'col', class: 'number'}, 'Last visit'),
        ),
      ),
      loyalBody,
    ),
  );
  const loyalRows = new SteadyRows(loyalBody, (item) => {
    const cells = ['visits', 'spent', 'last'].map((c) =>
      h('td', {class: `number c-${c}`}),
    );
    const place = h('td', {class: 'rank'});
    const where = h('td', {class: 'c-where'}, named(item.where));
    const id = h('code', {title: item.user_id}, `${item.user_id.slice(0, 8)}…`);
    const row = h(
      'tr',
      {onclick: () => act.filter('branch', item.branch, undefined, true)},
      place,
      h(
        'th',
        {scope: 'row'},
        h(
          'button',
          {
            type: 'button',
            class: 'row-button',
            'aria-label': `Customer ${item.user_id}: show the branch`,
          },
          id,
        ),
      ),
      where,
      cells,
    );
    return {
      row,
      update: (x, glow) => {
        setText(place, String(x.rank));
        where.hidden = x.alone;
        setText(where.firstChild, x.where);
        setText(cells[0], f.count(x.purchases), glow);
        setText(cells[1], f.money(f.minor(x.revenue)), glow);
        setText(cells[2], f.dayOf(x.last_purchase_at, x.zone));
      },
    };
  });

  return (model, state, glow) => {
    loyalBy.set(state.loyal ?? 'purchases');
    const answer = model.parts.loyal;
    const list = section(answer, state.branch)?.customers;
    if (!list) return;
    const where = {get: (id) => act.branch(id)};
    loyalBranchHead.hidden = Boolean(state.branch);
    loyalRows.show(
      list.map((x) => {
        const branch = x.branch_id ?? state.branch;
        return {
          ...x,
          key: `${x.user_id} ${branch}`,
          branch,
          alone: Boolean(state.branch),
          where: where.get(branch)?.name ?? branch,
          zone: where.get(branch)?.time_zone ?? 'UTC',
        };
      }),
      glow,
    );
    const top = list[0];
    customers.set({
      sub: 'Of all time, each by branch',
      summary: top
        ? `The most loyal one came ${top.purchases === 1 ? 'once' : `${f.count(top.purchases)} times`}.`
        : '',
      file: 'all-time',
      table: {
        columns: [
          {label: 'Place', name: 'rank', number: true},
          {label: 'Customer', name: 'user_id'},
          {label: 'Branch', name: 'branch_id'},
          {label: 'Visits', name: 'purchases', number: true},
          {label: 'Spent', name: 'revenue', number: true},
          {label: 'Last visit', name: 'last_purchase_at', number: true},
        ],
        rows: list.map((x) => {
          const branch = where.get(x.branch_id ?? state.branch);
          return [
            countCell(x.rank),
            cell(x.user_id),
            cell(branch?.name ?? '', x.branch_id ?? state.branch),
            countCell(x.purchases),
            moneyCell(f.minor(x.revenue)),
            cell(
              f.dayTimeOf(x.last_purchase_at, branch?.time_zone ?? 'UTC'),
              x.last_purchase_at,
            ),
          ];
        }),
      },
    });
    customers.say(list.length ? null : 'Nobody has bought anything yet.');
  };
}

/// @returns what draws the days: `(model, state)`.
export function makeUnique() {
  const unique = new Panel('unique', 'Customers per day');
  const uniqueLegend = h(
    'ul',
    {class: 'legend'},
    h('li', null, h('i', {class: 'mark solid'}), 'returning'),
    h('li', null, h('i', {class: 'mark hatched'}), term('new', DEFINITIONS.fresh)),
  );
  const uniqueBox = h('div', {class: 'chart short'});
  unique.body.append(uniqueLegend, uniqueBox);
  let drawUnique = () => {};
  new ResizeObserver(() => drawUnique()).observe(uniqueBox);

  return (model, state) => {
    const days = section(model.parts.unique, state.branch)?.days;
    if (!days) return;
    const items = days.map((x) => ({
      label: f.dayWeekday(x.day),
      tick: f.dayShort(x.day),
      parts: [x.returning_customers, x.new_customers],
      unfinished: x.day >= model.today,
    }));
    drawUnique = () =>
      uniqueBox.clientWidth &&
      bars(uniqueBox, items, {names: ['Returning', 'New'], format: f.countCompact});
    drawUnique();
    const last = days[days.length - 1];
    const all = days.reduce(
      (a, x) => [a[0] + x.customers, a[1] + x.new_customers],
      [0, 0],
    );
    unique.set({
      sub: f.dayRange(model.curve.from, model.curve.to),
      summary: all[0]
        ? `${f.about(all[0] / days.length)} a day on average, ${f.percent(all[1] / all[0])} of them new. Days do not add up: who comes on two counts on each.`
        : '',
      file: `${model.curve.from}_${model.curve.to}`,
      table: {
        columns: [
          {label: 'Day', name: 'day'},
          {label: 'Customers', name: 'customers', number: true},
          {label: 'New', name: 'new_customers', number: true},
          {label: 'Returning', name: 'returning_customers', number: true},
        ],
        rows: days.map((x) => [
          cell(f.dayWeekday(x.day), x.day),
          countCell(x.customers),
          countCell(x.new_customers),
          countCell(x.returning_customers),
        ]),
      },
    });
    unique.say(
      all[0] ? null : `Nobody bought in these days, up to ${f.dayShort(last.day)}.`,
    );
    uniqueBox.setAttribute('aria-label', unique.summary.textContent);
    uniqueBox.setAttribute('role', 'img');
  };
}
