// Names that mean harm, or are merely long, are text; and a shop without sales
// knows what to say.

import assert from 'node:assert/strict';
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
import {eventually, Program} from './support/program.mjs';

const SCRIPT = '<script>alert(1)</script><img src=x onerror=alert(2)>';
const TURNED = '\u202Eevil \u05E9\u05DC\u05D5\u05DD\u202C';
const LONG = `${'Very long name '.repeat(13)}end`;

/// The days of now, whatever its hour: where one branch has today, another may
/// still have yesterday.
const day = (n) => new Date(Date.now() + n * 86400000).toISOString().slice(0, 10);
const NOW = `?period=custom&from=${day(-1)}&to=${day(1)}`;

let program;
let browser;

before(async () => {
  [program, browser] = await Promise.all([
    Program.up({
      name: `<b>Chain</b> ${LONG}`.slice(0, 200),
      currency: 'JPY',
      branches: [
        {id: 'branch-1', name: SCRIPT, time_zone: 'Asia/Tokyo', day_start: '04:00'},
        {
          id: 'branch-2',
          name: TURNED,
          time_zone: 'America/New_York',
          day_start: '00:00',
        },
        {
          id: 'branch-3',
          name: LONG.slice(0, 200),
          time_zone: 'UTC',
          day_start: '00:00',
        },
      ],
    }),
    launch(),
  ]);
});

after(async () => {
  await browser?.close();
  await program?.down();
});

test('an empty shop shows how to record the first sale, and begins to count by itself', async () => {
  const page = await newPage(browser, program);
  await signIn(page, program);
  await page.waitForSelector('#empty:not([hidden])');
  assert.match(
    await text(page, '#empty pre'),
    new RegExp(`curl ${program.http}/purchases`),
  );
  await shot(page, 'empty');
  await accessible(page, 'an empty shop');
  await program.sell({items: [['x', '=1+1', '500']]});
  await page.waitForSelector('#empty', {state: 'hidden'});
  await eventually(
    async () => (await text(page, '.kpi-value')) === '¥500',
    'the first sale counts',
  );
  await nothingWrong(page);
  await page.context().close();
});

test('hostile names are shown as text and break nothing', async () => {
  for (const [i, name] of [
    SCRIPT,
    TURNED,
    LONG.slice(0, 200),
    '🥐'.repeat(60),
    '"quoted", and \'more\'',
  ].entries())
    await program.sell({
      branch: `branch-${1 + (i % 3)}`,
      items: [[`p-${i}`, name, String(900 - i)]],
    });
  for (const viewport of [
    {width: 1280, height: 900},
    {width: 390, height: 844},
  ]) {
    const page = await newPage(browser, program, {viewport});
    await signIn(page, program, '?period=28d');
    await page.goto(`${program.http}/${NOW}`);
    await settled(page);
    const names = await page.locator('.products .name').allTextContents();
    assert.ok(
      names.includes(SCRIPT) && names.includes(TURNED) && names.includes('=1+1'),
      names.join('\n'),
    );
    assert.ok(
      (await page.locator('.branches tbody .name').allTextContents()).includes(
        SCRIPT,
      ),
    );
    assert.equal(
      await page.evaluate(
        () => document.querySelectorAll('#panels script, #panels img').length,
      ),
      0,
    );
    await notTooWide(page);
    await page.locator('.branches tbody tr').first().click();
    await page.locator('.products tbody tr').first().click();
    await settled(page);
    await notTooWide(page);
    await shot(page, `hostile-${viewport.width}`);
    await nothingWrong(page);
    await page.context().close();
  }
});

test('a name that looks like a formula is disarmed in a CSV', async () => {
  const page = await newPage(browser, program);
  await signIn(page, program, NOW);
  const [file] = await Promise.all([
    page.waitForEvent('download'),
    page.click('#products >> text=CSV'),
  ]);
  const lines = await (await file.createReadStream()).toArray();
  const csv = Buffer.concat(lines).toString();
  assert.ok(csv.includes(`,'=1+1,`), csv);
  assert.ok(csv.includes(`"""quoted"", and 'more'"`), csv);
  await page.context().close();
});

test('each branch’s zone and business day are stated', async () => {
  const page = await newPage(browser, program);
  await signIn(page, program);
  const foot = await text(page, '#foot');
  for (const part of [
    'Asia/Tokyo, business day from 04:00',
    'America/New_York, business day from 00:00',
    'JPY',
  ])
    assert.ok(foot.includes(part), foot);
  assert.ok(
    (await page.locator('.branches .zone').allTextContents()).includes(
      'Asia/Tokyo',
    ),
  );
  await page.context().close();
});
