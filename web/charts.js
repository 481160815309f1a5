// Charts: bars, and the trend on uPlot.

import {announce, h, s} from './dom.js';

const color = (name) =>
  getComputedStyle(document.documentElement).getPropertyValue(name).trim();

export const seriesColor = (i) => color(`--series-${(i % 6) + 1}`);

/// What a chart says of the place under the pointer.
class Tip {
  constructor(box) {
    this.box = box;
    this.node = h('div', {class: 'chart-tip', 'aria-hidden': 'true', hidden: true});
    box.append(this.node);
  }

  show(left, top, title, lines) {
    this.node.replaceChildren(
      h('p', {class: 'tip-title'}, title),
      ...lines.map((line) => {
        const mark = h('i', {class: `mark ${line.kind ?? ''}`});
        if (line.color) mark.style.setProperty('--mark', line.color);
        return h(
          'p',
          null,
          mark,
          h('bdi', {class: 'tip-name'}, line.label),
          h('b', null, line.value),
        );
      }),
    );
    this.node.hidden = false;
    const room = this.box.clientWidth;
    const wide = this.node.offsetWidth;
    const x = left + wide + 20 > room ? Math.max(0, left - wide - 12) : left + 12;
    this.node.style.left = `${x}px`;
    this.node.style.top = `${Math.max(0, top)}px`;
  }

  hide() {
    this.node.hidden = true;
  }
}

// -- bars ---------------------------------------------------------------------

/// Stacked bars: `{label, tick, parts: [a, b], unfinished}`.
export function bars(box, items, {names, format}) {
  const high = 190;
  const base = high - 22;
  const wide = Math.max(box.clientWidth, 240);
  const top = niceTop(Math.max(1, ...items.map((x) => x.parts[0] + x.parts[1])));
  const left = Math.max(38, 10 + 7.5 * format(top).length);
  const step = (wide - left) / items.length;
  const bar = Math.max(1, Math.min(26, step * 0.72));
  const y = (v) => base - (v / top) * (base - 10);
  const svg = s('svg', {
    class: 'bars',
    viewBox: `0 0 ${wide} ${high}`,
    width: wide,
    height: high,
    'aria-hidden': 'true',
  });
  svg.append(
    s(
      'defs',
      null,
      s(
        'pattern',
        {
          id: 'hatch',
          width: 5,
          height: 5,
          patternUnits: 'userSpaceOnUse',
          patternTransform: 'rotate(45)',
        },
        s('rect', {width: 5, height: 5, class: 'hatch-back'}),
        s('rect', {width: 2, height: 5, class: 'hatch-line'}),
      ),
    ),
  );
  for (const v of [0, top / 2, top])
    svg.append(
      s('line', {class: 'grid', x1: left, x2: wide, y1: y(v), y2: y(v)}),
      s(
        'text',
        {class: 'axis', x: left - 8, y: y(v) + 4, 'text-anchor': 'end'},
        format(v),
      ),
    );
  const every = Math.ceil(62 / step);
  const tip = new Tip(box);
  items.forEach((item, i) => {
    const x = left + i * step + (step - bar) / 2;
    const [a, b] = item.parts;
    const group = s(
      'g',
      {class: item.unfinished ? 'bar open' : 'bar'},
      s('rect', {
        class: 'hit',
        x: left + i * step,
        y: 0,
        width: step,
        height: base,
      }),
      s('rect', {class: 'part-a', x, y: y(a), width: bar, height: base - y(a)}),
      s('rect', {
        class: 'part-b',
        x,
        y: y(a + b),
        width: bar,
        height: y(a) - y(a + b),
      }),
    );
    group.addEventListener('pointerenter', () =>
      tip.show(left + i * step + step / 2, 0, item.label, [
        {label: names[1], value: format(b), kind: 'hatched'},
        {label: names[0], value: format(a), kind: 'solid'},
        {label: 'All', value: format(a + b), kind: 'none'},
      ]),
    );
    group.addEventListener('pointerleave', () => tip.hide());
    svg.append(group);
    if ((items.length - 1 - i) % every === 0)
      svg.append(
        s(
          'text',
          {
            class: 'axis',
            x: Math.min(x + bar / 2, wide - 22),
            y: high - 4,
            'text-anchor': 'middle',
          },
          item.tick,
        ),
      );
  });
  box.replaceChildren(svg, tip.node);
}

/// The next of 1, 2, 4, 5, 6, 8, 10 … that half of is a number to read.
function niceTop(x) {
  const unit = 10 ** Math.floor(Math.log10(x));
  const step = [1, 2, 4, 5, 6, 8, 10].find((m) => m * unit >= x) * unit;
  return step < 2 ? 2 : step;
}

// -- the trend ----------------------------------------------------------------

/// A line a branch and the total. Each carries at its end the number that it
/// has in the table and on the keyboard, so that colours are not needed.
export class Trend {
  constructor(box) {
    this.box = box;
    this.plot = null;
    this.shape = '';
    box.tabIndex = 0;
    box.setAttribute('role', 'group');
    this.tip = new Tip(box);
    new ResizeObserver(() => {
      if (this.plot && this.box.clientWidth) this.plot.setSize(this.size());
    }).observe(box);
    box.addEventListener('keydown', (event) => this.step(event));
    box.addEventListener('pointerleave', () => this.tip.hide());
  }

  size() {
    return {
      width: Math.max(this.box.clientWidth, 200),
      height: this.box.clientWidth < 520 ? 220 : 288,
    };
  }

  /// @param data `{labels, ticks, lines: [{name, mark, color, strong, before,
  ///        values}], open, format, axis}`; `open` is the bucket that is not
  ///        over, or -1.
  show(data) {
    this.data = data;
    const columns = [data.labels.map((_, i) => i)];
    const series = [{}];
    for (const line of data.lines) {
      const {open} = data;
      const dashed = line.before;
      columns.push(
        line.values.map((v, i) => (!dashed && open >= 0 && i >= open ? null : v)),
      );
      series.push({
        stroke: line.color,
        width: line.strong ? 2.25 : 1.6,
        dash: dashed ? [5, 4] : undefined,
        points: {show: false},
        fill: line.strong && data.lines.length < 3 ? color('--wash') : undefined,
      });
      if (dashed || open < 0) continue;
      columns.push(
        line.values.map((v, i) => (i === open || i === open - 1 ? v : null)),
      );
      series.push({
        stroke: line.color,
        width: line.strong ? 2.25 : 1.6,
        dash: [1.5, 3.5],
        points: {
          show: true,
          size: 7,
          width: 1.6,
          stroke: line.color,
          fill: color('--panel'),
          filter: () => [open],
        },
      });
    }
    const shape = JSON.stringify([data.labels.length, series, color('--ink')]);
    if (this.plot && shape === this.shape) {
      this.plot.setData(columns);
      return;
    }
    this.shape = shape;
    this.plot?.destroy();
    this.plot = new uPlot(this.options(series), columns, this.box);
    this.box.append(this.tip.node);
    this.plot.root.setAttribute('aria-hidden', 'true');
  }

  clear() {
    this.plot?.destroy();
    this.plot = null;
    this.shape = '';
    this.tip.hide();
  }

  options(series) {
    const axis = {
      stroke: color('--muted'),
      font: '12px Inter, system-ui, sans-serif',
      ticks: {show: false},
    };
    return {
      ...this.size(),
      series,
      padding: [10, 26, 0, 0],
      legend: {show: false},
      cursor: {y: false, drag: {x: false, y: false}, points: {size: 7, width: 0}},
      scales: {
        x: {
          time: false,
          range: () => [0, Math.max(1, this.data.labels.length - 1)],
        },
        y: {range: (u, low, high) => [0, high > 0 ? high * 1.08 : 1]},
      },
      axes: [
        {
          ...axis,
          size: 30,
          gap: 8,
          grid: {show: false},
          splits: (u) => {
            const n = this.data.labels.length;
            const every = Math.max(
              1,
              Math.ceil(n / Math.max(1, u.bbox.width / devicePixelRatio / 74)),
            );
            return Array.from({length: Math.ceil(n / every)}, (_, i) => i * every);
          },
          values: (u, splits) => splits.map((i) => this.data.ticks[i]),
        },
        {
          ...axis,
          size: 56,
          gap: 8,
          space: 44,
          grid: {stroke: color('--grid'), width: 1},
          values: (u, splits) => splits.map((v) => this.data.axis(v)),
        },
      ],
      hooks: {
        draw: [(u) => this.drawMarks(u)],
        setCursor: [(u) => this.point(u)],
      },
    };
  }

  /// Numbers at the ends of the lines, pushed apart where they would cover each
  /// other.
  drawMarks(u) {
    const {ctx} = u;
    const ratio = devicePixelRatio;
    const ends = this.data.lines
      .filter((x) => x.mark)
      .map((line) => {
        const i = line.values.findLastIndex((v) => v !== null);
        return i < 0
          ? null
          : {
              line,
              x: u.valToPos(i, 'x', true),
              y: u.valToPos(line.values[i], 'y', true),
            };
      })
      .filter(Boolean)
      .sort((a, b) => a.y - b.y);
    const gap = 15 * ratio;
    ends.forEach((end, i) => {
      if (i && end.y - ends[i - 1].y < gap) end.y = ends[i - 1].y + gap;
    });
    const floor = u.bbox.top + u.bbox.height;
    for (let i = ends.length - 1, limit = floor; i >= 0 && ends[i].y > limit; --i) {
      ends[i].y = limit;
      limit -= gap;
    }
    ctx.save();
    ctx.font = `600 ${10 * ratio}px Inter, system-ui, sans-serif`;
    ctx.textAlign = 'center';
    ctx.textBaseline = 'middle';
    for (const {line, x, y} of ends) {
      ctx.fillStyle = line.color;
      ctx.beginPath();
      ctx.arc(x + 14 * ratio, y, 7 * ratio, 0, 7);
      ctx.fill();
      ctx.fillStyle = color('--panel');
      ctx.fillText(line.mark, x + 14 * ratio, y + 0.5 * ratio);
    }
    ctx.restore();
  }

  linesAt(i) {
    return this.data.lines
      .filter((x) => x.values[i] !== null && x.values[i] !== undefined)
      .map((x) => ({
        label: x.name,
        color: x.color,
        kind: x.before ? 'dashed' : '',
        value: this.data.format(x.values[i]),
      }));
  }

  titleAt(i) {
    return this.data.labels[i] + (i === this.data.open ? ' (so far)' : '');
  }

  point(u) {
    const i = u.cursor.idx;
    if (i === null || i === undefined || u.cursor.left < 0) return this.tip.hide();
    const lines = this.linesAt(i);
    if (!lines.length) return this.tip.hide();
    this.tip.show(
      u.valToPos(i, 'x') + u.bbox.left / devicePixelRatio,
      8,
      this.titleAt(i),
      lines,
    );
  }

  step(event) {
    const by = {ArrowLeft: -1, ArrowRight: 1}[event.key];
    if (!by || !this.plot) return;
    event.preventDefault();
    event.stopPropagation();
    const last = this.data.labels.length - 1;
    this.at = Math.min(
      last,
      Math.max(0, (this.at ?? (by > 0 ? -1 : last + 1)) + by),
    );
    this.plot.setCursor({left: this.plot.valToPos(this.at, 'x'), top: 10});
    announce(
      `${this.titleAt(this.at)}: ${this.linesAt(this.at)
        .map((x) => `${x.label} ${x.value}`)
        .join(', ')}`,
    );
  }
}
