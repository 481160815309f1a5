// Tables of plain rows, and the same rows as a CSV file.

import {h, named} from './dom.js';

/// A table for eyes ends here; a file has all rows.
const ROWS_MAX = 500;

/// A panel's data: columns `{label, name, number}` and rows of cells, each
/// `{show, raw}`: what is read and what a program gets.
export function dataTable({caption, columns, rows}) {
  return h(
    'div',
    {class: 'scroll', tabindex: '0', role: 'group', 'aria-label': caption},
    h(
      'table',
      {class: 'data'},
      h('caption', {class: 'hidden'}, caption),
      h(
        'thead',
        null,
        h(
          'tr',
          null,
          columns.map((c) =>
            h('th', {scope: 'col', class: c.number && 'number'}, c.label),
          ),
        ),
      ),
      h(
        'tbody',
        null,
        rows.slice(0, ROWS_MAX).map((row) =>
          h(
            'tr',
            null,
            row.map((cell, i) =>
              h(
                i ? 'td' : 'th',
                {scope: i ? null : 'row', class: columns[i].number && 'number'},
                columns[i].number ? cell.show : named(String(cell.show)),
              ),
            ),
          ),
        ),
      ),
    ),
    rows.length > ROWS_MAX
      ? h(
          'p',
          {class: 'hint'},
          `The first ${ROWS_MAX} of ${rows.length} rows. The CSV has them all.`,
        )
      : null,
  );
}

/// RFC 4180. A text that a spreadsheet would take for a formula is disarmed.
export function csvOf({columns, rows}) {
  const field = (x, number) => {
    let text = x === null || x === undefined ? '' : String(x);
    if (!number && /^[=+\-@\t\r]/.test(text)) text = `'${text}`;
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  const line = (cells) => `${cells.join(',')}\r\n`;
  return (
    line(columns.map((c) => field(c.name))) +
    rows
      .map((row) => line(row.map((cell, i) => field(cell.raw, columns[i].number))))
      .join('')
  );
}

export function download(name, text) {
  const url = URL.createObjectURL(
    new Blob([text], {type: 'text/csv;charset=utf-8'}),
  );
  const link = h('a', {href: url, download: name});
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
}

/// Rows that keep their place while somebody points at them: values change
/// where they stand, and the order follows when the pointer has left.
export class SteadyRows {
  /// @param make Makes a row's elements: {row, update(item)}.
  constructor(body, make) {
    this.body = body;
    this.make = make;
    this.rows = new Map();
    this.waiting = null;
    const release = () => {
      if (this.waiting && !this.held()) this.arrange(this.waiting);
    };
    body.addEventListener('pointerleave', release);
    body.addEventListener('focusout', () => setTimeout(release));
  }

  held() {
    return (
      this.body.matches(':hover') || this.body.contains(document.activeElement)
    );
  }

  /// @param items In order, each with a `key`.
  show(items, glow) {
    const wanted = new Set(items.map((x) => x.key));
    const held = this.held() && items.some((x) => this.rows.has(x.key));
    for (const [key, entry] of this.rows)
      if (!wanted.has(key)) {
        entry.row.remove();
        this.rows.delete(key);
      }
    for (const item of items) {
      let entry = this.rows.get(item.key);
      if (!entry) {
        entry = this.make(item);
        this.rows.set(item.key, entry);
        this.body.append(entry.row);
      }
      entry.update(item, glow);
    }
    this.waiting = items;
    if (!held) this.arrange(items);
  }

  arrange(items) {
    this.waiting = null;
    items.forEach((item, i) => {
      const {row} = this.rows.get(item.key);
      if (this.body.children[i] !== row)
        this.body.insertBefore(row, this.body.children[i] ?? null);
    });
  }
}
