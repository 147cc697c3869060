// The log of a build as its reader finds it: what is open, how it is moved through, and what it looks like.

import assert from "node:assert/strict";
import test from "node:test";

import { AXE, findings } from "./lib/axe.mjs";
import { LIMIT, PHONE, isTooWide, useBrowser } from "./lib/browser.mjs";
import { PAGES } from "./lib/site.mjs";
import { EYES, countRows, head, openLog, seen, sees, steps } from "./lib/viewer.mjs";

const FAILING = 7;

const { open: openPage } = useBrowser();
const open = (t, options = {}) => openPage(t, { scripts: [EYES], ...options });

test("a build that failed opens its failing step and no other", LIMIT, async (t) => {
  const { page, faults } = await open(t);
  await openLog(page, "failed");
  await sees(page, (lines) => lines.some((line) => line.key === `${FAILING}:25` && line.text !== ""), "its last line");
  const opened = (await steps(page)).filter(([, isOpen]) => isOpen).map(([step]) => step);
  assert.deepEqual(opened, [FAILING]);
  assert.deepEqual(faults, []);
});

test("a build that succeeded is closed; steps open by click and by keyboard, all at once too", LIMIT, async (t) => {
  const { page, faults } = await open(t);
  await openLog(page, "succeeded");
  assert.ok((await steps(page)).every(([, isOpen]) => !isOpen), "a step is open");
  assert.equal(await page.locator("[role=log] .row").count(), 0);
  const step = Number(await page.locator("[role=log] button.step", { hasText: "120 lines" }).getAttribute("data-step"));
  await head(page, step).click();
  await sees(page, (lines) => lines[0].key === `${step}:1`, "the step's first line");
  await head(page, step).press("Enter");
  assert.equal(await head(page, step).getAttribute("aria-expanded"), "false");
  assert.equal(await page.locator("[role=log] .row").count(), 0);
  await head(page, step).press("Enter");
  assert.equal(await head(page, step).getAttribute("aria-expanded"), "true");
  assert.equal(await head(page, step).evaluate((button) => button === document.activeElement), true, "the focus is lost");
  await page.getByRole("button", { name: "Open all", exact: true }).click();
  assert.ok((await steps(page)).every(([, isOpen]) => isOpen), "a step is closed");
  await page.getByRole("button", { name: "Close all", exact: true }).click();
  assert.ok((await steps(page)).every(([, isOpen]) => !isOpen), "a step is open");
  assert.deepEqual(faults, []);
});

test("j and k go from step to step, Enter opens, ? tells the keys", LIMIT, async (t) => {
  const { page, faults } = await open(t);
  await openLog(page, "succeeded");
  const all = await steps(page);
  const focused = () => page.evaluate(() => Number(document.activeElement?.dataset.step ?? -1));
  for (const [step] of all) {
    await page.keyboard.press("j");
    assert.equal(await focused(), step);
  }
  await page.keyboard.press("k");
  assert.equal(await focused(), all.at(-2)[0]);
  await page.keyboard.press("Enter");
  assert.equal(await head(page, all.at(-2)[0]).getAttribute("aria-expanded"), "true");
  await page.keyboard.press("?");
  await page.keyboard.press("?");
  assert.equal(await page.locator("dialog").count(), 1);
  await page.keyboard.press("Escape");
  await page.locator("dialog").waitFor({ state: "detached" });
  assert.deepEqual(faults, []);
});

test("all lines in their order have their numbers, and the choice is kept", LIMIT, async (t) => {
  const { page, faults } = await open(t);
  await openLog(page, "failed");
  await page.getByRole("button", { name: "All lines in order" }).click();
  const lines = await sees(page, ([first, second]) => first.key === ":1" && second?.text.startsWith("It may use"), "line 1");
  assert.deepEqual(lines.map(({ key }) => key), lines.map((_, at) => `:${at + 1}`));
  await page.reload();
  await sees(page, ([first]) => first.key === ":1", "line 1");
  await page.keyboard.press("G");
  await sees(page, (shown) => shown.at(-1).key === ":79" && shown.every(({ text }) => text !== ""), "line 79");
  await page.keyboard.press("s");
  assert.ok((await steps(page)).length > 0);
  assert.deepEqual(faults, []);
});

test("n and p go from error to error, a failed step's end is one", LIMIT, async (t) => {
  const { page, faults } = await open(t);
  const hits = [{ line: 30, step: 6, step_line: 16 }, { line: 20, step: 6, step_line: 6 }];
  await page.route(/\/log\/search\?/, (route) => route.fulfill({ json: { epoch: 1, state: "complete", end: 1, total: 2, hits } }));
  await openLog(page, "failed");
  await page.keyboard.press("g");
  const status = page.locator("[id^=log-status]");
  const goes = async (key, place, words) => {
    await page.keyboard.press(key);
    await sees(page, (lines) => lines.some((line) => line.target && line.key === place), place);
    assert.equal(await status.textContent(), words);
  };
  await goes("n", "6:6", "Error or warning 1 of 3");
  await goes("n", "6:16", "Error or warning 2 of 3");
  await goes("n", `${FAILING}:25`, "Error or warning 3 of 3");
  await goes("n", "6:6", "Error or warning 1 of 3");
  await goes("p", `${FAILING}:25`, "Error or warning 3 of 3");
  await goes("p", "6:16", "Error or warning 2 of 3");
  assert.deepEqual(faults, []);
});

test("more errors than one answer has are read, up to a bound", LIMIT, async (t) => {
  const { page, faults } = await open(t);
  const asked = [];
  let most = 700;
  await page.route(/\/log\/search\?/, (route) => {
    const query = new URL(route.request().url()).searchParams;
    if (query.has("step")) return route.fulfill({ json: { hits: [], next: null } });
    const after = Number(query.get("after"));
    asked.push(after);
    const count = Math.min(500, most - after);
    const hits = Array.from({ length: count }, (_, at) => ({ line: after + at + 1, step: 6, step_line: after + at + 1 }));
    return route.fulfill({ json: { epoch: 1, state: "complete", hits, next: after + count < most ? after + count : null } });
  });
  await openLog(page, "failed");
  await page.keyboard.press("g");
  await page.keyboard.press("n");
  await page.getByText("Error or warning 1 of 701", { exact: true }).waitFor();
  assert.deepEqual(asked, [0, 500]);
  most = 9000;
  await page.reload();
  await head(page, FAILING).or(page.locator("[role=log] .row").first()).first().waitFor();
  await page.keyboard.press("g");
  await page.keyboard.press("n");
  await page.getByText("Error or warning 1 of 5,001+", { exact: true }).waitFor();
  assert.equal(asked.length, 12);
  assert.deepEqual(faults, []);
});

test("what failed is open at its first error, if it tells one and the reader has not moved", LIMIT, async (t) => {
  const { page, faults } = await open(t);
  await page.setViewportSize({ width: 900, height: 500 });
  let answered = () => {};
  await page.route(/\/log\/search\?/, async (route) => {
    const query = new URL(route.request().url()).searchParams;
    assert.equal(query.get("step"), String(FAILING));
    assert.doesNotMatch(query.get("q"), /warning/);
    await new Promise((done) => { answered = done; setTimeout(done, 300); });
    await route.fulfill({ json: { hits: [{ line: 57, step: FAILING, step_line: 3 }], next: null } }).catch(() => {});
  });
  await openLog(page, "failed");
  const isAt = (line) => (lines) => lines.some(({ key, text }) => key === `${FAILING}:${line}` && text !== "");
  assert.equal(isAt(3)(await sees(page, isAt(25), "its last line")), false);
  assert.equal(isAt(25)(await sees(page, isAt(3), "its first error")), false);
  await page.reload();
  await sees(page, isAt(25), "its last line");
  await page.keyboard.press("G");
  answered();
  const until = Date.now() + 500;
  while (Date.now() < until) assert.ok(isAt(25)(await seen(page)), "it moved under its reader");
  assert.deepEqual(faults.filter((fault) => !/log\/search/.test(fault)), []);
});

test("the count of lines is not read aloud, an end and answers are", LIMIT, async (t) => {
  const { page, faults } = await open(t);
  const known = { lines: 100, state: "live" };
  await page.route(/\/log\/outline/, async (route) => {
    const answer = await route.fetch();
    await route.fulfill({ json: { ...await answer.json(), ...known, end: known.lines * 10 } });
  });
  await page.route(/\/log\/stream/, (route) => route.abort());
  const look = () => page.evaluate(() => document.dispatchEvent(new Event("visibilitychange")));
  await openLog(page, "failed");
  const status = page.locator("[id^=log-status]");
  await page.getByText("Live, 100 lines", { exact: true }).waitFor();
  await page.locator(`.log-rows [data-row="${FAILING}:20"] a.no`).click();
  const said = "Line 20 is in the address";
  assert.equal(await status.textContent(), said);
  known.lines = 101;
  await look();
  await page.getByText("Live, 101 lines", { exact: true }).waitFor();
  assert.equal(await page.getByText("Live, 101 lines", { exact: true }).evaluate((told) => told.closest("[role=status], [aria-live]")), null);
  assert.equal(await status.textContent(), said);
  known.state = "complete";
  await look();
  await page.getByText("101 lines", { exact: true }).waitFor();
  assert.equal(await status.textContent(), "The log is complete");
  assert.deepEqual(faults.filter((fault) => !/log\/stream/.test(fault)), []);
});

test("times are shown in five ways, and long lines wrap or do not", LIMIT, async (t) => {
  const { page, faults } = await open(t);
  await openLog(page, "failed");
  await sees(page, (lines) => lines.every(({ text }) => text !== ""), "its lines");
  const times = () => page.locator("[role=log] .row time").evaluateAll((all) => all.map((time) => time.dataset.time));
  assert.deepEqual(await times(), []);
  for (const [words, shape] of [
    ["clock", /^\d\d:\d\d:\d\d$/], ["UTC", /^\d\d:\d\d:\d\dZ$/], ["since start", /^\d+\.\ds$/], ["since last line", /^\+\d+\.\ds$|^$/],
  ]) {
    await page.getByRole("button", { name: "Times:" }).click();
    await page.getByRole("button", { name: `Times: ${words}` }).waitFor();
    const shown = await times();
    assert.ok(shown.length > 0 && shown.every((time) => shape.test(time)), `${words}: ${shown}`);
  }
  await page.keyboard.press("t");
  assert.deepEqual(await times(), []);
  const wrap = page.getByRole("button", { name: "Wrap", exact: true });
  assert.equal(await wrap.getAttribute("aria-pressed"), "true");
  await wrap.click();
  assert.equal(await wrap.getAttribute("aria-pressed"), "false");
  await page.setViewportSize(PHONE);
  await page.getByRole("button", { name: "Open all", exact: true }).click();
  const rows = page.locator("[role=log] .row");
  await rows.first().waitFor();
  assert.deepEqual([...new Set(await rows.evaluateAll((all) => all.map((row) => row.offsetHeight)))].length, 1);
  await page.keyboard.press("w");
  await page.waitForFunction(() => [...document.querySelectorAll("[role=log] .row")].some((row) => row.offsetHeight > 40));
  assert.deepEqual(faults, []);
});

test("a search opens folded steps, and Enter goes round", LIMIT, async (t) => {
  const { page, faults } = await open(t);
  await openLog(page, "succeeded");
  const form = page.getByRole("search").last();
  const status = form.locator("[role=status]");
  await page.keyboard.press("/");
  await page.keyboard.type("0000001");
  await page.keyboard.press("Enter");
  const first = await sees(page, (lines) => lines.some((line) => line.target && line.text.startsWith("00000001")), "the first place");
  const [, count] = /^1 of (\d+)$/.exec(await status.textContent()) ?? [];
  assert.ok(Number(count) > 2, await status.textContent());
  const key = first.find(({ target }) => target).key;
  await page.keyboard.press("Enter");
  await sees(page, (lines) => lines.some((line) => line.target && line.key !== key), "the second place");
  assert.equal(await status.textContent(), `2 of ${count}`);
  await page.keyboard.press("Shift+Enter");
  await sees(page, (lines) => lines.some((line) => line.target && line.key === key), "the first place again");
  await page.keyboard.press("Shift+Enter");
  assert.equal(await status.textContent(), `${count} of ${count}`);
  assert.deepEqual(faults, []);
});

test("the search comes with the first line", LIMIT, async (t) => {
  const { page } = await open(t);
  await page.goto(PAGES["build-queued"].path);
  await page.getByText("Waiting for a builder…").waitFor();
  assert.equal(await page.locator("form[data-log-search]").isVisible(), false);
});

test("what is remembered may be refused", LIMIT, async (t) => {
  const refusing = `Object.defineProperty(window, "localStorage", { get() { throw new DOMException("no", "SecurityError"); } });`;
  const { page, faults } = await open(t, { scripts: [EYES, refusing] });
  await openLog(page, "failed");
  await page.keyboard.press("s");
  await sees(page, ([first]) => first.key === ":1", "line 1");
  assert.deepEqual(faults, []);
});

for (const colorScheme of ["light", "dark"]) {
  test(`an opened log on a phone, ${colorScheme}`, LIMIT, async (t) => {
    const touch = { viewport: PHONE, hasTouch: true, isMobile: true };
    const { page, faults } = await open(t, { scripts: [EYES, AXE], colorScheme, reducedMotion: "reduce", ...touch });
    await openLog(page, "failed");
    await page.getByRole("button", { name: "Open all", exact: true }).tap();
    await sees(page, (lines) => lines.every(({ text }) => text !== ""), "its lines");
    assert.equal(await isTooWide(page), false, "the page scrolls sideways");
    assert.ok(await countRows(page) > 5);
    const small = await page.locator("[role=log] a.no, [role=log] button, .log-bar button").evaluateAll((all) => all
      .filter((target) => target.checkVisibility()).map((target) => target.getBoundingClientRect())
      .filter(({ width, height }) => width < 44 || height < 44).length);
    assert.equal(small, 0, "targets that a finger misses");
    const grave = await findings(page, "viewer");
    assert.deepEqual(grave.filter((found) => /role=|\.log|a\.no/.test(found)), []);
    assert.ok((await seen(page)).length > 0);
    assert.deepEqual(faults, []);
  });
}

test("without scripts the last lines are there", LIMIT, async (t) => {
  const { page } = await openPage(t, { javaScriptEnabled: false });
  await page.goto(PAGES["build-failed"].path);
  await page.frameLocator("iframe.plain").getByText("ended with exit code 7").first().waitFor();
});

test("without scripts a log is searched by a form", LIMIT, async (t) => {
  const { page } = await openPage(t, { javaScriptEnabled: false });
  await page.goto(PAGES["build-failed"].path);
  const form = page.locator("form[role=search]:visible");
  await form.getByRole("searchbox").fill("exit code");
  const [found] = await Promise.all([page.waitForEvent("popup"), form.getByRole("button").click()]);
  await found.getByText(/^\d+ lines? ha(s|ve) it\.\s+\d+:.*exit code 7/).waitFor();
});
