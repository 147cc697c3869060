// What a browser loads of scripts and styles for a page with a log: all of it at once, and little.

import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import test from "node:test";

import { LIMIT, useBrowser } from "./lib/browser.mjs";
import { openLog } from "./lib/viewer.mjs";

const MODULES = readdirSync(new URL("../../api/web/js/", import.meta.url)).sort();
const MOST_BYTES = 60_000;

const { open } = useBrowser();

const nameOf = (answer) => new URL(answer.url()).pathname.split("/").at(-1);

test("scripts and styles come packed and are small", LIMIT, async (t) => {
  const { page, faults } = await open(t);
  const answers = [];
  page.on("response", (answer) => { if (/\/assets\/.*\.(js|css)$/.test(answer.url())) answers.push(answer); });
  await openLog(page, "failed");
  assert.deepEqual(answers.map(nameOf).sort(), [...MODULES, "slipway.css"].sort(), "each is asked for once");
  let bytes = 0;
  for (const answer of answers) {
    const { "content-encoding": coding, vary, "cache-control": kept } = await answer.allHeaders();
    assert.deepEqual([coding, vary], ["gzip", "accept-encoding"], nameOf(answer));
    assert.match(kept, /immutable/);
    bytes += (await answer.request().sizes()).responseBodySize;
  }
  t.diagnostic(`${answers.length} files, ${(bytes / 1000).toFixed(1)} KB received`);
  assert.ok(bytes > 0 && bytes < MOST_BYTES, `${bytes} bytes`);
  assert.deepEqual(faults, []);
});

test("all modules are asked for before the first one has come", LIMIT, async (t) => {
  const { page, faults } = await open(t);
  const asked = new Set();
  let haveAll = () => {};
  const all = new Promise((resolve) => { haveAll = resolve; });
  page.on("request", (request) => {
    if (/\/assets\/.*\.js$/.test(request.url())) asked.add(nameOf(request));
    if (asked.size === MODULES.length) haveAll();
  });
  await page.route(/\/js\/[^/]+\.js$/, async (route) => {
    await all;
    await route.continue();
  });
  await openLog(page, "failed");
  assert.deepEqual([...asked].sort(), MODULES);
  assert.deepEqual(faults, []);
});
