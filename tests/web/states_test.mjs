// What the page says while it waits, when nobody answers, and when the numbers
// stand still; and in which order it brings what it needs.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import {after, before, test} from 'node:test';
import {
  accessible,
  launch,
  newPage,
  nothingWrong,
  notTooWide,
  settled,
  shot,
  signIn,
  text,
} from './support/browser.mjs';
import {eventually, Program, sellTwoWeeks} from './support/program.mjs';

const WEB = path.resolve(
  path.dirname(new URL(import.meta.url).pathname),
  '../../web',
);

let program;
let browser;
let cookies;

before(async () => {
  [program, browser] = await Promise.all([Program.up(), launch()]);
  await sellTwoWeeks(program);
  const page = await newPage(browser, program);
  await signIn(page, program);
  cookies = await page.context().cookies();
  await page.context().close();
});

after(async () => {
  await browser?.close();
  await program?.down();
});

/// A page of somebody who signed in before, not opened yet.
async function known(options) {
  const page = await newPage(browser, program, options);
  await page.context().addCookies(cookies);
  await page.addInitScript(() =>
    localStorage.setItem('tillstream.signed-in', 'yes'),
  );
  return page;
}

/// Waits for a banner; fails with what stands there in its place.
async function banner(page, words, options) {
  try {
    await page.waitForSelector(
      `#banner:not([hidden]):has-text("${words}")`,
      options,
    );
  } catch {
    const there = await page.$eval('#banner', (x) =>
      x.hidden ? 'none' : `'${x.innerText}'`,
    );
    const status = await text(page, '#status');
    assert.fail(`no banner '${words}', but ${there}; the status: ${status}`);
  }
}
const noBanner = (page) =>
  page.waitForSelector('#banner[hidden]', {state: 'attached', timeout: 60000});

/// What the browser says by itself of requests that failed, as it should here.
const forgive = (page) => {
  page.wrong = page.wrong.filter((x) => !x.includes('Failed to load resource'));
};

const problem = (status, detail) => ({
  status,
  contentType: 'application/problem+json',
  body: JSON.stringify({status, title: 'Trouble', detail}),
});

test('the key figures are on the screen before the panels are asked for', async () => {
  const page = await known();
  await page.addInitScript(() => {
    window.shifts = 0;
    new PerformanceObserver((list) => {
      for (const x of list.getEntries()) window.shifts += x.value;
    }).observe({type: 'layout-shift', buffered: true});
    window.painted = null;
    new PerformanceObserver((list) => {
      for (const x of list.getEntries())
        if (x.identifier === 'figures') window.painted ??= x.renderTime;
    }).observe({type: 'element', buffered: true});
  });
  const digits = async () =>
    (await page.locator('.kpi-value').allInnerTexts()).every((x) => /\d/.test(x));
  // The later files wait: the figures must not.
  let open;
  const gate = new Promise((done) => {
    open = done;
  });
  const asked = [];
  await page.route(/\/(panels|trend|charts|uPlot[^/]*)\.js$/, async (route) => {
    asked.push([route.request().url(), await digits()]);
    await gate;
    await route.continue();
  });
  await page.goto(program.http, {waitUntil: 'commit'});
  await page.waitForSelector('body[data-view=page]');
  assert.ok(await digits(), 'the figures are there');
  await eventually(() => page.evaluate(() => window.painted), 'they are painted');
  await eventually(() => asked.length === 4, 'the rest is asked for');
  assert.deepEqual(
    asked.filter(([, there]) => !there),
    [],
  );
  await shot(page, 'state-figures-first');
  open();
  await settled(page);
  assert.ok((await page.evaluate(() => window.shifts)) < 0.02, 'nothing jumps');
  await nothingWrong(page);
  await page.context().close();
});

test('each module is asked for in front or later, and none twice', () => {
  const index = fs.readFileSync(path.join(WEB, 'index.html'), 'utf8');
  const first = [...index.matchAll(/ (?:src|href)="\/(\w+)\.js/g)].map((x) => x[1]);
  const app = fs.readFileSync(path.join(WEB, 'app.js'), 'utf8');
  const later = [
    .../const LATER = \[([^\]]*)/.exec(app)[1].matchAll(/'(\w+)'/g),
  ].map((x) => x[1]);
  const all = fs
    .readdirSync(WEB)
    .filter((x) => x.endsWith('.js'))
    .map((x) => x.slice(0, -3));
  assert.deepEqual([...first, ...later].sort(), all.sort());
  // What comes first imports nothing that comes later.
  for (const name of first)
    for (const [, other] of fs
      .readFileSync(path.join(WEB, `${name}.js`), 'utf8')
      .matchAll(/^(?:import|\}) .*from '\.\/(\w+)\.js'/gm))
      assert.ok(first.includes(other), `${name} imports ${other}`);
});

for (const [size, options] of [
  ['wide', {}],
  ['phone', {viewport: {width: 390, height: 844}, deviceScaleFactor: 2}],
])
  test(`${size}: panels that take a while say that they load`, async () => {
    const page = await known(options);
    let open;
    const gate = new Promise((done) => {
      open = done;
    });
    await page.route(
      /\/analytics\/(revenue|top|loyal|unique|heat)/,
      async (route) => {
        await gate;
        await route.continue();
      },
    );
    await page.goto(program.http);
    await page.waitForSelector('#trend[data-state=new] h2');
    const says = (id) =>
      page.evaluate((x) => {
        const style = getComputedStyle(document.getElementById(x), '::after');
        return style.opacity === '1' && style.content;
      }, id);
    await eventually(
      async () => (await says('trend')) === '"Loading…"',
      'the trend says so',
    );
    assert.equal(await page.getAttribute('#panels', 'aria-busy'), 'true');
    // What is known already stands there.
    assert.match(await text(page, '.kpi-value'), /\d/);
    assert.match(await text(page, '#branches tbody'), /\d/);
    await notTooWide(page);
    await shot(page, `state-loading-${size}`, {fullPage: true});
    await accessible(page, 'loading');
    open();
    await settled(page);
    assert.equal(await says('trend'), 'none');
    await nothingWrong(page);
    await page.context().close();
  });

test('a panel’s question that fails is said, and asked again by itself', async () => {
  const page = await known();
  let fails = true;
  await page.route(/\/analytics\/heatmap/, (route) =>
    fails
      ? route.fulfill(problem(503, 'The analytics database is away.'))
      : route.continue(),
  );
  await page.goto(program.http);
  await banner(
    page,
    'The analytics database is away. It is asked again by itself.',
  );
  await page.waitForSelector('#products[data-state=drawn]');
  assert.equal(
    await page.evaluate(
      () => getComputedStyle(document.getElementById('heat'), '::after').content,
    ),
    '"No answer yet"',
  );
  await shot(page, 'state-part-fails', {fullPage: true});
  await accessible(page, 'a part fails');
  fails = false;
  await noBanner(page);
  await page.waitForSelector('#heat[data-state=drawn]');
  forgive(page);
  await nothingWrong(page);
  await page.context().close();
});

test('a node that is starting is waited for', async () => {
  const page = await known();
  let fails = true;
  await page.route(/\/(analytics\/|branches$)/, (route) =>
    fails ? route.fulfill(problem(503, 'Not ready.')) : route.continue(),
  );
  await page.goto(program.http);
  await banner(page, 'The node is starting. It is asked again by itself.');
  await shot(page, 'state-starting');
  await accessible(page, 'starting');
  fails = false;
  await settled(page);
  await noBanner(page);
  assert.match(await text(page, '.kpi-value'), /\d/);
  forgive(page);
  await nothingWrong(page);
  await page.context().close();
});

test('a module that does not come is asked for again', async () => {
  const page = await known();
  let fails = true;
  await page.route(/\/trend\.js$/, (route) =>
    fails ? route.abort() : route.continue(),
  );
  await page.goto(program.http);
  await banner(page, 'A part of the page did not come.');
  assert.match(await text(page, '.kpi-value'), /\d/);
  fails = false;
  await page.waitForSelector('#trend[data-state=drawn]');
  await noBanner(page);
  await page.context().close();
});

test('a frozen node: the page says that the connection is lost, and goes on', async () => {
  const page = await known({colorScheme: 'dark'});
  await page.goto(program.http);
  await settled(page);
  await page.waitForSelector('#status[data-state=live]');
  const before = await text(page, '.kpi-value');
  program.process.kill('SIGSTOP');
  try {
    await banner(page, 'The connection is lost.', {timeout: 60000});
    await page.waitForSelector('#status[data-state=lost]');
    assert.match(await text(page, '#status'), /^Not live/);
    assert.equal(await text(page, '.kpi-value'), before);
    await shot(page, 'state-lost');
    await accessible(page, 'lost');
  } finally {
    program.process.kill('SIGCONT');
  }
  await noBanner(page);
  await page.waitForSelector('#status[data-state=live]');
  await program.sell();
  await page.waitForFunction(
    (x) => document.querySelector('.kpi-value').innerText !== x,
    before,
  );
  await page.context().close();
});

test('with a frozen broker the numbers are called old, until they move', async () => {
  const page = await known();
  await page.goto(program.http);
  await settled(page);
  await page.waitForSelector('#status[data-state=live]');
  const before = await text(page, '.kpi-value');
  program.signal('nats-server', 'SIGSTOP');
  try {
    // Recorded it is all the same, but not counted.
    await program.record();
    await page.waitForSelector('#status:has-text("1 on their way")');
    await banner(page, 'The numbers are old: as of', {timeout: 90000});
    await banner(page, '1 purchase is recorded and on the way.');
    await page.waitForSelector('#status[data-state=slow]');
    assert.equal(await text(page, '.kpi-value'), before);
    await shot(page, 'state-old');
    await accessible(page, 'old');
  } finally {
    program.signal('nats-server', 'SIGCONT');
  }
  await noBanner(page);
  await page.waitForFunction(
    (x) => document.querySelector('.kpi-value').innerText !== x,
    before,
  );
  await nothingWrong(page);
  await page.context().close();
});

// The last: it ends the node.
test('a node that is gone is noticed, and its return, too', async () => {
  const page = await known();
  await page.goto(program.http);
  await settled(page);
  await page.waitForSelector('#status[data-state=live]');
  const {port} = new URL(program.http);
  // A question that fails before the node is gone does not hide that it is.
  await page.route(/\/analytics\/revenue/, (route) => route.abort());
  await page.keyboard.press('m');
  await banner(page, 'No answer from the node.');
  await program.stop();
  await banner(page, 'The connection is lost.', {timeout: 60000});
  await page.unroute(/\/analytics\/revenue/);
  await page.keyboard.press('2');
  await shot(page, 'state-gone', {fullPage: true});
  await program.start(port);
  await noBanner(page);
  await page.waitForSelector('#status[data-state=live]', {timeout: 60000});
  await page.context().close();
});
