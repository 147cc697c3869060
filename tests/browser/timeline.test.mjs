// The timeline leads to every step that it shows, those of which the log says nothing among them.

import assert from "node:assert/strict";
import test from "node:test";

import { LIMIT, useBrowser } from "./lib/browser.mjs";
import { head, openLog, steps } from "./lib/viewer.mjs";

const { open } = useBrowser();

/** The bars of the timeline: which step each leads to, and what it is called. */
const bars = (page) => page.locator("svg.timeline a").evaluateAll((links) => links.map((link) => ({
  step: Number(/^#s(\d+):L1$/.exec(link.getAttribute("href"))[1]), name: link.querySelector("title").textContent,
})));

test("a click on any step of the timeline shows its head in the log", LIMIT, async (t) => {
  const { page, faults } = await open(t);
  await openLog(page, "succeeded");
  const all = await bars(page);
  const shown = (await steps(page)).map(([step]) => step);
  const hidden = all.filter(({ step }) => !shown.includes(step));
  assert.ok(hidden.some(({ name }) => /exporting/.test(name)), `${JSON.stringify(all)}: none is hidden`);
  for (const { step } of all) {
    await page.locator(`svg.timeline a[href="#s${step}:L1"]`).click();
    await head(page, step).waitFor();
    assert.ok(await head(page, step).isVisible());
  }
  const now = (await steps(page)).map(([step]) => step);
  assert.deepEqual(now, [...now].sort((a, b) => a - b), "in their order");
  for (const { step } of hidden) assert.ok(now.includes(step), `step ${step}`);
  assert.deepEqual(faults, []);
});

test("an address of a step without lines shows its head, and one of no step nothing", LIMIT, async (t) => {
  const { page, faults } = await open(t);
  await openLog(page, "succeeded");
  const shown = (await steps(page)).map(([step]) => step);
  const { step } = (await bars(page)).find((bar) => !shown.includes(bar.step));
  await page.goto("about:blank");
  await openLog(page, "succeeded", `#s${step}:L1`);
  await head(page, step).waitFor();
  await page.goto("about:blank");
  await openLog(page, "succeeded", "#s99:L1");
  assert.deepEqual((await steps(page)).map(([it]) => it), shown);
  assert.deepEqual(faults, []);
});
