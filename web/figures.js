// The key figures, each with its change and a small curve.

import {$, h, setText, term} from './dom.js';
import * as f from './format.js';
import {changeMark, DEFINITIONS, spark} from './marks.js';
import {curves, figures} from './model.js';

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
