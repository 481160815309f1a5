// The real program, as in tests/system: `tillstream up` on a directory of its
// own, spoken to over HTTP.

import {execFile, spawn} from 'node:child_process';
import {randomUUID} from 'node:crypto';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import {promisify} from 'node:util';

const PROGRAM =
  process.env.TILLSTREAM_PROGRAM ??
  path.resolve(
    import.meta.dirname ?? path.dirname(new URL(import.meta.url).pathname),
    '../../../build/release/tillstream',
  );

/// Where the month of real sales lies, if it does.
export const MONTH =
  process.env.TILLSTREAM_TEST_DATA ??
  path.resolve(
    path.dirname(new URL(import.meta.url).pathname),
    '../../../../shared/data',
  );

export const haveMonth = () =>
  fs.existsSync(path.join(MONTH, 'coffee_chain_2019-04.csv'));

/// Waits until `holds` gives something, for as long as `patience`.
export async function eventually(holds, what, patience = 30000) {
  const end = Date.now() + patience;
  for (;;) {
    const result = await holds();
    if (result) return result;
    if (Date.now() > end) throw new Error(`it did not happen: ${what}`);
    await new Promise((done) => setTimeout(done, 50));
  }
}

export class Program {
  /// @param chain What a chain file says; absent: the default one.
  static async up(chain) {
    const x = new Program();
    x.root = fs.mkdtempSync(path.join(os.tmpdir(), 'tillstream-page-'));
    // The servers run under an account of their own.
    fs.chmodSync(x.root, 0o755);
    x.dir = path.join(x.root, 'data');
    if (chain) {
      x.chainFile = path.join(x.root, 'chain.json');
      fs.writeFileSync(x.chainFile, JSON.stringify(chain));
    }
    await x.start();
    return x;
  }

  /// Starts a second node on the servers of this one.
  async join(...more) {
    const x = new Program();
    x.dir = this.dir;
    await x.launch(
      ['serve', '--data-dir', this.dir, '--port', '0', ...more],
      'Tillstream is ready',
    );
    x.http = /ready: (\S+)/.exec(x.output)[1];
    return x;
  }

  async start(port = 0) {
    const words = ['up', '--data-dir', this.dir, '--port', String(port)];
    if (this.chainFile) words.push('--chain', this.chainFile);
    await this.launch(words, 'Ctrl-C stops everything');
    const where = JSON.parse(
      fs.readFileSync(path.join(this.dir, 'endpoints.json')),
    );
    this.http = where.http;
    this.keys = where.keys;
    this.link = /http\S+#link=\S+/.exec(this.output)?.[0];
  }

  async launch(words, mark) {
    this.output = '';
    this.process = spawn(PROGRAM, words, {stdio: ['ignore', 'pipe', 'pipe']});
    for (const stream of [this.process.stdout, this.process.stderr])
      stream.on('data', (bytes) => {
        this.output += bytes;
      });
    await eventually(
      () => {
        if (this.process.exitCode !== null)
          throw new Error(`the program ended:\n${this.output}`);
        return this.output.includes(mark);
      },
      'the program is ready',
      60000,
    );
  }

  async stop() {
    if (this.process.exitCode !== null) return;
    this.process.kill('SIGTERM');
    await eventually(
      () => this.process.exitCode !== null || this.process.signalCode !== null,
      'the program ends',
    );
  }

  async down() {
    await this.stop();
    fs.rmSync(this.root, {recursive: true, force: true});
  }

  /// Signals a server that `up` started, by the name of its program.
  signal(server, name) {
    const children = fs.readFileSync(
      `/proc/${this.process.pid}/task/${this.process.pid}/children`,
      'utf8',
    );
    const pids = children
      .split(' ')
      .filter(
        (pid) =>
          pid && fs.readFileSync(`/proc/${pid}/comm`, 'utf8').trim() === server,
      );
    if (pids.length !== 1) throw new Error(`${pids.length} of ${server}`);
    process.kill(Number(pids[0]), name);
  }

  /// Runs another command on the same directory. @returns its output.
  async run(...words) {
    const {stdout} = await promisify(execFile)(
      PROGRAM,
      [...words, '--data-dir', this.dir],
      {timeout: 300000, maxBuffer: 1 << 26},
    );
    return stdout;
  }

  async ask(target, key = this.keys.owner) {
    const answer = await fetch(this.http + target, {
      headers: {authorization: `Bearer ${key}`},
    });
    if (!answer.ok)
      throw new Error(`${target}: ${answer.status} ${await answer.text()}`);
    return answer.json();
  }

  /// Records a sale, and waits until it is counted.
  async sell(sale) {
    const body = await this.record(sale);
    await this.ask(`/analytics/summary?after=${body.event_id}`);
    return body;
  }

  async record({
    branch = 'branch-1',
    items = [['espresso', 'Espresso', '2.50']],
    ...more
  } = {}) {
    const answer = await fetch(`${this.http}/purchases`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${this.keys.tills[branch]}`,
        'content-type': 'application/json',
      },
      body: JSON.stringify({
        branch_id: branch,
        cashier_id: 'anna',
        pos_id: 'pos-1',
        receipt_id: randomUUID(),
        idempotency_key: randomUUID(),
        items: items.map(([product_id, name, unit_price]) => ({
          product_id,
          name,
          unit_price,
          qty: 1,
        })),
        ...more,
      }),
    });
    const body = await answer.json();
    if (answer.status !== 201) throw new Error(JSON.stringify(body));
    return body;
  }
}

/// A chain with two weeks behind it: enough for every panel.
export async function sellTwoWeeks(program) {
  const products = [
    ['latte', 'Latte', '4.50'],
    ['espresso', 'Espresso', '2.50'],
    ['croissant', 'Butter Croissant', '3.50'],
    ['tea', 'Green Tea', '2.95'],
  ];
  const guests = Array.from({length: 6}, () => randomUUID());
  const now = Date.now();
  const sales = [];
  for (let day = 15; day >= 0; --day)
    for (let i = 0; i < 6; ++i) {
      const at = now - day * 86400000 - (i + 1) * 1800000;
      sales.push({
        branch: `branch-${1 + ((i + day) % 3)}`,
        occurred_at: new Date(at).toISOString(),
        user_id: guests[(i * day) % 6],
        new_customer: true,
        items: products.slice(0, 1 + ((i * 7 + day) % 4)),
      });
    }
  for (const sale of sales) await program.sell(sale);
  // However shortly after midnight it is, today has sales, too.
  for (const n of [1, 2, 3])
    await program.sell({branch: `branch-${n}`, items: products.slice(0, n)});
}
