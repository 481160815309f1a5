// All panels of the page, the key figures excepted: those come before them.

import {makeBranches} from './branches.js';
import {makeLoyal, makeUnique} from './customers.js';
import {makeHeat} from './heat.js';
import {makeProducts} from './products.js';
import {makeTrend} from './trend.js';

export {toggleTableUnderPointer} from './panel.js';

/// @param act What clicks do, and what is known beside the model:
///        `filter(name, value)`, `set(changes)`, `compare()`, `redraw()`,
///        `branchOrder()`, `branch(id)`, `productName()`.
/// @returns what draws each: `(model, state, glow)`.
export const makePanels = (act) => ({
  branches: makeBranches(act),
  trend: makeTrend(act),
  products: makeProducts(act),
  customers: makeLoyal(act),
  unique: makeUnique(),
  heat: makeHeat(),
});
