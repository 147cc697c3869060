// What is read aloud of a build that runs: steps that fail, and its end, each once.

import assert from "node:assert/strict";
import test from "node:test";

import { AXE, findings } from "./lib/axe.mjs";
import { LIMIT, useBrowser } from "./lib/browser.mjs";
import { PAGES } from "./lib/site.mjs";

const { open } = useBrowser();

const RUNNING = PAGES["build-running"].path;
const [GOES_ON, ENDED] = ['<p role="status">', '<p role="status" data-ended>'];
const RUNS = /(<tr data-step="7"[^>]*) data-tone="busy"/;

/** All that the place of the news says, from now on. */
function listen(page) {
  return page.evaluate(() => {
    window.said = [];
    const place = document.querySelector("main > .unseen[role=status]");
    window.place = place;
    new MutationObserver(() => window.said.push(place.textContent)).observe(place, { childList: true, characterData: true, subtree: true });
    return place.textContent;
  });
}

/** What the page is told from now on is changed. */
async function changing(page, change) {
  await page.route((url) => url.pathname === RUNNING, async (route) => {
    const answer = await route.fetch();
    await route.fulfill({ response: answer, body: change.of(await answer.text()) });
  });
}

async function refreshed(page) {
  await page.evaluate(() => new Promise((done) => {
    document.addEventListener("slipway:refreshed", done, { once: true });
    document.dispatchEvent(new Event("slipway:changed"));
  }));
}

test("a step that fails and the build's end are told once each", LIMIT, async (t) => {
  const { page, faults } = await open(t, { scripts: [AXE] });
  const change = { of: (html) => html };
  await page.goto(RUNNING);
  await page.locator('tr[data-step="7"][data-tone="busy"]').waitFor({ state: "attached" });
  assert.equal(await listen(page), "");
  await changing(page, change);
  await refreshed(page);
  assert.deepEqual(await page.evaluate(() => window.said), []);
  change.of = (html) => {
    assert.match(html, RUNS);
    return html.replace(RUNS, '$1 data-tone="bad"');
  };
  await refreshed(page);
  await refreshed(page);
  const said = await page.evaluate(() => window.said);
  assert.equal(said.length, 1, said.join("\n"));
  assert.match(said[0], /^Step 7 has failed: .*RUN make dredge\.$/);
  const failing = change.of;
  change.of = (html) => failing(html).replace(GOES_ON, ENDED).replace('class="state busy">Running', 'class="state bad">Failed');
  await refreshed(page);
  assert.deepEqual((await page.evaluate(() => window.said)).slice(1), ["The build has ended: Failed."]);
  // A page of what is over is asked for no more.
  await page.evaluate(() => document.dispatchEvent(new Event("slipway:refreshed")));
  assert.equal((await page.evaluate(() => window.said)).length, 2);
  assert.equal(await page.evaluate(() => window.place.isConnected && !window.place.closest("[data-live]")), true);
  assert.deepEqual((await findings(page, "telling")).filter((found) => /unseen/.test(found)), []);
  assert.deepEqual(faults, []);
});

test("both at once are told together, and what is over tells nothing", LIMIT, async (t) => {
  const { page, faults } = await open(t);
  await page.goto(RUNNING);
  await page.locator('tr[data-step="7"][data-tone="busy"]').waitFor({ state: "attached" });
  await listen(page);
  await changing(page, { of: (html) => html.replace(RUNS, '$1 data-tone="bad"').replace(GOES_ON, ENDED) });
  await refreshed(page);
  const said = await page.evaluate(() => window.said);
  assert.equal(said.length, 1);
  assert.match(said[0], /^Step 7 has failed: .*\. The build has ended: Running\.$/);
  await page.goto(PAGES["build-failed"].path);
  assert.equal(await page.locator(".unseen[role=status]").count(), 0);
  assert.deepEqual(faults, []);
});
