// A real Chromium, and a page that notes whatever goes wrong in it.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import {createRequire} from 'node:module';
import os from 'node:os';
import path from 'node:path';
import {chromium} from 'playwright-core';

export const SHOTS =
  process.env.TILLSTREAM_SHOTS ?? path.join(os.tmpdir(), 'tillstream-shots');

const CHROMIUM = process.env.CHROMIUM ?? '/usr/bin/chromium';

export const launch = () =>
  chromium.launch({
    executablePath: CHROMIUM,
    // As root there is no sandbox to be had; and nothing here speaks to the world.
    args: [
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
  });

/// Opens a page of its own browser profile. `page.wrong` collects console
/// errors, exceptions, policy violations, and requests to anywhere else.
export async function newPage(browser, program, options = {}) {
  const context = await browser.newContext({
    viewport: {width: 1280, height: 900},
    locale: 'en-US',
    acceptDownloads: true,
    ...options,
  });
  return watch(await context.newPage(), program);
}

export async function watch(page, program) {
  page.wrong = [];
  page.on(
    'console',
    (x) =>
      ['error', 'warning'].includes(x.type()) &&
      page.wrong.push(`console: ${x.text()}`),
  );
  page.on('pageerror', (x) => page.wrong.push(`exception: ${x.stack}`));
  page.on('dialog', (x) => {
    page.wrong.push(`dialog: ${x.message()}`);
    x.dismiss();
  });
  page.on('request', (x) => {
    const url = x.url();
    if (
      !url.startsWith(program.http) &&
      !url.startsWith('blob:') &&
      !url.startsWith('data:')
    )
      page.wrong.push(`request elsewhere: ${url}`);
  });
  await page.addInitScript(() => {
    window.violations = [];
    document.addEventListener('securitypolicyviolation', (x) =>
      window.violations.push(`${x.violatedDirective} ${x.blockedURI}`),
    );
  });
  return page;
}

export async function signIn(page, program, query = '') {
  await page.goto(`${program.http}/${query}`);
  await page.fill('#key', program.keys.owner);
  await page.click('text=Sign in');
  await settled(page);
}

/// Waits until everything that was asked for is drawn.
export async function settled(page) {
  await page.waitForSelector('body[data-view=page]');
  await page.waitForSelector('#panels[aria-busy=false]', {state: 'attached'});
}

export async function nothingWrong(page) {
  assert.deepEqual(page.wrong, []);
  assert.deepEqual(await page.evaluate(() => window.violations), []);
}

/// Nobody has to scroll sideways; says what sticks out.
export async function notTooWide(page) {
  assert.deepEqual(
    await page.evaluate(() =>
      document.documentElement.scrollWidth <= innerWidth
        ? []
        : [...document.querySelectorAll('#page *')]
            .filter((x) => x.getBoundingClientRect().right > innerWidth + 1)
            .map(
              (x) =>
                `${x.tagName} ${x.className} #${x.id}: ${x.getBoundingClientRect().right}`,
            ),
    ),
    [],
  );
}

/// Takes a picture of a state, for people to look at.
export async function shot(page, name, options = {}) {
  fs.mkdirSync(SHOTS, {recursive: true});
  await page.mouse.move(0, 0);
  await page.evaluate(() =>
    Promise.all(document.getAnimations().map((x) => x.finished.catch(() => {}))),
  );
  await page.screenshot({path: path.join(SHOTS, `${name}.png`), ...options});
}

const axeSource = fs.readFileSync(
  createRequire(import.meta.url).resolve('axe-core/axe.min.js'),
  'utf8',
);

/// No finding that axe calls serious or critical.
export async function accessible(page, where) {
  await page.evaluate(axeSource);
  const found = await page.evaluate(async () =>
    (
      await axe.run(document, {
        runOnly: [
          'wcag2a',
          'wcag2aa',
          'wcag21a',
          'wcag21aa',
          'wcag22aa',
          'best-practice',
        ],
      })
    ).violations
      .filter((x) => ['serious', 'critical'].includes(x.impact))
      .map(
        (x) =>
          `${x.id}: ${x.nodes
            .slice(0, 5)
            .map(
              (n) =>
                `${n.html.slice(0, 160)} | ${n.failureSummary.split('\n')[1] ?? ''}`,
            )
            .join('\n    ')}`,
      ),
  );
  assert.deepEqual(found, [], where);
}

export const text = (page, selector) => page.locator(selector).first().innerText();
