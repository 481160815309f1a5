// The page: holds the state, asks, draws, listens. The key figures come first;
// what they do without is brought when they are on the screen.

import {get, kept, question, signOut, wasSignedIn} from './api.js';
import {$, announce, h, named, setText} from './dom.js';
import {makeFigures} from './figures.js';
import * as f from './format.js';
import {
  addDays,
  fill,
  hasNext,
  PERIODS,
  questionsOf,
  rangeOf,
  readState,
  shifted,
  writeState,
} from './model.js';

/// What moves with each sale is asked again this often at most, the rest less.
const QUICK_MS = 2500;
const SLOW_MS = 15000;
const QUICK = ['trend', 'daily', 'products', 'product', 'productRange'];
const SLOW = [
  'unique',
  'loyal',
  'heat',
  // What is over moves, too, when sales of then come late.
  'trendBefore',
  'dailyBefore',
  'uniqueBefore',
];
/// Numbers that do not move on for so long are called old.
const STALE_MS = 30000;
const AGAIN_MS = 4000;

/// The modules that the key figures do without, with what those import: asked
/// for at once, not one after the other as they turn out to be needed.
const LATER = [
  'branches',
  'charts',
  'customers',
  'heat',
  'live',
  'panel',
  'panels',
  'products',
  'signin',
  'table',
  'trend',
];

let state = readState(location.search);
let today = null; // The chain's latest business day.
let live = null; // The last summary of today.
let chain = null; // Names, zones, day starts.
let model = null;
let load = 0;
let stopListening = null;
let rest = null; // What the later modules export.
const panels = {};
const names = {product: ''};

// -- states of the page -------------------------------------------------------

async function enterDoor(message) {
  stopListening?.();
  stopListening = null;
  model = live = null;
  kept.set('signed-in', 'no');
  const {showDoor} = await import('./signin.js');
  showDoor(start, message);
}

const view = (name) => {
  document.body.dataset.view = name;
};

const banners = new Map();
/// Shows a banner for as long as its reason holds: the first that came, but a lost
/// connection before all, as it fails the questions, too.
function banner(reason, text) {
  if (text) banners.set(reason, text);
  else banners.delete(reason);
  const first = banners.get('lost') ?? banners.values().next().value;
  $('banner').hidden = !first;
  setText($('banner'), first ?? '');
}

function trouble(error) {
  if (error.signedOut)
    return enterDoor('You were signed out. Sign in again to go on.');
  if (error.status === 403) return enterDoor('This sign-in may not see the page.');
  banner(
    'load',
    error.status
      ? `The node cannot answer everything at the moment: ${error.message} It is asked again by itself.`
      : 'No answer from the node. It is asked again by itself.',
  );
  $('panels').classList.add('trouble');
  clearTimeout(trouble.again);
  trouble.again = setTimeout(() => model && show('all'), AGAIN_MS);
}

// -- what comes after the key figures -----------------------------------------

const fileAt = (path) => new URL(path, import.meta.url).href;

/// uPlot is a script that makes a global, not a module.
const loadPlot = () =>
  new Promise((done, fail) => {
    const src = fileAt('./vendor/uplot/uPlot.iife.min.js');
    document.head.append(h('script', {src, onload: done, onerror: fail}));
  });

/// Brings the later modules, once, and sets the panels up.
const loadRest = () => (loadRest.running ??= bringRest().catch(beginAnew));

async function bringRest() {
  for (const name of LATER)
    document.head.append(
      h('link', {rel: 'modulepreload', href: fileAt(`./${name}.js`)}),
    );
  const [made, heard] = await Promise.all([
    import('./panels.js'),
    import('./live.js'),
    loadPlot(),
    import('./signin.js'), // For the day on which the node is gone.
  ]);
  rest = {...made, ...heard};
  Object.assign(
    panels,
    rest.makePanels({
      filter,
      set,
      compare,
      branchOrder,
      branches: () => live?.branches ?? [],
      productName,
      branch: (id) => live?.branches.find((x) => x.branch_id === id),
      redraw: () => draw('summary'),
    }),
  );
  if (model) draw();
}

/// Resolves once something stands on the screen: until then the machine has
/// better to do than to read modules. A tab that nobody sees is not painted.
const painted = () =>
  new Promise((done) => {
    if (
      document.hidden ||
      !PerformanceObserver.supportedEntryTypes.includes('paint')
    )
      return done();
    new PerformanceObserver((list, observer) => {
      if (!list.getEntriesByName('first-contentful-paint').length) return;
      observer.disconnect();
      done();
    }).observe({type: 'paint', buffered: true});
    setTimeout(done, 500);
  });

/// Browsers remember that a module did not come. So where one is missing, the
/// page begins anew once its node is back; its state is in the URL.
async function beginAnew() {
  banner(
    'load',
    'A part of the page did not come. It is asked for again by itself.',
  );
  for (;;) {
    await new Promise((done) => setTimeout(done, AGAIN_MS));
    if ((await fetch('/healthz').catch(() => null))?.ok) return location.reload();
  }
}

// -- loading and drawing ------------------------------------------------------

function describe() {
  const {range} = model;
  const single = range.single;
  const lead = {today: 'Today', yesterday: 'Yesterday'}[state.period];
  const when = single
    ? f.dayLong(range.from)
    : state.period === 'month'
      ? f.monthLong(range.from)
      : f.dayRange(range.from, range.to);
  model.words = {
    period: lead
      ? `${lead}, ${f.dayShort(range.from)}`
      : single
        ? f.dayMedium(range.from)
        : when,
    inPeriod: lead
      ? lead.toLowerCase()
      : single
        ? `on ${f.dayMedium(range.from)}`
        : 'in this time',
    file: single ? range.from : `${range.from}_${range.to}`,
  };
  setText($('when'), when);
  const fair = range.fair;
  const than = single
    ? `compared with ${f.dayWeekday(range.before.from)}${range.from === today ? ', up to the same time' : ''}`
    : fair
      ? `compared with ${f.dayRange(range.before.from, addDays(range.before.from, fair - 1))}${fair < range.days ? ', the days that are over' : ''}`
      : 'no day is over yet';
  setText($('zone'), than);
}

function drawControls() {
  for (const button of $('periods').children)
    button.setAttribute('aria-pressed', button.dataset.period === state.period);
  $('custom').hidden = state.period !== 'custom';
  if (model && state.period === 'custom') {
    $('custom').elements.from.value = state.from;
    $('custom').elements.to.value = state.to;
  }
  if (today) $('next').disabled = !hasNext(state, today);
  const chips = [];
  const chip = (kind, name, clear) =>
    chips.push(
      h(
        'span',
        {class: 'chip'},
        h('span', {class: 'kind'}, kind),
        named(name),
        h(
          'button',
          {
            type: 'button',
            'aria-label': `Clear the filter ${kind} ${name}`,
            onclick: clear,
          },
          '×',
        ),
      ),
    );
  if (state.branch)
    chip('Branch', branchName(state.branch), () => set({branch: undefined}));
  if (state.product)
    chip('Product', productName(), () => set({product: undefined}));
  $('chips').replaceChildren(...chips);
}

const branchName = (id) =>
  live?.branches.find((x) => x.branch_id === id)?.name ?? id;
const productName = () =>
  model?.parts.product?.name || names.product || state.product;

/// Branches in the order of their ids: the numbers that the keys 1 to 9 have.
const branchOrder = () => (live?.branches ?? []).map((x) => x.branch_id);

const NEEDS = {
  kpis: ['summary', 'daily', 'dailyBefore', 'unique', 'uniqueBefore'],
  branches: ['summary', 'daily', 'dailyBefore', 'unique', 'uniqueBefore'],
  trend: ['trend', 'trendBefore', 'product'],
  products: ['products', 'productRange', 'product'],
  customers: ['loyal'],
  unique: ['unique'],
  heat: ['heat'],
};

function draw(part, glow = false) {
  for (const [name, needs] of Object.entries(NEEDS))
    if (!part || needs.includes(part)) panels[name]?.(model, state, glow);
}

/// Makes the model of the state and draws what of it is known.
/// @returns the number of this loading; a later one has another.
function renew() {
  const next = questionsOf(state, today, live.branches.length);
  const old = model;
  model = {...next, parts: {}, today};
  // What is known and asked in the same way is not asked again.
  for (const [name, path] of Object.entries(next.asks))
    if (old?.asks[name] === path && name in old.parts)
      model.parts[name] = old.parts[name];
  if (model.asks.summary === question('summary') && live)
    model.parts.summary = live;
  describe();
  drawControls();
  draw();
  return ++load;
}

/// Asks what the state needs and draws it as it comes.
/// @param again 'all', names of parts, or nothing: what is not known yet.
async function show(again) {
  const mine = renew();
  const current = model;
  $('panels').setAttribute('aria-busy', 'true');
  try {
    await fill(current, again, (part) => {
      if (mine === load) {
        draw(part, Boolean(again));
        if (part === 'product') drawControls();
      }
    });
    await loadRest();
    if (mine !== load) return;
    banner('load', null);
    $('panels').classList.remove('trouble');
    checkEmpty();
  } catch (error) {
    if (mine === load) trouble(error);
  } finally {
    if (mine === load) $('panels').setAttribute('aria-busy', 'false');
  }
}

/// Changes the state; each change is a step of the browser's history.
function set(changes) {
  const next = {...state, ...changes};
  for (const name of Object.keys(next))
    if (next[name] === undefined) delete next[name];
  const url = writeState(next);
  if (url === writeState(state)) return;
  state = next;
  history.pushState(null, '', url);
  show();
  announce(
    `${$('when').textContent}${state.branch ? `, ${branchName(state.branch)}` : ''}`,
  );
}

function setPeriod(id) {
  const {date, from, to, grain, ...rest} = state;
  const next = {
    date: undefined,
    from: undefined,
    to: undefined,
    grain: undefined,
    ...rest,
    period: id,
  };
  if (id === 'custom') {
    const range = rangeOf(state, today);
    Object.assign(next, {from: range.from, to: range.to});
  }
  set(next);
  if (id === 'custom') $('custom').elements.from.focus();
}

function filter(name, value, label, keep = false) {
  if (name === 'product') names.product = label;
  set({[name]: state[name] === value && !keep ? undefined : value});
}

// -- an empty shop ------------------------------------------------------------

function checkEmpty() {
  const anybody = model.parts.loyal?.total.customers.length;
  const box = $('empty');
  const isEmpty = !anybody && !live?.total.purchases;
  document.body.classList.toggle('is-empty', isEmpty);
  box.hidden = !isEmpty;
  if (!isEmpty) {
    offerLastSale();
    return;
  }
  const branch = live.branches[0]?.branch_id ?? 'branch-1';
  const code = `curl ${location.origin}/purchases \\
  -H 'Authorization: Bearer <key of a till>' \\
  -H 'Content-Type: application/json' \\
  -d '{"branch_id": "${branch}", "pos_id": "pos-1", "cashier_id": "anna",
       "receipt_id": "first-1",
       "idempotency_key": "${uuid()}",
       "items": [{"product_id": "espresso", "name": "Espresso",
                  "unit_price": "2.50", "qty": 1}]}'`;
  const copy = h(
    'button',
    {
      type: 'button',
      class: 'quiet',
      onclick: async () => {
        await navigator.clipboard?.writeText(code);
        copy.textContent = 'Copied';
      },
    },
    'Copy',
  );
  if (!box.firstChild)
    box.replaceChildren(
      h('h2', null, 'Open for business. No sale yet.'),
      h(
        'p',
        null,
        'Everything is ready. Record a first sale, and this page begins to count; it needs no reload. The till’s key stands in ',
        h('code', null, 'endpoints.json'),
        ', and ',
        h('code', null, 'tillstream up'),
        ' printed the whole line to paste.',
      ),
      h('pre', {tabindex: '0'}, h('code', null, code)),
      copy,
      h(
        'p',
        null,
        'Or watch a shop that lives: ',
        h('code', null, 'tillstream simulate --live'),
        '.',
      ),
    );
}

const uuid = () =>
  crypto.randomUUID?.() ??
  '10000000-1000-4000-8000-100000000000'.replace(/[018]/g, (c) =>
    (c ^ (crypto.getRandomValues(new Uint8Array(1))[0] & (15 >> (c / 4)))).toString(
      16,
    ),
  );

/// A period without sales: where are they?
function offerLastSale() {
  const last = (model.parts.loyal?.total.customers ?? []).reduce(
    (a, x) => (x.last_purchase_at > a ? x.last_purchase_at : a),
    '',
  );
  const quiet = model.parts.daily?.total.series.every((x) => !x.purchases);
  const box = $('chips');
  if (!last || !quiet || state.branch) return;
  const day = last.slice(0, 10);
  const note = h(
    'span',
    {class: 'hint'},
    'No sales in this time. Regulars last came on ',
    f.dayWithYear(day),
    '. ',
    h(
      'button',
      {
        type: 'button',
        class: 'link',
        onclick: () =>
          set({
            period: 'month',
            date: day,
            from: undefined,
            to: undefined,
            grain: undefined,
          }),
      },
      `Show ${f.monthLong(day)}`,
    ),
  );
  box.querySelector('.hint')?.remove();
  box.append(note);
}

// -- live ---------------------------------------------------------------------

let progressed = 0; // When `as_of` moved last, by our own clock.
let lastAsOf = '';
let connected = false;
let lastQuick = 0;
let lastSlow = 0;
let timer = 0;

const latestDay = (summary) =>
  summary.date ?? summary.branches.reduce((a, x) => (x.date > a ? x.date : a), '');

function onLive({kind, data, polled}) {
  if (kind === 'over')
    return enterDoor('You were signed out. Sign in again to go on.');
  if (kind === 'lost') {
    connected = false;
    banner(
      'lost',
      'The connection is lost. The numbers stay as they were; they go on by themselves when it is back.',
    );
    drawStatus();
    return;
  }
  connected = true;
  banner('lost', null);
  if (kind === 'trouble') {
    banner(
      'trouble',
      'There are no newer numbers at the moment: a part of the node is not ready. They go on by themselves.',
    );
    drawStatus();
    return;
  }
  banner('trouble', null);
  const known = live;
  live = kind === 'summary' ? data : {...live, ...data};
  noteProgress();
  if (kind !== 'summary' || !model) return;
  if (known && latestDay(data) !== latestDay(known)) {
    today = latestDay(data);
    show('all'); // Midnight has passed.
    return;
  }
  if (polled && JSON.stringify(known?.total) === JSON.stringify(data.total)) return;
  takeSummary();
}

/// New numbers of today: what shows them moves at once, the rest follows.
function takeSummary() {
  if (model.range.to < today) return;
  if (model.asks.summary === question('summary')) {
    model.parts.summary = live;
    draw('summary', true);
  }
  clearTimeout(timer);
  const wait = Math.max(0, lastQuick + QUICK_MS - Date.now());
  timer = setTimeout(refresh, wait);
}

async function refresh() {
  if (document.hidden || !model) return;
  lastQuick = Date.now();
  const again = [...QUICK];
  if (
    lastQuick - lastSlow > SLOW_MS ||
    document.body.classList.contains('is-empty')
  ) {
    lastSlow = lastQuick;
    again.push(...SLOW);
  }
  const current = model;
  try {
    await fill(current, again, (part) => model === current && draw(part, true));
    if (model === current) checkEmpty();
  } catch (error) {
    if (model === current) trouble(error);
  }
}

function noteProgress() {
  if (live.as_of !== lastAsOf) progressed = performance.now();
  lastAsOf = live.as_of;
  drawStatus();
}

function drawStatus() {
  if (!live) return;
  const zones = new Set(live.branches.map((x) => x.time_zone));
  const zone = zones.size === 1 ? [...zones][0] : undefined;
  const as_of = f.timeOf(live.as_of, zone);
  const behind = live.lag_ms ? `, ${f.about(live.lag_ms / 1000)} s behind` : '';
  const pending = live.pending_events
    ? ` · ${f.count(live.pending_events)} on their way${behind}`
    : '';
  setText(
    $('status-text'),
    `${connected ? 'Live' : 'Not live'} · as of ${as_of}${pending}`,
  );
  $('status').dataset.state = connected ? (banners.size ? 'slow' : 'live') : 'lost';
  const old = connected && performance.now() - progressed > STALE_MS;
  banner(
    'stale',
    old
      ? `The numbers are old: as of ${as_of}.${live.pending_events ? ` ${live.pending_events === 1 ? '1 purchase is' : `${f.count(live.pending_events)} purchases are`} recorded and on the way.` : ''}`
      : null,
  );
}

// -- keyboard -----------------------------------------------------------------

const KEYS = [
  ...PERIODS.map(({key, label}) => [key.toUpperCase(), label]),
  ['← →', 'Period before, after'],
  ['1 – 9', 'A branch; again: all'],
  ['G', 'Buckets: hour, day, week, month'],
  ['X', 'Compare with the period before'],
  ['V', 'Table or chart, of the panel in use'],
  ['Esc', 'Clear the filters'],
  ['D', 'Dark or light'],
  ['?', 'This help'],
];

function onKey(event) {
  if (
    event.defaultPrevented ||
    event.ctrlKey ||
    event.metaKey ||
    event.altKey ||
    document.body.dataset.view !== 'page' ||
    $('help').open ||
    event.target.closest('input, textarea, select')
  )
    return;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const chosen = PERIODS.find((x) => x.key === key);
  const order = branchOrder();
  if (chosen) setPeriod(chosen.id);
  else if (key === 'ArrowLeft' || key === '[') step(-1);
  else if (key === 'ArrowRight' || key === ']') step(1);
  else if (/^[1-9]$/.test(key) && order[key - 1]) filter('branch', order[key - 1]);
  else if (key === 'g')
    set({
      grain: ['hour', 'day', 'week', 'month'][
        (['hour', 'day', 'week', 'month'].indexOf(model.grain) + 1) % 4
      ],
    });
  else if (key === 'x') compare();
  else if (key === 'v') rest?.toggleTableUnderPointer();
  else if (key === 'Escape') set({branch: undefined, product: undefined});
  else if (key === 'd') nextTheme();
  else if (key === '?') openHelp();
  else return;
  event.preventDefault();
}

const compare = () => set({compare: state.compare === 'off' ? undefined : 'off'});

function step(by) {
  if (by > 0 && !hasNext(state, today)) return;
  set({date: undefined, ...shifted(state, today, by)});
}

function openHelp() {
  const dialog = $('help');
  dialog.replaceChildren(
    h(
      'div',
      {class: 'help-body'},
      h('h2', {id: 'help-title'}, 'Keyboard'),
      h(
        'dl',
        null,
        KEYS.map(([key, what]) =>
          h(
            'div',
            null,
            h(
              'dt',
              null,
              key.split(' ').map((k) => (k === '–' ? ' – ' : h('kbd', null, k))),
            ),
            h('dd', null, what),
          ),
        ),
      ),
      h('form', {method: 'dialog'}, h('button', {class: 'primary'}, 'Close')),
    ),
  );
  dialog.showModal();
}

// -- colours ------------------------------------------------------------------

const THEMES = ['system', 'light', 'dark'];
const ICONS = {
  system: 'M8 2a6 6 0 1 0 0 12A6 6 0 0 0 8 2Zm0 1.5v9a4.5 4.5 0 0 1 0-9Z',
  light:
    'M8 5a3 3 0 1 0 0 6 3 3 0 0 0 0-6ZM7.4 1h1.2v2H7.4zM7.4 13h1.2v2H7.4zM1 7.4h2v1.2H1zM13 7.4h2v1.2h-2zM2.6 3.5l.9-.9 1.4 1.4-.9.9zM11.1 12l.9-.9 1.4 1.4-.9.9zM2.6 12.5 4 11.1l.9.9-1.4 1.4zM11.1 4l1.4-1.4.9.9L12 4.9z',
  dark: 'M6.3 2.2a6 6 0 1 0 7.5 7.5 4.8 4.8 0 0 1-7.5-7.5Z',
};

function nextTheme() {
  const now = document.documentElement.dataset.theme ?? 'system';
  const next = THEMES[(THEMES.indexOf(now) + 1) % THEMES.length];
  if (next === 'system') delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = next;
  kept.set('theme', next);
  drawTheme();
}

function drawTheme() {
  const now = document.documentElement.dataset.theme ?? 'system';
  const icon = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  icon.setAttribute('viewBox', '0 0 16 16');
  icon.setAttribute('aria-hidden', 'true');
  icon.setAttribute('class', 'filled');
  const path = document.createElementNS('http://www.w3.org/2000/svg', 'path');
  path.setAttribute('d', ICONS[now]);
  icon.append(path);
  $('theme').replaceChildren(icon);
  const label = `Colours: ${now === 'system' ? 'as the system' : now}`;
  $('theme').setAttribute('aria-label', label);
  $('theme').title = `${label} (D)`;
  if (model) draw(); // Charts draw in colours of their own.
}

// -- the start ----------------------------------------------------------------

function drawFoot() {
  const zones = new Map();
  for (const x of chain.branches) zones.set(`${x.time_zone} ${x.day_start}`, x);
  const days = [...zones.values()]
    .slice(0, 4)
    .map((x) => `${x.time_zone}, business day from ${x.day_start}`);
  $('foot').replaceChildren(
    h(
      'p',
      null,
      zones.size === 1
        ? `All times: ${days[0]}.`
        : `Each branch counts in its own zone and business day: ${days.join('; ')}${zones.size > 4 ? '; …' : ''}.`,
    ),
    h(
      'p',
      null,
      `Amounts in ${chain.currency}. Customers are counted exactly; numbers of different days or branches do not add up. `,
      h('a', {href: '/openapi.json'}, 'API'),
      ' · press ',
      h('kbd', null, '?'),
      ' for keys',
    ),
  );
}

function wire() {
  $('periods').replaceChildren(
    ...PERIODS.map(({id, label, key}) =>
      h(
        'button',
        {
          type: 'button',
          'data-period': id,
          title: `${label} (${key.toUpperCase()})`,
          'aria-pressed': 'false',
          onclick: () => setPeriod(id),
        },
        label,
      ),
    ),
  );
  $('previous').onclick = () => step(-1);
  $('next').onclick = () => step(1);
  $('custom').onsubmit = (event) => {
    event.preventDefault();
    const {from, to} = event.target.elements;
    if (from.value && to.value)
      set({
        from: from.value < to.value ? from.value : to.value,
        to: from.value < to.value ? to.value : from.value,
      });
  };
  $('help-open').onclick = openHelp;
  $('theme').onclick = nextTheme;
  $('sign-out').onclick = async () => {
    await signOut().catch(() => {});
    enterDoor('You are signed out.');
  };
  addEventListener('keydown', onKey);
  addEventListener('popstate', () => {
    state = readState(location.search);
    if (model) show();
  });
  document.addEventListener('visibilitychange', () => {
    if (!document.hidden && model) refresh();
  });
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', drawTheme);
  setInterval(drawStatus, 5000);
  panels.kpis = makeFigures();
  drawTheme();
}

/// Fills the key figures in before anything else is asked for.
async function showFigures() {
  renew();
  const needs = model.range.single
    ? ['summary']
    : ['daily', 'dailyBefore', 'unique', 'uniqueBefore'];
  const lacking = needs.filter((name) => !(name in model.parts));
  // Who has trouble here has it again in show(), which says so.
  if (lacking.length) await fill(model, lacking, draw).catch(() => {});
}

async function start() {
  try {
    [live, chain] = await Promise.all([get(question('summary')), get('/branches')]);
  } catch (error) {
    if (error.status === 401) return enterDoor();
    if (error.status === 403)
      return enterDoor('This sign-in may not see the page.');
    view('loading');
    banner(
      'load',
      error.status
        ? 'The node is starting. It is asked again by itself.'
        : 'No answer from the node. It is asked again by itself.',
    );
    setTimeout(start, 1500);
    return;
  }
  banner('load', null);
  kept.set('signed-in', 'yes');
  f.setCurrency(chain.currency);
  setText($('chain'), chain.name);
  $('chain').title = chain.name;
  document.title = chain.name;
  today = latestDay(live);
  connected = true;
  noteProgress();
  drawFoot();
  $('branches').style.setProperty('--rows', Math.min(live.branches.length, 13));
  $('panels').removeAttribute('aria-busy');
  await showFigures();
  view('page');
  performance.mark('tillstream.figures');
  await painted();
  const drawing = show();
  await loadRest();
  stopListening?.();
  stopListening = rest.listen(onLive);
  await drawing;
  performance.mark('tillstream.drawn');
}

wire();
const wrong = location.hash
  ? await import('./signin.js').then((x) => x.useLink())
  : null;
if (!wrong && wasSignedIn()) start();
else
  get('/session').then(
    (who) => (who.role === 'owner' ? start() : enterDoor(wrong)),
    start,
  );
