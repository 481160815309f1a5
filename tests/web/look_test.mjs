// How the page looks, for eyes and for screen readers, and what it weighs. The
// pictures are for people: see TILLSTREAM_SHOTS.

import assert from 'node:assert/strict';
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
} from './support/browser.mjs';
import {haveMonth, MONTH, Program, sellTwoWeeks} from './support/program.mjs';
import fs from 'node:fs';

const TRANSFER_MAX = 120 * 1024;

let program;
let browser;

before(async () => {
  const chain = haveMonth()
    ? JSON.parse(fs.readFileSync(path.join(MONTH, 'coffee_chain.json')))
    : undefined;
  [program, browser] = await Promise.all([Program.up(chain), launch()]);
  if (haveMonth())
    await program.run(
      'simulate',
      '--csv',
      path.join(MONTH, 'coffee_chain_2019-04.csv'),
      '--live',
      '--for',
      '1s',
      '--tills',
      '16',
    );
  else await sellTwoWeeks(program);
});

after(async () => {
  await browser?.close();
  await program?.down();
});

const phone = {
  viewport: {width: 390, height: 844},
  deviceScaleFactor: 2,
  isMobile: true,
  hasTouch: true,
};

for (const colorScheme of ['light', 'dark'])
  for (const [size, options] of [
    ['wide', {}],
    ['phone', phone],
  ])
    test(`${colorScheme}, ${size}: readable for all, and nothing is wrong`, async () => {
      const page = await newPage(browser, program, {
        ...options,
        colorScheme,
        reducedMotion: 'reduce',
      });
      await page.goto(program.http);
      await page.waitForSelector('#key');
      await shot(page, `door-${colorScheme}-${size}`);
      await accessible(page, 'the door');
      await signIn(page, program);
      for (const [name, query] of [
        ['today', ''],
        ['weeks', '?period=28d'],
        ['branch', '?period=7d&branch=branch-1'],
      ]) {
        await page.goto(`${program.http}/${query}`);
        await settled(page);
        await notTooWide(page);
        await shot(page, `${name}-${colorScheme}-${size}`, {fullPage: true});
        await accessible(page, name);
      }
      await page.keyboard.press('?');
      await accessible(page, 'the help');
      await shot(page, `help-${colorScheme}-${size}`);
      await page.keyboard.press('Escape');
      await page.click('#trend >> text=Table');
      await page.click('#heat >> text=Table');
      await accessible(page, 'tables');
      await nothingWrong(page);
      await page.context().close();
    });

test('the choice of colours is kept, and beats the system’s', async () => {
  const page = await newPage(browser, program, {colorScheme: 'light'});
  await signIn(page, program);
  const paper = () =>
    page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const light = await paper();
  await page.keyboard.press('d');
  await page.keyboard.press('d');
  const dark = await paper();
  assert.notEqual(dark, light);
  await page.reload();
  await settled(page);
  assert.equal(await paper(), dark);
  await page.context().close();
});

test('it is light, quick and kept', async (t) => {
  const page = await newPage(browser, program);
  await signIn(page, program);
  const fresh = await newPage(browser, program);
  await fresh.context().addCookies(await page.context().cookies());
  await page.context().close();
  const client = await fresh.context().newCDPSession(fresh);
  await client.send('Network.enable');
  let bytes = 0;
  client.on('Network.loadingFinished', (x) => {
    bytes += x.encodedDataLength;
  });
  await fresh.goto(program.http);
  await settled(fresh);
  const drawn = () =>
    fresh.evaluate(
      () =>
        new Promise((done) => {
          const look = () =>
            performance.getEntriesByName('tillstream.drawn').length
              ? done(
                  Math.round(
                    performance.getEntriesByName('tillstream.drawn')[0].startTime,
                  ),
                )
              : setTimeout(look, 10);
          look();
        }),
    );
  t.diagnostic(
    `first visit: everything drawn after ${await drawn()} ms, ${(bytes / 1024).toFixed(1)} KiB over the wire`,
  );
  assert.ok(bytes > 20 * 1024 && bytes < TRANSFER_MAX, `${bytes} bytes`);
  bytes = 0;
  await fresh.reload();
  await settled(fresh);
  t.diagnostic(
    `again: everything drawn after ${await drawn()} ms, ${(bytes / 1024).toFixed(1)} KiB over the wire`,
  );
  assert.ok(
    bytes < TRANSFER_MAX / 2,
    `${bytes} bytes: files that name their content are kept`,
  );
  await nothingWrong(fresh);
  await fresh.context().close();
});
