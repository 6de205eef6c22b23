// Drives a real browser for tests in other languages: one command as JSON on each line of stdin, one answer as JSON
// on each line of stdout. An answer is {"ok": VALUE} or {"error": TEXT}.
//
//   {"do":"open","url":U,"width":W,"height":H,"scheme":"light"|"dark","motion":"reduce"?,"scripts":false?}   a page of its own
//   {"do":"eval","code":JS}              what an expression gives in the page
//   {"do":"wait","code":JS,"limit":MS}   until an expression holds
//   {"do":"press","keys":[K, …]}         keys, as somebody without a mouse
//   {"do":"shoot","path":P}              a picture of the whole page
//   {"do":"axe"}                         the findings of axe-core that are serious or critical
//   {"do":"traffic"}                     every request of the open page, its answers' texts, and what the console said
//   {"do":"offline","on":true|false}     whether the page finds anybody
//
// The first argument is the browser.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';
import { chromium } from 'playwright-core';

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const browser = await chromium.launch({
  executablePath: process.argv[2] ?? '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--disable-background-networking', '--force-color-profile=srgb'],
});

/** @type {import('playwright-core').BrowserContext | undefined} */
let context;
/** @type {import('playwright-core').Page} */
let page;
/** @type {string[]} */
let requests = [];
/** @type {Promise<string>[]} */
let bodies = [];
/** @type {string[]} */
let said = [];

/** @type {Record<string, (c: any) => Promise<unknown>>} */
const commands = {
  async open({ url, width, height, scheme, motion, scripts }) {
    await context?.close();
    [requests, bodies, said] = [[], [], []];
    context = await browser.newContext({ viewport: { width, height }, colorScheme: scheme, reducedMotion: motion ?? 'no-preference', javaScriptEnabled: scripts !== false });
    page = await context.newPage();
    page.on('request', (r) => requests.push(r.url()));
    page.on('response', (r) => bodies.push(r.text().catch(() => '')));
    page.on('console', (m) => said.push(`${m.type()}: ${m.text()}`));
    page.on('pageerror', (e) => said.push(`error: ${e.message}`));
    await page.goto(url);
  },
  eval: ({ code }) => page.evaluate(code),
  async wait({ code, limit }) {
    const end = Date.now() + limit;
    while (!(await page.evaluate(code))) {
      if (Date.now() > end) throw new Error(`it never held that ${code}; the page says: ${await page.evaluate('document.body.innerText.slice(0, 2000)')}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  },
  async press({ keys }) {
    for (const key of keys) await page.keyboard.press(key);
  },
  shoot: ({ path }) => page.screenshot({ path, fullPage: true }).then(() => undefined),
  async axe() {
    // By the browser's own means, since the page's policy lets no script in that is not the listener's.
    await page.evaluate(axe);
    const { violations } = await page.evaluate("axe.run(document, { resultTypes: ['violations'] })");
    /** @type {import('axe-core').Result[]} */
    const found = violations;
    return found
      .filter((v) => v.impact === 'serious' || v.impact === 'critical')
      .map((v) => `${v.id} (${v.impact}): ${v.nodes.map((n) => `${n.target.join(' ')}: ${n.failureSummary}`).join(' | ')}`);
  },
  async traffic() {
    return { requests, bodies: (await Promise.all(bodies)).join('\n'), console: said };
  },
  offline: ({ on }) => /** @type {import('playwright-core').BrowserContext} */ (context).setOffline(on),
};

for await (const line of createInterface({ input: process.stdin })) {
  let answer;
  try {
    const command = JSON.parse(line);
    const run = commands[command.do];
    if (!run) throw new Error(`unknown command ${command.do}`);
    answer = { ok: (await run(command)) ?? null };
  } catch (error) {
    answer = { error: error instanceof Error ? error.message : String(error) };
  }
  process.stdout.write(JSON.stringify(answer) + '\n');
}
await browser.close();
