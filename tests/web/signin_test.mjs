// Getting in and out of the owner's page.

import assert from 'node:assert/strict';
import {after, before, test} from 'node:test';
import {
  launch,
  newPage,
  nothingWrong,
  settled,
  signIn,
  text,
} from './support/browser.mjs';
import {eventually, Program} from './support/program.mjs';

let program;
let browser;

before(async () => {
  [program, browser] = await Promise.all([Program.up(), launch()]);
});

after(async () => {
  await browser?.close();
  await program?.down();
});

const door = (page) => page.waitForSelector('body[data-view=door] #key');

test('the door asks for a key, and only the owner’s opens it', async () => {
  const page = await newPage(browser, program);
  await page.goto(program.http);
  await door(page);
  await nothingWrong(page);
  await page.fill('#key', 'tsk_owner_nobody');
  await page.keyboard.press('Enter');
  await page.waitForSelector('#wrong:text("not known, or was revoked")');
  await page.fill('#key', program.keys.tills['branch-1']);
  await page.keyboard.press('Enter');
  await page.waitForSelector('#wrong:text("may not see the page")');
  await page.fill('#key', program.keys.owner);
  await page.keyboard.press('Enter');
  await settled(page);
  const [cookie] = await page.context().cookies();
  assert.equal(cookie.name, 'tillstream_session');
  assert.equal(cookie.httpOnly, true);
  assert.equal(cookie.sameSite, 'Strict');
  assert.ok(cookie.expires > Date.now() / 1000 + 13 * 86400);
  assert.equal(await page.evaluate(() => document.cookie), '');
  // The key itself is kept nowhere.
  assert.equal(
    await page.evaluate(() =>
      JSON.stringify([{...localStorage}, {...sessionStorage}]).includes('tsk_'),
    ),
    false,
  );
  await page.reload();
  await settled(page);
  await page.context().close();
});

test('signing out ends the session, not just the cookie', async () => {
  const page = await newPage(browser, program);
  await signIn(page, program);
  const [{value}] = await page.context().cookies();
  await page.click('#sign-out');
  await page.waitForSelector('#wrong:text("You are signed out")');
  assert.deepEqual(await page.context().cookies(), []);
  const answer = await fetch(`${program.http}/analytics/summary`, {
    headers: {cookie: `tillstream_session=${value}`},
  });
  assert.equal(answer.status, 401);
  await page.goBack();
  await page.goto(program.http);
  await door(page);
  await nothingWrong(page);
  await page.context().close();
});

test('the link that up prints signs in once', async () => {
  assert.ok(program.link, program.output);
  const page = await newPage(browser, program);
  await page.goto(program.link);
  await settled(page);
  assert.equal(page.url(), `${program.http}/`);
  await nothingWrong(page);
  const second = await newPage(browser, program);
  await second.goto(program.link);
  await second.waitForSelector('#wrong:text("used already")');
  const made = (await program.run('key', 'link')).trim();
  await second.goto('about:blank');
  await second.goto(made);
  await settled(second);
  await page.context().close();
  await second.context().close();
});

test('a revoked key closes the open page within five seconds', async () => {
  const key = (
    await program.run('key', 'create', '--role', 'owner', '--label', 'lent')
  ).trim();
  // A node reads new keys every two seconds.
  await eventually(
    () =>
      program.ask('/branches', key).then(
        () => true,
        () => false,
      ),
    'the new key is known',
  );
  const page = await newPage(browser, program);
  await page.goto(program.http);
  await page.fill('#key', key);
  await page.click('text=Sign in');
  await settled(page);
  const id = (await program.run('key', 'list'))
    .split('\n')
    .find((x) => x.includes('lent'))
    .split(' ')[0];
  await program.run('key', 'revoke', id);
  const revoked = Date.now();
  await page.waitForSelector('body[data-view=door] #wrong:text("signed out")', {
    timeout: 20000,
  });
  assert.ok(Date.now() - revoked < 5000, `${Date.now() - revoked} ms`);
  await page.context().close();
});

test('every node takes the session, and its end', async () => {
  const other = await program.join('--roles', 'intake');
  const key = program.keys.owner;
  const signedIn = await fetch(`${program.http}/session`, {
    method: 'POST',
    headers: {'content-type': 'application/json'},
    body: JSON.stringify({key}),
  });
  const cookie = signedIn.headers.get('set-cookie').split(';')[0];
  const ask = (method, http, target) =>
    fetch(http + target, {method, headers: {cookie}});
  assert.equal((await ask('GET', other.http, '/branches')).status, 200);
  assert.equal((await ask('DELETE', program.http, '/session')).status, 204);
  assert.equal((await ask('GET', program.http, '/branches')).status, 401);
  const ended = Date.now();
  await eventually(
    async () => (await ask('GET', other.http, '/branches')).status === 401,
    'the other node knows',
  );
  assert.ok(Date.now() - ended < 5000);
  await other.stop();
});

test('wrong keys again and again have to wait', async () => {
  const page = await newPage(browser, program);
  await page.goto(program.http);
  await door(page);
  await eventually(async () => {
    await page.fill('#key', 'tsk_owner_guess');
    await page.click('text=Sign in');
    await page.waitForFunction(() => document.getElementById('wrong').textContent);
    return (await text(page, '#wrong')).includes('Too many wrong keys');
  }, 'the door slows down');
  await page.context().close();
});
