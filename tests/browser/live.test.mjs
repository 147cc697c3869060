// A build that runs is followed without loading its page again.

import assert from "node:assert/strict";
import test from "node:test";

import { LIMIT, useBrowser } from "./lib/browser.mjs";
import { PAGES } from "./lib/site.mjs";

const { open } = useBrowser();

test("the log of a running build grows by itself", LIMIT, async (t) => {
  const { page, faults } = await open(t);
  const loads = [];
  page.on("load", () => loads.push(page.url()));
  await page.goto(PAGES["build-running"].path);
  const first = await lastLine(page, "");
  const second = await lastLine(page, first);
  assert.notEqual(first, second);
  assert.equal(loads.length, 1, "the page was loaded again");
  assert.deepEqual(faults, []);
});

/** The last whole line of the log as it is shown, once it is another than `seen`. */
async function lastLine(page, seen) {
  const handle = await page.waitForFunction((before) => {
    // Lines of the scripted engine: a number and a mark of it.
    const lines = document.querySelector("[role=log]")?.innerText.match(/\d{8} [0-9a-f]{16}/g) ?? [];
    const last = lines.at(-1);
    return last && last !== before ? last : null;
  }, seen);
  return handle.jsonValue();
}
