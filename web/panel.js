// A panel: its head, its tools, its table; and what panels share.

import {$, announce, h, setText} from './dom.js';
import * as f from './format.js';
import {csvOf, dataTable, download} from './table.js';

// -- a panel ------------------------------------------------------------------

export class Panel {
  /// @param tools Buttons of its own, left of the common ones.
  constructor(id, title, tools = []) {
    this.id = id;
    this.root = $(id);
    this.title = h('h2', {id: `${id}-title`}, title);
    this.sub = h('p', {class: 'sub'});
    this.tableButton = h(
      'button',
      {
        type: 'button',
        class: 'quiet',
        'aria-pressed': 'false',
        title: 'Show as a table (V)',
        onclick: () => this.toggleTable(),
      },
      'Table',
    );
    this.csvButton = h(
      'button',
      {
        type: 'button',
        class: 'quiet',
        title: 'Download what is shown',
        onclick: () => this.saveCsv(),
      },
      'CSV',
    );
    this.summary = h('p', {class: 'summary'});
    this.body = h('div', {class: 'body'});
    this.tableBox = h('div', {class: 'table-box', hidden: true});
    this.state = h('div', {class: 'state', hidden: true});
    this.root.replaceChildren(
      h(
        'header',
        null,
        h('div', null, this.title, this.sub),
        h(
          'div',
          {class: 'panel-tools'},
          ...tools,
          this.tableButton,
          this.csvButton,
        ),
      ),
      this.summary,
      this.state,
      this.body,
      this.tableBox,
    );
    this.root.addEventListener('pointerenter', () => {
      Panel.under = this;
    });
    this.root.addEventListener('focusin', () => {
      Panel.under = this;
    });
    this.root.dataset.state = 'new';
    Panel.all.push(this);
  }

  /// @param content `{sub, summary, table, file}`
  set({title, sub, summary, table, file}) {
    this.root.dataset.state = 'drawn';
    if (title) setText(this.title, title);
    setText(this.sub, sub ?? '');
    setText(this.summary, summary ?? '');
    this.table = table;
    this.file = file;
    if (!this.tableBox.hidden) this.drawTable();
  }

  drawTable() {
    if (this.table)
      this.tableBox.replaceChildren(
        dataTable({caption: this.title.textContent, ...this.table}),
      );
  }

  toggleTable() {
    const on = this.tableBox.hidden;
    this.tableBox.hidden = !on;
    this.body.hidden = on;
    this.tableButton.setAttribute('aria-pressed', on);
    if (on) this.drawTable();
    announce(
      on
        ? `${this.title.textContent} as a table`
        : `${this.title.textContent} as a chart`,
    );
  }

  saveCsv() {
    if (this.table)
      download(`tillstream-${this.id}-${this.file}.csv`, csvOf(this.table));
  }

  /// Shows `text` in the place of the content; nothing: shows the content.
  say(text) {
    this.root.dataset.state = text ? 'empty' : 'drawn';
    this.state.hidden = !text;
    this.body.hidden = Boolean(text) || !this.tableBox.hidden;
    this.state.textContent = text ?? '';
    this.csvButton.disabled = this.tableButton.disabled = Boolean(text);
  }
}
Panel.all = [];
Panel.under = null;

export const toggleTableUnderPointer = () =>
  (Panel.under ?? Panel.all[1])?.toggleTable();

/// A few buttons of which one is on.
export function choice(label, options, pick) {
  const buttons = options.map(({id, text, title}) =>
    h('button', {type: 'button', title, onclick: () => pick(id)}, text),
  );
  const node = h(
    'div',
    {class: 'segments small', role: 'group', 'aria-label': label},
    buttons,
  );
  return {
    node,
    set: (id) =>
      options.forEach((o, i) =>
        buttons[i].setAttribute('aria-pressed', o.id === id),
      ),
  };
}

export const cell = (show, raw = show) => ({show, raw});
export const moneyCell = (amount) =>
  amount === null || amount === undefined
    ? cell('–', '')
    : cell(f.money(amount), f.decimal(amount));
export const countCell = (n) => cell(f.count(n), n);
export const aboutCell = (x) => cell(f.about(x), Number(x.toFixed(2)));
