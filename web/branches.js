// The branches: shares, figures, curves. A row filters the page.

import {h, named, setText, term} from './dom.js';
import {seriesColor} from './charts.js';
import * as f from './format.js';
import {changeMark, DEFINITIONS, spark} from './marks.js';
import {branchRows, curves, figures} from './model.js';
import {aboutCell, cell, countCell, moneyCell, Panel} from './panel.js';
import {SteadyRows} from './table.js';

/// @returns what draws them: `(model, state, glow)`.
export function makeBranches(act) {
  const branches = new Panel('branches', 'Branches');
  const head = [
    'Branch',
    'Revenue',
    'Share',
    'Change',
    'Purchases',
    'Basket',
    'Customers',
    'Trend',
  ];
  const headTerms = {
    Revenue: 'revenue',
    Share: 'share',
    Change: 'change',
    Purchases: 'purchases',
    Basket: 'basket',
    Customers: 'customers',
  };
  const heads = head.map((label, i) =>
    h(
      'th',
      {
        scope: 'col',
        class: i && i < 7 ? `number c-${label.toLowerCase()}` : i ? 'c-curve' : '',
      },
      headTerms[label] ? term(label, DEFINITIONS[headTerms[label]]) : label,
    ),
  );
  const branchBody = h('tbody');
  const branchFoot = h('tfoot');
  branches.body.append(
    h(
      'table',
      {class: 'rows branches'},
      h('caption', {class: 'hidden'}, 'Branches'),
      h('thead', null, h('tr', null, heads)),
      branchBody,
      branchFoot,
    ),
  );
  const more = h('button', {
    type: 'button',
    class: 'quiet more',
    hidden: true,
    onclick: () => {
      shownBranches += 100;
      act.redraw();
    },
  });
  branches.body.append(more);
  let shownBranches = 12;

  const branchRow = (item) => {
    const cells = Object.fromEntries(
      [
        'revenue',
        'share',
        'change',
        'purchases',
        'basket',
        'customers',
        'curve',
      ].map((name) => [
        name,
        h('td', {class: `${name === 'curve' ? '' : 'number'} c-${name}`}),
      ]),
    );
    const button = h(
      'button',
      {type: 'button', class: 'row-button'},
      h('span', {class: 'numeral'}),
      named(item.name),
      h('small', {class: 'zone'}),
    );
    const bar = h('span', {class: 'bar'}, h('span'));
    const share = h('span');
    cells.share.append(bar, share);
    const row = h(
      'tr',
      {onclick: () => act.filter('branch', item.key)},
      h('th', {scope: 'row'}, button),
      ...Object.values(cells),
    );
    return {
      row,
      update: (x, glow) => {
        row.classList.toggle('chosen', x.chosen);
        row.classList.toggle('faint', x.faint);
        button.setAttribute('aria-pressed', x.chosen);
        const [numeral, name, zone] = button.children;
        setText(numeral, x.numeral);
        numeral.hidden = !x.numeral;
        numeral.style.background = x.color ?? '';
        setText(name, x.name);
        name.title = x.name;
        setText(zone, x.zone ?? '');
        setText(cells.revenue, f.money(x.revenue), glow);
        setText(share, f.percent(x.share));
        bar.firstChild.style.width = `${(x.share * 100).toFixed(2)}%`;
        cells.change.replaceChildren(
          x.before?.purchases ? changeMark(x.now, x.before.revenue) : '–',
        );
        setText(cells.purchases, f.count(x.purchases), glow);
        setText(cells.basket, x.basket === null ? '–' : f.money(x.basket));
        setText(cells.customers, f.about(x.customers));
        if (x.curve) cells.curve.replaceChildren(spark(x.curve, {open: x.open}));
      },
    };
  };
  const branchRows_ = new SteadyRows(branchBody, branchRow);

  return (model, state, glow) => {
    const list = branchRows(model).filter((x) => x.revenue !== undefined);
    if (model.many && !model.range.single) {
      branches.set({sub: model.words.period});
      branches.say(
        'So many branches are compared on single days only. Choose a day, or pick a branch there.',
      );
      return;
    }
    if (!list.length) return;
    const {range} = model;
    const all = figures(model, null);
    const whole = list.reduce((a, x) => a + x.revenue, 0);
    const zones = new Set(list.map((x) => x.zone));
    const order = act.branchOrder();
    const items = list.map((x) => ({
      ...x,
      key: x.id,
      share: whole ? x.revenue / whole : 0,
      now: range.single ? x.revenue : x.fair?.revenue,
      zone: zones.size > 1 ? x.zone : '',
      chosen: state.branch === x.id,
      faint: Boolean(state.branch) && state.branch !== x.id,
      numeral: order.indexOf(x.id) < 9 ? String(order.indexOf(x.id) + 1) : '',
      color: order.indexOf(x.id) < 6 ? seriesColor(order.indexOf(x.id)) : null,
      open: model.curve.to >= model.today,
      curve: model.parts.daily && curves(model, x.id).revenue,
    }));
    const chosen = items.filter((x) => x.chosen);
    const shown = items.slice(0, shownBranches);
    branchRows_.show(
      chosen.length && !shown.includes(chosen[0]) ? [...shown, chosen[0]] : shown,
      glow,
    );
    more.hidden = items.length <= shownBranches;
    more.textContent = `Show ${Math.min(100, items.length - shownBranches)} more of ${f.count(items.length)}`;
    const total =
      all &&
      h(
        'tr',
        null,
        h('th', {scope: 'row'}, h('span', {class: 'row-button'}, 'All branches')),
        h('td', {class: 'number c-revenue'}, f.money(all.revenue)),
        h('td', {class: 'number c-share'}, ''),
        h(
          'td',
          {class: 'number c-change'},
          all.before?.purchases
            ? changeMark(
                range.single ? all.revenue : all.fair.revenue,
                all.before.revenue,
              )
            : '–',
        ),
        h('td', {class: 'number c-purchases'}, f.count(all.purchases)),
        h(
          'td',
          {class: 'number c-basket'},
          all.basket === null ? '–' : f.money(all.basket),
        ),
        h('td', {class: 'number c-customers'}, f.about(all.customers)),
        h(
          'td',
          {class: 'c-curve'},
          model.parts.daily
            ? spark(curves(model, null).revenue, {
                open: model.curve.to >= model.today,
              })
            : '',
        ),
      );
    branchFoot.replaceChildren(total ?? '');
    const label = range.single ? 'Customers' : 'Customers a day';
    setText(
      heads[6].querySelector('button'),
      range.single ? 'Customers' : 'Cust. a day',
    );
    const row = (x, name, share, id) => [
      cell(id),
      cell(name),
      moneyCell(x.revenue),
      cell(
        share === null ? '' : f.percent(share),
        share === null ? '' : share.toFixed(4),
      ),
      countCell(x.purchases),
      moneyCell(x.basket),
      aboutCell(x.customers),
      moneyCell(x.before?.revenue),
    ];
    branches.set({
      sub: model.words.period,
      summary:
        list.length > 1 && whole
          ? `${list[0].name} leads with ${f.percent(list[0].revenue / whole)} of the revenue.`
          : '',
      file: model.words.file,
      table: {
        columns: [
          {label: 'Branch', name: 'branch_id'},
          {label: 'Name', name: 'name'},
          {label: 'Revenue', name: 'revenue', number: true},
          {label: 'Share', name: 'share', number: true},
          {label: 'Purchases', name: 'purchases', number: true},
          {label: 'Average basket', name: 'average_basket', number: true},
          {
            label,
            name: range.single ? 'unique_customers' : 'customers_a_day',
            number: true,
          },
          {label: 'Revenue before', name: 'revenue_before', number: true},
        ],
        rows: [
          ...items.map((x) => row(x, x.name, x.share, x.id)),
          ...(all ? [row(all, 'All branches', null, '*')] : []),
        ],
      },
    });
    branches.say(null);
  };
}
