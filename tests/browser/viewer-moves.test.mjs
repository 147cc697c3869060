// What the reader looks at stays where it is, whatever changes around it.

import assert from "node:assert/strict";
import test from "node:test";

import { LIMIT, useBrowser } from "./lib/browser.mjs";
import { site } from "./lib/site.mjs";
import { EYES, LONG, dragTo, frame, head, openLog, seen, sees, wheel } from "./lib/viewer.mjs";

const { open: openPage } = useBrowser();
const open = (t, options = {}) => openPage(t, { scripts: [EYES], ...options });

const isWhole = (lines) => lines.every(({ text }) => text !== "");
const numberOf = (line) => Number(line.key.split(":")[1]);

test("a window of another size shows the same lines", LIMIT, async (t) => {
  const { page, faults } = await open(t);
  await openLog(page, "long", `#s${LONG.step}:L3000`);
  const before = await sees(page, (lines) => isWhole(lines) && lines.some(({ target }) => target), "line 3,000");
  for (const size of [{ width: 360, height: 500 }, { width: 1400, height: 900 }, { width: 900, height: 1200 }]) {
    await page.setViewportSize(size);
    await frame(page);
    const now = await sees(page, isWhole, "lines");
    assert.equal(now[0].key, before[0].key, `at ${size.width}×${size.height}`);
  }
  await dragTo(page, 1);
  await head(page, 7).waitFor();
  await page.setViewportSize({ width: 700, height: 600 });
  await sees(page, (lines) => lines.some(({ text }) => text.startsWith("01000000 ")), "the end still");
  assert.deepEqual(faults, []);
});

test("a step that is closed from its head on top takes the place of its lines", LIMIT, async (t) => {
  const { page, faults } = await open(t);
  await openLog(page, "long", `#s${LONG.step}:L700000`);
  await sees(page, (lines) => isWhole(lines) && lines.some(({ target }) => target), "line 700,000");
  const onTop = page.locator(`.log-sticky button.step[data-step="${LONG.step}"]`);
  await onTop.click();
  await onTop.waitFor({ state: "detached" });
  assert.equal(await head(page, LONG.step).getAttribute("aria-expanded"), "false");
  assert.equal(await head(page, LONG.step).evaluate((button) => button === document.activeElement), true, "the focus is lost");
  await head(page, LONG.step).click();
  await sees(page, (lines) => isWhole(lines) && lines[0].key === `${LONG.step}:1`, "its first line");
  assert.deepEqual(faults, []);
});

test("lines that a step above gets move nothing in sight", LIMIT, async (t) => {
  const { page, faults } = await open(t);
  let more = 0;
  await page.route(/\/log\/outline(\?groups=1)?$/, async (route) => {
    const answer = await route.fetch();
    const outline = await answer.json();
    outline.steps.find(({ step }) => step === 2).lines += more;
    outline.lines += more;
    outline.end += more;
    outline.state = "complete";
    await route.fulfill({ json: outline });
  });
  await openLog(page, "failed");
  await page.getByRole("button", { name: "Open all", exact: true }).click();
  await page.evaluate(() => { location.hash = "#s6:L30"; });
  const before = await sees(page, (lines) => isWhole(lines) && lines.some(({ target }) => target), "line 30");
  assert.ok(before[0].key.startsWith("6:"), before[0].key);
  more = 30;
  await page.evaluate(() => document.dispatchEvent(new Event("visibilitychange")));
  await page.getByText("109 lines", { exact: true }).waitFor();
  await frame(page);
  assert.equal((await seen(page))[0].key, before[0].key);
  assert.deepEqual(faults, []);
});

test("the scrollbar does not jump while the wheel turns, nor after it rests", LIMIT, async (t) => {
  const { page, faults } = await open(t);
  await openLog(page, "long", `#s${LONG.step}:L500000`);
  let before = await sees(page, (lines) => isWhole(lines) && lines.some(({ target }) => target), "line 500,000");
  for (let turn = 0; turn < 20; turn += 1) {
    await wheel(page, 100);
    const now = await sees(page, (lines) => isWhole(lines) && lines[0].key !== before[0].key, "further lines");
    const lines = numberOf(now[0]) - numberOf(before[0]);
    assert.ok(lines >= 1 && lines <= 12, `${lines} lines for 100 pixels`);
    before = now;
  }
  // The scrollbar settles, the lines stay.
  const top = await page.getByRole("log").evaluate((box) => box.scrollTop);
  await page.waitForFunction((was) => document.querySelector("[role=log]").scrollTop !== was, top);
  await frame(page);
  assert.equal((await seen(page))[0].key, before[0].key);
  assert.deepEqual(faults, []);
});

test("no line is ever shown under the number of another", LIMIT, async (t) => {
  const { page, faults } = await open(t);
  await openLog(page, "long", `#s${LONG.step}:L1`);
  for (const share of [0.1, 0.9, 0.3, 0.30001, 0.7, 0.2, 0.999, 0.001]) {
    await dragTo(page, share);
    await frame(page);
    const lines = await sees(page, (shown) => isWhole(shown) && shown.length > 5, "lines");
    for (const line of lines.filter(({ key }) => key.startsWith(`${LONG.step}:`))) assert.equal(Number(line.text.slice(0, 8)), numberOf(line));
  }
  assert.deepEqual(faults, []);
});

test("of two logs on a page only one gets the keys", LIMIT, async (t) => {
  const twice = `document.addEventListener("readystatechange", () => {
    const section = document.querySelector("main section");
    if (document.readyState !== "interactive" || !section) return;
    const other = section.cloneNode(true);
    const job = section.querySelector("[data-log]").dataset.job;
    for (const part of [other, ...other.querySelectorAll("*")]) {
      if (part.id) part.id = part.id.replace(job, "other");
      if (part.dataset.job) part.dataset.job = "other";
      if (part.dataset.stepsOf) part.dataset.stepsOf = "other";
    }
    section.after(other);
  });`;
  const { page } = await open(t, { scripts: [twice] });
  await page.goto(`/builds/${site.builds.succeeded}`);
  const logs = page.getByRole("log");
  await logs.nth(1).locator("[data-row]").first().waitFor();
  const views = () => logs.evaluateAll((all) => all.map((log) => log.dataset.view));
  await page.keyboard.press("s");
  assert.deepEqual(await views(), ["lines", "steps"]);
  await logs.nth(1).focus();
  await page.keyboard.press("s");
  assert.deepEqual(await views(), ["lines", "lines"]);
  await page.keyboard.press("/");
  assert.equal(await page.getByRole("search").last().getByRole("searchbox").evaluate((input) => input === document.activeElement), true);
});
