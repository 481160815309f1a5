// The trend: revenue of the branches, the total and the period before; or of
// one product.

import {h, named} from './dom.js';
import {seriesColor, Trend} from './charts.js';
import * as f from './format.js';
import {
  daysBetween,
  monthStart,
  productSeries,
  section,
  trendRange,
  weekStart,
} from './model.js';
import {cell, choice, countCell, moneyCell, Panel} from './panel.js';

/// @returns what draws it: `(model, state)`.
export function makeTrend(act) {
  const grain = choice(
    'Buckets',
    [
      {id: 'hour', text: 'Hour'},
      {id: 'day', text: 'Day'},
      {id: 'week', text: 'Week'},
      {id: 'month', text: 'Month'},
    ],
    (id) => act.set({grain: id}),
  );
  const compare = h(
    'button',
    {
      type: 'button',
      class: 'quiet',
      title: 'The period before, dashed (X)',
      onclick: () => act.compare(),
    },
    'Compare',
  );
  const trend = new Panel('trend', 'Revenue', [grain.node, compare]);
  const legend = h('ul', {class: 'legend'});
  const chartBox = h('div', {class: 'chart'});
  trend.body.append(legend, chartBox);
  const chart = new Trend(chartBox);

  return (model, state) => {
    grain.set(model.grain);
    compare.setAttribute('aria-pressed', state.compare !== 'off');
    compare.hidden = Boolean(state.product);
    if (state.product ? !model.parts.product : !model.parts.trend) return;
    const shape = state.product
      ? productTrend(model, state)
      : revenueTrend(model, state, act);
    const none = shape.lines.every((x) => x.values.every((v) => !v));
    trend.set({
      title: shape.title,
      sub: shape.sub,
      summary: shape.summary,
      table: shape.table,
      file: model.words.file,
    });
    trend.say(none ? 'No sales in this time.' : null);
    legend.replaceChildren(
      ...shape.lines.map((line) => {
        const mark = h(
          'i',
          {class: `mark ${line.before ? 'dashed' : ''}`},
          line.mark ?? '',
        );
        mark.style.setProperty('--mark', line.color);
        return h('li', null, mark, named(line.name));
      }),
      shape.open >= 0
        ? h(
            'li',
            {class: 'open-note'},
            h('i', {class: 'mark ring'}),
            'not over yet',
          )
        : '',
    );
    chartBox.setAttribute(
      'aria-label',
      `${shape.title}. ${shape.summary} Arrow keys read the points; V shows the table.`,
    );
    if (none) chart.clear();
    else chart.show(shape);
  };
}

// -- what the trend shows -----------------------------------------------------

const TICKS = {
  hour: (x) => f.hourName(Number(x.bucket.slice(11, 13))),
  day: (x) => f.dayShort(x.bucket),
  week: (x) => f.dayShort(x.bucket),
  month: (x) => f.monthTick(x.bucket),
};

const LABELS = {
  hour: (x, many) =>
    many
      ? `${f.dayWeekday(x.bucket.slice(0, 10))}, ${f.hourName(Number(x.bucket.slice(11, 13)))}`
      : f.hourName(Number(x.bucket.slice(11, 13))),
  day: (x) => f.dayMedium(x.bucket),
  week: (x) => `week of ${f.dayWithYear(x.bucket)}`,
  month: (x) => f.monthLong(x.bucket),
};

function trendTable(grain, points, lines) {
  return {
    columns: [
      {label: 'When', name: grain === 'hour' ? 'hour' : 'bucket'},
      ...lines.map((x) => ({label: x.name, name: x.csv, number: true})),
    ],
    rows: points.map((point, i) => [
      cell(point.label, point.bucket),
      ...lines.map((x) => moneyCell(x.values[i])),
    ]),
  };
}

/// Lines of the branches and the total; with a filter the branch alone.
function revenueTrend(model, state, act) {
  const {grain, trend, parts} = model;
  const answer = parts.trend;
  const main = section(answer, state.branch)?.series ?? [];
  // What has not begun is not zero.
  const now = Date.parse(answer.as_of);
  const begun = (x) => Date.parse(x.start) <= now;
  const open = main.findLastIndex((x) => x.unfinished && begun(x));
  const value = (x) => (x && begun(x) ? f.minor(x.revenue) : null);
  const many = grain === 'hour' && daysBetween(trend.from, trend.to) > 0;
  const points = main.map((x) => ({
    bucket: x.bucket,
    label: LABELS[grain](x, many),
    tick: many
      ? x.bucket.slice(11, 13) === '00'
        ? f.dayWeekday(x.bucket.slice(0, 10))
        : f.hourName(Number(x.bucket.slice(11, 13)))
      : TICKS[grain](x),
  }));
  const lines = [];
  const order = act.branchOrder();
  if (!state.branch && answer.branches.length > 1 && answer.branches.length <= 6)
    for (const branch of answer.branches) {
      const byStart =
        grain === 'hour' ? new Map(branch.series.map((x) => [x.start, x])) : null;
      const i = order.indexOf(branch.branch_id);
      lines.push({
        name: branch.name,
        mark: String(i + 1),
        color: seriesColor(i),
        csv: branch.branch_id,
        values: main.map((x, k) =>
          value(byStart ? byStart.get(x.start) : branch.series[k]),
        ),
      });
    }
  const chosen =
    state.branch && answer.branches.find((x) => x.branch_id === state.branch);
  const ink = getComputedStyle(document.documentElement)
    .getPropertyValue('--ink')
    .trim();
  const strong = {
    name: chosen ? chosen.name : 'All branches',
    strong: true,
    csv: chosen ? chosen.branch_id : 'total',
    mark: chosen ? String(order.indexOf(chosen.branch_id) + 1) : 'Σ',
    color: chosen ? seriesColor(Math.max(0, order.indexOf(chosen.branch_id))) : ink,
    values: main.map(value),
  };
  lines.push(strong);
  const before = section(parts.trendBefore, state.branch)?.series;
  const muted = getComputedStyle(document.documentElement)
    .getPropertyValue('--before')
    .trim();
  if (state.compare !== 'off' && before)
    lines.push({
      name: `Before: ${f.dayRange(trend.before.from, trend.before.to)}`,
      before: true,
      color: muted,
      csv: 'before',
      values: main.map((_, i) => (before[i] ? f.minor(before[i].revenue) : null)),
    });
  const known = strong.values.filter((x) => x !== null);
  const top = known.length ? known.indexOf(Math.max(...known)) : -1;
  const sum = known.reduce((a, x) => a + x, 0);
  return {
    title: 'Revenue',
    labels: points.map((x) => x.label),
    ticks: points.map((x) => x.tick),
    lines,
    open,
    format: f.money,
    axis: f.moneyCompact,
    sub: `${f.dayRange(trend.from, trend.to)}, by ${grain}`,
    summary: sum
      ? `${f.money(sum)} in all; the best ${grain} was ${grain === 'week' ? 'the ' : ''}${points[top].label} with ${f.money(known[top])}.`
      : '',
    table: trendTable(grain, points, lines),
  };
}

function productTrend(model, state) {
  const {parts} = model;
  const grain = model.grain === 'hour' ? 'day' : model.grain;
  const startOf = grain === 'week' ? weekStart : monthStart;
  const span =
    model.grain === 'hour' ? trendRange(model.range, 'day') : model.trend;
  const series = productSeries(
    section(parts.product, state.branch)?.days ?? [],
    grain,
    startOf,
  );
  const points = series.map((x) => ({
    bucket: x.bucket,
    label: LABELS[grain](x),
    tick: TICKS[grain](x),
  }));
  const name = parts.product.name ?? state.product;
  const open = series.length && span.to >= model.today ? series.length - 1 : -1;
  const lines = [
    {
      name,
      strong: true,
      csv: 'revenue',
      color: seriesColor(0),
      values: series.map((x) => x.revenue),
    },
  ];
  const sum = series.reduce(
    (a, x) => [a[0] + x.revenue, a[1] + x.quantity],
    [0, 0],
  );
  const table = trendTable(grain, points, lines);
  table.columns.push({label: 'Units', name: 'quantity', number: true});
  table.rows.forEach((row, i) => row.push(countCell(series[i].quantity)));
  return {
    title: `Revenue of ${name}`,
    labels: points.map((x) => x.label),
    ticks: points.map((x) => x.tick),
    lines,
    open,
    format: f.money,
    axis: f.moneyCompact,
    sub: `${f.dayRange(span.from, span.to)}, by ${grain}`,
    summary: `${f.count(sum[1])} sold for ${f.money(sum[0])}.`,
    table,
  };
}
