// The branches: shares, figures, curves. A row filters the page. Of many, those
// with the most revenue are shown, the others together; any is found by name.

import {h, named, setText, term} from './dom.js';
import {seriesColor} from './charts.js';
import * as f from './format.js';
import {changeMark, DEFINITIONS, spark} from './figures.js';
import {branchRows, curves, figures} from './model.js';
import {aboutCell, cell, countCell, moneyCell, Panel} from './panel.js';
import {SteadyRows} from './table.js';

const SHOWN = 12;

/// @returns what draws them: `(model, state, glow)`.
export function makeBranches(act) {
  const find = h('input', {
    type: 'search',
    class: 'find',
    'aria-label': 'Find a branch',
    placeholder: 'Find a branch',
    autocomplete: 'off',
    spellcheck: 'false',
    hidden: true,
    oninput: () => act.redraw(),
  });
  const branches = new Panel('branches', 'Branches', [find]);
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
  // Where there are no figures to compare: what was found, to pick from.
  const found = h('ul', {class: 'found', hidden: true});
  branches.root.append(found);
  let shownBranches = SHOWN;

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
        bar.firstChild.style.width = `${(x.wide * 100).toFixed(2)}%`;
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

  /// Whether a branch is what was typed: a part of its name, or of its id.
  const looksLike = (name, id) => {
    const words = find.value.trim().toLocaleLowerCase();
    return (
      name.toLocaleLowerCase().includes(words) ||
      id.toLocaleLowerCase().includes(words)
    );
  };

  const offer = () => {
    const words = find.value.trim();
    const hits = act.branches().filter((x) => looksLike(x.name, x.branch_id));
    found.replaceChildren(
      ...hits.slice(0, words ? SHOWN : 0).map((x) =>
        h(
          'li',
          null,
          h(
            'button',
            {
              type: 'button',
              class: 'quiet',
              onclick: () => act.filter('branch', x.branch_id, x.name, true),
            },
            named(x.name),
          ),
        ),
      ),
    );
    branches.say(
      words && !hits.length
        ? 'No branch has such a name.'
        : 'So many branches are compared on single days only. Choose a day, or find a branch by its name.',
    );
  };

  return (model, state, glow) => {
    find.hidden = act.branches().length <= SHOWN;
    found.hidden = !model.many || model.range.single;
    if (!found.hidden) {
      branches.set({sub: model.words.period});
      offer();
      return;
    }
    const list = branchRows(model).filter((x) => x.revenue !== undefined);
    if (!list.length) return;
    const {range} = model;
    const all = figures(model, null);
    const whole = list.reduce((a, x) => a + x.revenue, 0);
    const zones = new Set(list.map((x) => x.zone));
    const order = new Map(act.branchOrder().map((id, i) => [id, i]));
    // Among thousands no share is a bar of the whole.
    const scale = model.many && whole ? whole / list[0].revenue : 1;
    const items = list.map((x) => ({
      ...x,
      key: x.id,
      share: whole ? x.revenue / whole : 0,
      now: range.single ? x.revenue : x.fair?.revenue,
      zone: zones.size > 1 ? x.zone : '',
      chosen: state.branch === x.id,
      faint: Boolean(state.branch) && state.branch !== x.id,
      wide: whole ? (x.revenue / whole) * scale : 0,
      numeral: order.get(x.id) < 9 ? String(order.get(x.id) + 1) : '',
      color: order.get(x.id) < 6 ? seriesColor(order.get(x.id)) : null,
      open: model.curve.to >= model.today,
      curve: model.parts.daily && curves(model, x.id).revenue,
    }));
    const chosen = items.filter((x) => x.chosen);
    const hits = find.value.trim()
      ? items.filter((x) => looksLike(x.name, x.id))
      : items;
    const shown = hits.slice(0, shownBranches);
    branchRows_.show(
      chosen.length && !shown.includes(chosen[0]) ? [...shown, chosen[0]] : shown,
      glow,
    );
    more.hidden = hits.length <= shownBranches;
    more.textContent = `Show ${Math.min(100, hits.length - shownBranches)} more of ${f.count(hits.length)}`;
    const others = hits.slice(shownBranches).filter((x) => !x.chosen);
    const sumOf = (name) => others.reduce((a, x) => a + x[name], 0);
    const rest =
      others.length &&
      h(
        'tr',
        {class: 'others'},
        h(
          'th',
          {scope: 'row'},
          h(
            'span',
            {class: 'row-button'},
            `${f.count(others.length)} ${others.length === 1 ? 'other' : 'others'}`,
          ),
        ),
        h('td', {class: 'number c-revenue'}, f.money(sumOf('revenue'))),
        h(
          'td',
          {class: 'number c-share'},
          h('span'),
          h('span', null, f.percent(sumOf('share'))),
        ),
        h('td', {class: 'number c-change'}),
        h('td', {class: 'number c-purchases'}, f.count(sumOf('purchases'))),
        h(
          'td',
          {class: 'number c-basket'},
          sumOf('purchases')
            ? f.money(Math.round(sumOf('revenue') / sumOf('purchases')))
            : '–',
        ),
        h('td', {class: 'number c-customers'}),
        h('td', {class: 'c-curve'}),
      );
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
    branchFoot.replaceChildren(...[rest, total].filter(Boolean));
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
        // Made when somebody wants them: there may be thousands.
        get rows() {
          return [
            ...items.map((x) => row(x, x.name, x.share, x.id)),
            ...(all ? [row(all, 'All branches', null, '*')] : []),
          ];
        },
      },
    });
    branches.say(hits.length ? null : 'No branch has such a name.');
  };
}
