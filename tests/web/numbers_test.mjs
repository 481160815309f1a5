// What the page says is what the API says, and it moves.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import {after, before, test} from 'node:test';
import {
  launch,
  newPage,
  nothingWrong,
  settled,
  signIn,
  text,
  watch,
} from './support/browser.mjs';
import {eventually, Program, sellTwoWeeks} from './support/program.mjs';

let program;
let browser;
let page;

const money = (x) =>
  new Intl.NumberFormat('en-US', {style: 'currency', currency: 'USD'}).format(
    Number(x),
  );
const kpi = (n) => `.kpi:nth-child(${n}) .kpi-value`;

before(async () => {
  [program, browser] = await Promise.all([Program.up(), launch()]);
  await sellTwoWeeks(program);
  page = await newPage(browser, program);
  await signIn(page, program);
});

after(async () => {
  await browser?.close();
  await program?.down();
});

/// Back to the first screen.
async function home() {
  await page.mouse.move(0, 0);
  await page.goto(program.http);
  await settled(page);
}

test('the figures are the API’s', async () => {
  await home();
  const {total, branches} = await program.ask('/analytics/summary');
  assert.equal(await text(page, kpi(1)), money(total.revenue));
  assert.equal(await text(page, kpi(2)), String(total.purchases));
  assert.equal(await text(page, kpi(3)), money(total.average_basket));
  assert.equal(await text(page, kpi(4)), String(total.unique_customers));
  // Shortly after midnight nobody had bought a week ago.
  const before = total.previous.purchases
    ? money(total.previous.revenue)
    : 'no sales before';
  assert.ok(
    (await text(page, '.kpi:first-child .kpi-note')).includes(before),
  );
  const rows = await page
    .locator('.branches tbody tr')
    .evaluateAll((list) =>
      list.map((row) => [
        row.querySelector('.name').textContent,
        row.querySelector('.c-revenue').textContent,
        row.querySelector('.c-customers').textContent,
      ]),
    );
  const wanted = branches
    .map((x) => [x.name, money(x.revenue), String(x.unique_customers)])
    .sort((a, b) => Number(b[1].slice(1)) - Number(a[1].slice(1)));
  assert.deepEqual(rows, wanted);
  assert.equal(
    await text(page, '.branches tfoot .c-revenue'),
    money(total.revenue),
  );
  const {
    total: {products},
  } = await program.ask(
    `/analytics/top-products?from=${branches[0].date}&to=${branches[0].date}&limit=10`,
  );
  assert.deepEqual(
    await page
      .locator('.products tbody tr')
      .evaluateAll((list) =>
        list.map((row) => [
          row.querySelector('.name').textContent,
          row.querySelector('.c-units').textContent,
          row.querySelector('.c-revenue').textContent,
        ]),
      ),
    products.map((x) => [x.name, String(x.quantity), money(x.revenue)]),
  );
  const {
    total: {customers},
  } = await program.ask('/analytics/loyal-customers');
  assert.deepEqual(
    await page
      .locator('.customers tbody tr')
      .evaluateAll((list) =>
        list.map((row) => [
          row.querySelector('code').title,
          row.querySelector('.c-visits').textContent,
          row.querySelector('.c-spent').textContent,
        ]),
      ),
    customers.map((x) => [x.user_id, String(x.purchases), money(x.revenue)]),
  );
  await nothingWrong(page);
});

test('several days add up, but their customers do not', async () => {
  await home();
  await page.keyboard.press('w');
  await settled(page);
  const {
    branches: [{date}],
  } = await program.ask('/analytics/summary');
  const day = (n) =>
    new Date(Date.parse(date) + n * 86400000).toISOString().slice(0, 10);
  const range = `from=${day(-7)}&to=${day(-1)}`;
  const {
    total: {series},
  } = await program.ask(`/analytics/revenue?${range}&granularity=day`);
  const cents = series.reduce((a, x) => a + Math.round(Number(x.revenue) * 100), 0);
  assert.equal(await text(page, kpi(1)), money(cents / 100));
  const {
    total: {days},
  } = await program.ask(`/analytics/unique-customers?${range}`);
  const mean = days.reduce((a, x) => a + x.customers, 0) / 7;
  assert.equal(
    await text(page, kpi(4)),
    new Intl.NumberFormat('en-US', {maximumFractionDigits: 1}).format(mean),
  );
  assert.equal(
    await text(page, '.kpi:nth-child(4) .kpi-label button'),
    'Customers a day',
  );
});

test('a sale that is posted moves the numbers, and rows stay under the pointer', async () => {
  await home();
  const shown = async () => Number((await text(page, kpi(1))).replace(/[$,]/g, ''));
  const order = () => page.locator('.branches tbody .name').allTextContents();
  const first = await shown();
  const names = await order();
  const last = page.locator('.branches tbody tr').last();
  await last.hover();
  const {branches} = await program.ask('/analytics/summary');
  const loser = branches.find((x) => x.name === names[2]).branch_id;
  await program.sell({branch: loser, items: [['beans', 'Coffee Beans', '900.00']]});
  await eventually(
    async () => (await shown()) === first + 900,
    'the revenue moves',
  );
  assert.equal(await last.locator('.name').innerText(), names[2]);
  assert.deepEqual(await order(), names);
  await page.mouse.move(0, 0);
  await eventually(
    async () => (await order())[0] === names[2],
    'the rows are put in order afterwards',
  );
  await eventually(
    async () =>
      (await page.locator('.products tbody .name').allTextContents())[0] ===
      'Coffee Beans',
    'the products follow',
  );
  assert.match(await text(page, '#status-text'), /^Live · as of \d/);
  await nothingWrong(page);
});

test('tabs share one connection', async () => {
  await home();
  const context = page.context();
  let streams = 0;
  context.on('request', (x) => {
    streams += x.url().endsWith('/analytics/live') ? 1 : 0;
  });
  const second = await watch(await context.newPage(), program);
  await second.goto(program.http);
  await settled(second);
  const before_ = await text(second, kpi(2));
  await program.sell();
  await eventually(
    async () => (await text(second, kpi(2))) !== before_,
    'the other tab moves, too',
  );
  assert.equal(streams, 0);
  // Who is left takes the connection over.
  const third = await watch(await context.newPage(), program);
  await third.goto(program.http);
  await settled(third);
  await second.close();
  await page.goto('about:blank');
  await eventually(() => streams === 1, 'the tab that is left connects');
  const count = await text(third, kpi(2));
  await program.sell();
  await eventually(async () => (await text(third, kpi(2))) !== count, 'and moves');
  await third.close();
});

test('without events the page asks', async () => {
  const other = await newPage(browser, program);
  await other.route('**/analytics/live', (route) =>
    route.fulfill({status: 503, body: ''}),
  );
  await signIn(other, program);
  const count = await text(other, kpi(2));
  await program.sell();
  await eventually(
    async () => (await text(other, kpi(2))) !== count,
    'the number moves',
  );
  await other.context().close();
});

test('a lost connection is said, and mends itself', async () => {
  const other = await newPage(browser, program);
  await signIn(other, program);
  const port = new URL(program.http).port;
  await program.stop();
  await other.waitForSelector('#banner:not([hidden])');
  await program.start(port);
  await other.waitForSelector('#banner', {state: 'hidden', timeout: 30000});
  const count = await text(other, kpi(2));
  await program.sell();
  await eventually(async () => (await text(other, kpi(2))) !== count, 'it goes on');
  await other.context().close();
});

test('rows filter, the URL says so, and back goes back', async () => {
  await home();
  const {branches} = await program.ask('/analytics/summary');
  const row = page.locator('.branches tbody tr').first();
  const name = await row.locator('.name').innerText();
  const {branch_id, revenue} = branches.find((x) => x.name === name);
  await row.click();
  assert.equal(new URL(page.url()).search, `?branch=${branch_id}`);
  assert.equal(await text(page, kpi(1)), money(revenue));
  assert.equal(await text(page, '.chip .name'), name);
  await page.locator('.products tbody tr').first().click();
  await settled(page);
  const product = new URL(page.url()).searchParams.get('product');
  assert.ok(product);
  assert.match(await text(page, '#trend-title'), /^Revenue of /);
  await page.click('#periods >> text=28 days');
  await settled(page);
  const url = page.url();
  assert.equal(new URL(url).searchParams.get('period'), '28d');
  const day = (n) =>
    new Date(Date.parse(branches[0].date) + n * 86400000)
      .toISOString()
      .slice(0, 10);
  const {total} = await program.ask(
    `/analytics/product?product_id=${product}&branch_id=${branch_id}&from=${day(-28)}&to=${day(-1)}`,
  );
  assert.ok(
    (await text(page, '#products .detail')).includes(
      `${total.quantity} sold for ${money(total.revenue)}`,
    ),
  );
  await page.reload();
  await settled(page);
  assert.equal(page.url(), url);
  assert.equal(await page.locator('.chip').count(), 2);
  await page.goBack();
  await settled(page);
  assert.equal(new URL(page.url()).searchParams.get('period'), null);
  await page.goBack();
  await page.goBack();
  await eventually(
    async () => (await page.locator('.chip').count()) === 0,
    'no filter is left',
  );
  await page.goForward();
  await eventually(
    async () => (await page.locator('.chip').count()) === 1,
    'forward goes forward',
  );
  await nothingWrong(page);
});

test('everything is on the keyboard', async () => {
  await home();
  const search = () => new URL(page.url()).searchParams;
  const press = async (key) => {
    await page.keyboard.press(key);
    await settled(page);
  };
  await press('2');
  assert.equal(search().get('branch'), 'branch-2');
  await press('2');
  assert.equal(search().get('branch'), null);
  await press('3');
  await press('Escape');
  assert.equal(search().get('branch'), null);
  for (const [key, period] of [
    ['y', 'yesterday'],
    ['w', '7d'],
    ['f', '28d'],
    ['m', 'month'],
    ['t', null],
  ]) {
    await press(key);
    assert.equal(search().get('period'), period, key);
  }
  await press('ArrowLeft');
  assert.equal(search().get('period'), 'yesterday');
  await press('ArrowLeft');
  assert.equal(search().get('period'), 'day');
  await press('ArrowRight');
  await press('ArrowRight');
  assert.equal(search().get('period'), null);
  await press('ArrowRight');
  assert.equal(search().get('period'), null, 'there is no day after today');
  await press('g');
  assert.equal(search().get('grain'), 'day');
  await press('x');
  assert.equal(search().get('compare'), 'off');
  assert.equal(await page.locator('#trend .legend .dashed').count(), 0);
  await press('x');
  assert.equal(await page.locator('#trend .legend .dashed').count(), 1);
  await page.keyboard.press('?');
  await page.waitForSelector('#help[open] >> text=Keyboard');
  await page.keyboard.press('Escape');
  await page.waitForSelector('#help', {state: 'hidden'});
  await page.focus('#trend .chart');
  await page.keyboard.press('ArrowLeft');
  assert.match(await page.locator('#announce').textContent(), /All branches \$/);
  await page.keyboard.press('v');
  const table = page.locator('#trend table.data');
  await table.waitFor();
  assert.ok((await table.locator('tbody tr').count()) >= 20);
  await page.keyboard.press('v');
  await nothingWrong(page);
});

test('a CSV holds what its panel shows', async () => {
  await home();
  const save = async (id) => {
    const [file] = await Promise.all([
      page.waitForEvent('download'),
      page.click(`#${id} >> text=CSV`),
    ]);
    return {
      name: file.suggestedFilename(),
      lines: fs
        .readFileSync(await file.path(), 'utf8')
        .trimEnd()
        .split('\r\n'),
    };
  };
  const {total, branches} = await program.ask('/analytics/summary');
  const file = await save('branches');
  assert.equal(file.name, `tillstream-branches-${branches[0].date}.csv`);
  assert.equal(
    file.lines[0],
    'branch_id,name,revenue,share,purchases,average_basket,unique_customers,revenue_before',
  );
  assert.equal(file.lines.length, 5);
  const first = branches.reduce((a, x) =>
    Number(x.revenue) > Number(a.revenue) ? x : a,
  );
  assert.ok(
    file.lines[1].startsWith(`${first.branch_id},${first.name},${first.revenue},`),
    file.lines[1],
  );
  assert.ok(
    file.lines[4].startsWith(`*,All branches,${total.revenue},`),
    file.lines[4],
  );
  const trend = await save('trend');
  const {
    total: {series},
  } = await program.ask(
    `/analytics/revenue?from=${branches[0].date}&to=${branches[0].date}&granularity=hour`,
  );
  assert.match(trend.lines[0], /^hour,branch-1,branch-2,branch-3,total,before$/);
  assert.equal(trend.lines.length, series.length + 1);
  assert.equal(trend.lines[1].split(',')[0], series[0].bucket);
  assert.equal(trend.lines[1].split(',')[4], series[0].revenue);
});
