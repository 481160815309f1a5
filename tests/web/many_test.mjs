// A chain of thousands of branches: the page opens, shows those that sell most,
// the others together, and finds any by its name.

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
import {Program} from './support/program.mjs';

const BRANCHES = 3000;

let program;
let browser;
let page;

before(async () => {
  [program, browser] = await Promise.all([
    Program.up({
      name: 'Everywhere',
      currency: 'USD',
      branches: Array.from({length: BRANCHES}, (_, i) => ({
        id: `branch-${i + 1}`,
        name: `Shop ${i + 1} ${i % 2 ? 'Harbour' : 'Market'}`,
        time_zone: 'UTC',
        day_start: '00:00',
      })),
    }),
    launch(),
  ]);
  // Twenty sell, each more than the one before; the rest has not opened.
  for (let n = 1; n <= 20; ++n)
    await program.sell({
      branch: `branch-${n * 100}`,
      items: [['latte', 'Latte', `${n}.00`]],
    });
  page = await newPage(browser, program);
  await signIn(page, program);
});

after(async () => {
  await browser?.close();
  await program?.down();
});

const names = () => page.locator('#branches tbody .name').allInnerTexts();

test('the branches that sell most, and the others together', async () => {
  const shown = await names();
  assert.equal(shown.length, 12);
  assert.equal(shown[0], 'Shop 2000 Harbour');
  const others = await page.locator('#branches .others').innerText();
  assert.match(others, /^2,988 others\s+\$36\.00/); // 1 + 2 + … + 8
  assert.match(await text(page, '#branches tfoot tr:last-child'), /\$210\.00/);
  // One line, the total: not thousands.
  assert.deepEqual(
    (await page.locator('.legend .name').allInnerTexts()).slice(0, 1),
    ['All branches'],
  );
  await page.click('#branches .more');
  assert.equal((await names()).length, 112);
  await notTooWide(page);
  await nothingWrong(page);
});

test('any branch is found by a part of its name', async () => {
  await page.fill('.find', 'shop 2999');
  assert.deepEqual(await names(), ['Shop 2999 Market']);
  await shot(page, 'many-found');
  await accessible(page, 'found');
  await page.fill('.find', 'nowhere');
  await page.waitForSelector(
    '#branches .state:has-text("No branch has such a name.")',
  );
  await page.fill('.find', 'shop 2999');
  await page.click('#branches tbody tr');
  await page.waitForSelector('.chip:has-text("Shop 2999 Market")');
  assert.match(page.url(), /branch=branch-2999/);
  await settled(page);
  await nothingWrong(page);
});

test('over several days, too, a branch is found and picked', async () => {
  await page.goto(`${program.http}/?period=7d`);
  await settled(page);
  await page.waitForSelector('#branches .state:has-text("on single days only")');
  await page.fill('.find', 'SHOP 150 h');
  assert.deepEqual(await page.locator('.found .name').allInnerTexts(), [
    'Shop 150 Harbour',
  ]);
  await shot(page, 'many-found-days');
  await accessible(page, 'found over days');
  await page.click('.found button');
  await page.waitForSelector('.chip:has-text("Shop 150 Harbour")');
  await settled(page);
  assert.match(await text(page, '#trend .legend'), /Shop 150 Harbour/);
  await nothingWrong(page);
});

test('a table for eyes ends somewhere, and the file has all', async () => {
  await page.goto(program.http);
  await settled(page);
  await page.click('#branches >> text=Table');
  await page.waitForSelector(
    '#branches .table-box :text("The first 500 of 3001 rows")',
  );
  const [file] = await Promise.all([
    page.waitForEvent('download'),
    page.click('#branches >> text=CSV'),
  ]);
  let rows = '';
  for await (const bytes of await file.createReadStream()) rows += bytes;
  assert.equal(rows.trimEnd().split('\r\n').length, 1 + BRANCHES + 1);
});
