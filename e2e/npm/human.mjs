// A person at a browser: headless Chromium opens the URL, signs in, consents, and lands on the page of whoever asked.
//
// One line of JSON per visit is appended to visits.jsonl in --dir: where the browser ended (origin and path, never the
// query, which carries the code), with which status and text. A visit that fails leaves a screenshot beside it.
import { appendFileSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';

import { chromium } from 'playwright-core';

const { values: args, positionals: [url] } = parseArgs({
  allowPositionals: true,
  options: {
    dir: { type: 'string' },
    chromium: { type: 'string', default: '/usr/bin/chromium' },
    user: { type: 'string', default: 'ada' },
    password: { type: 'string', default: 'correct horse' },
  },
});

const patience = 20_000; // ms for any one step

const profile = mkdtempSync(path.join(tmpdir(), 'browser-'));
const visit = { opened: where(url) };
try {
  Object.assign(visit, await signIn());
} catch (err) {
  visit.error = String(err.message).split('\n')[0];
  process.exitCode = 1;
} finally {
  rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
  appendFileSync(path.join(args.dir, 'visits.jsonl'), `${JSON.stringify(visit)}\n`);
}

async function signIn() {
  const context = await chromium.launchPersistentContext(profile, {
    executablePath: args.chromium,
    args: ['--no-sandbox', '--disable-background-networking', '--disable-dev-shm-usage', '--password-store=basic'],
  });
  const page = context.pages()[0] ?? await context.newPage();
  page.setDefaultTimeout(patience);
  try {
    return await walk(page);
  } catch (err) {
    await page.screenshot({ path: path.join(args.dir, `failed-${Date.now()}.png`) }).catch(() => {});
    throw err;
  } finally {
    await context.close();
  }
}

// walk fills in forms for as long as the identity provider shows any.
async function walk(page) {
  let response = await page.goto(url);
  const idp = new URL(url).origin;
  for (let forms = 0; new URL(page.url()).origin === idp; forms += 1) {
    if (forms === 4 || response.status() >= 400) throw new Error(`stuck at ${where(page.url())}: ${await text(page)}`);
    if (await page.locator('input[name=user]').count()) {
      await page.fill('input[name=user]', args.user);
      await page.fill('input[name=password]', args.password);
    }
    [response] = await Promise.all([page.waitForNavigation(), page.click('button[value=allow]')]);
  }
  const headers = await response.allHeaders();
  return {
    landed: where(page.url()), status: response.status(), title: await page.title(), text: await text(page),
    csp: headers['content-security-policy'] ?? '', scripts: await page.locator('script').count(),
  };
}

function where(address) {
  const { origin, pathname } = new URL(address);
  return origin + pathname;
}

async function text(page) {
  return (await page.locator('body').innerText()).replace(/\s+/g, ' ').slice(0, 500);
}
