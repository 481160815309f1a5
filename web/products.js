// The top products. A row filters what is about products.

import {h, named, setText} from './dom.js';
import * as f from './format.js';
import {section} from './model.js';
import {cell, choice, countCell, moneyCell, Panel} from './panel.js';
import {SteadyRows} from './table.js';

/// @returns what draws them: `(model, state, glow)`.
export function makeProducts(act) {
  const by = choice(
    'Measure',
    [
      {id: 'revenue', text: 'Revenue'},
      {id: 'quantity', text: 'Units'},
    ],
    (id) => act.set({by: id === 'quantity' ? id : undefined}),
  );
  const products = new Panel('products', 'Top products', [by.node]);
  const productBody = h('tbody');
  products.body.append(
    h(
      'table',
      {class: 'rows products'},
      h('caption', {class: 'hidden'}, 'Top products'),
      h(
        'thead',
        null,
        h(
          'tr',
          null,
          ['', 'Product', 'Units', 'Revenue', 'Share', 'Rank'].map((x, i) =>
            h(
              'th',
              {scope: 'col', class: i > 1 ? 'number' : i ? '' : 'rank'},
              x || h('span', {class: 'hidden'}, 'Place'),
            ),
          ),
        ),
      ),
      productBody,
    ),
  );
  const productDetail = h('div', {class: 'detail', hidden: true});
  products.body.append(productDetail);
  const productRows = new SteadyRows(productBody, (item) => {
    const button = h(
      'button',
      {type: 'button', class: 'row-button'},
      named(item.name),
    );
    const bar = h('span', {class: 'bar under'}, h('span'));
    const cells = ['units', 'revenue', 'share', 'rank'].map((c) =>
      h('td', {class: `number c-${c}`}),
    );
    const place = h('td', {class: 'rank'});
    const row = h(
      'tr',
      {onclick: () => act.filter('product', item.key, item.name)},
      place,
      h('th', {scope: 'row'}, button, bar),
      cells,
    );
    return {
      row,
      update: (x, glow) => {
        row.classList.toggle('chosen', x.chosen);
        row.classList.toggle('faint', x.faint);
        button.setAttribute('aria-pressed', x.chosen);
        setText(button.firstChild, x.name);
        button.firstChild.title = x.name;
        bar.firstChild.style.width = `${(x.width * 100).toFixed(2)}%`;
        setText(place, String(x.rank));
        setText(cells[0], f.count(x.quantity), glow);
        setText(cells[1], f.money(x.revenue), glow);
        setText(cells[2], f.percent(x.share));
        cells[3].replaceChildren(rankChange(x.rank_change));
      },
    };
  });

  return (model, state, glow) => {
    by.set(state.by ?? 'revenue');
    const list = section(model.parts.products, state.branch)?.products;
    if (!list) return;
    const widest = Math.max(0, ...list.map((x) => Number(x.share)));
    productRows.show(
      list.map((x) => ({
        ...x,
        key: x.product_id,
        name: x.name ?? x.product_id,
        revenue: f.minor(x.revenue),
        share: Number(x.share),
        width: widest ? Number(x.share) / widest : 0,
        chosen: state.product === x.product_id,
        faint: Boolean(state.product) && state.product !== x.product_id,
      })),
      glow,
    );
    const top = list[0];
    products.set({
      sub: model.words.period,
      summary: top
        ? `${top.name ?? top.product_id} is first with ${f.percent(Number(top.share))} of the ${state.by === 'quantity' ? 'units' : 'revenue'}.`
        : '',
      file: model.words.file,
      table: {
        columns: [
          {label: 'Place', name: 'rank', number: true},
          {label: 'Product', name: 'product_id'},
          {label: 'Name', name: 'name'},
          {label: 'Units', name: 'quantity', number: true},
          {label: 'Revenue', name: 'revenue', number: true},
          {label: 'Share', name: 'share', number: true},
          {label: 'Place before', name: 'previous_rank', number: true},
        ],
        rows: list.map((x) => [
          countCell(x.rank),
          cell(x.product_id),
          cell(x.name ?? '', x.name ?? ''),
          countCell(x.quantity),
          moneyCell(f.minor(x.revenue)),
          cell(f.percent(Number(x.share)), x.share),
          cell(x.previous_rank ?? 'new', x.previous_rank ?? ''),
        ]),
      },
    });
    products.say(list.length ? null : 'Nothing was sold in this time.');
    const one = state.product && section(model.parts.productRange, state.branch);
    productDetail.hidden = !one;
    if (one)
      productDetail.replaceChildren(
        named(act.productName()),
        `: ${f.count(one.quantity)} sold for ${f.money(f.minor(one.revenue))} ${model.words.inPeriod}.`,
      );
  };
}

function rankChange(by) {
  if (by === null) return h('span', {class: 'moved-new'}, 'new');
  if (!by)
    return h(
      'span',
      {class: 'same'},
      '=',
      h('span', {class: 'hidden'}, 'same place'),
    );
  return h(
    'span',
    {class: `change ${by > 0 ? 'up' : 'down'}`},
    h('span', {'aria-hidden': 'true', class: 'arrow'}, by > 0 ? '▲' : '▼'),
    h('span', {class: 'hidden'}, by > 0 ? 'up ' : 'down '),
    String(Math.abs(by)),
  );
}
