// A log of a million lines and 120 MB: every line can be reached, and the page stays small and quick.

import assert from "node:assert/strict";
import test from "node:test";

import { LIMIT, useBrowser } from "./lib/browser.mjs";
import { EYES, LONG, countRows, dragTo, frame, head, logUrl, openLog, sees, wheel } from "./lib/viewer.mjs";

const MOST_ROWS = 600;
/** Lines of a log in which most take several rows. */
const WRAPPED = 150;
/** Ten times what is wanted: the machine does other things too. */
const BOUNDS = { paint_ms: 10_000, jump_ms: 3_000, end_ms: 3_000, heap_mb: 1_500, task_ms: 1_000 };

const { open: openPage } = useBrowser();
const open = (t, options = {}) => openPage(t, { scripts: [EYES, TASKS], ...options });

const TASKS = `window.longest = 0;
new PerformanceObserver((list) => {
  for (const task of list.getEntries()) window.longest = Math.max(window.longest, task.duration);
}).observe({ type: "longtask", buffered: false });`;

const numberOf = (line) => Number(line.key.split(":")[1]);
const isWhole = (lines) => lines.every(({ text }) => text !== "");
const outlineOf = async (page) => page.evaluate(async (url) => (await fetch(`${url}/outline`)).json(), await logUrl(page));
const isUnbroken = (lines) => lines.every((line, at) => at === 0 || numberOf(line) === numberOf(lines[at - 1]) + 1);

test("it has so many lines and bytes, and some of them are coloured", LIMIT, async (t) => {
  const { page, faults } = await open(t);
  await openLog(page, "long", `#s${LONG.step}:L1`);
  const { lines, end, steps } = await outlineOf(page);
  assert.equal(steps.find(({ step }) => step === LONG.step).lines, LONG.lines);
  assert.ok(lines >= LONG.lines && end >= LONG.bytes, `${lines} lines, ${end} bytes`);
  await page.locator(".log-rows .f-2").getByText("ok", { exact: true }).first().waitFor();
  assert.deepEqual(faults, []);
});

test("first and last line are reached by the scrollbar and by the wheel", LIMIT, async (t) => {
  const { page, faults } = await open(t);
  await openLog(page, "long", `#s${LONG.step}:L1`);
  const isLast = (lines) => lines.some(({ text }) => text.startsWith("01000000 "));
  await dragTo(page, 1);
  await head(page, 7).waitFor();
  await sees(page, isLast, "line 1,000,000");
  assert.ok(await countRows(page) <= MOST_ROWS);
  await dragTo(page, 0.5);
  const middle = await sees(page, (lines) => isWhole(lines) && numberOf(lines[0]) > 400_000, "the middle");
  assert.ok(numberOf(middle[0]) < 600_000 && isUnbroken(middle));
  await dragTo(page, 0);
  await sees(page, (lines) => lines[0].key === `${LONG.step}:1` && isWhole(lines), "the first line");
  assert.deepEqual(faults, []);
});

for (const [way, from, pixels, isThere] of [
  ["down", 999_700, 400, (lines) => lines.some(({ text }) => text.startsWith("01000000 "))],
  ["up", 300, -400, (lines) => lines[0].key === `${LONG.step}:1`],
]) {
  test(`the wheel goes ${way} to the end and passes by no line`, LIMIT, async (t) => {
    const { page, faults } = await open(t);
    await openLog(page, "long", `#s${LONG.step}:L${from}`);
    let before = await sees(page, (lines) => isWhole(lines) && lines.some(({ target }) => target), "the place");
    for (let turn = 0; turn < 60 && !isThere(before); turn += 1) {
      await wheel(page, pixels);
      const now = await sees(page, isWhole, "lines");
      assert.ok(isUnbroken(now), "lines are left out");
      const [upper, lower] = way === "down" ? [before, now] : [now, before];
      assert.ok(numberOf(lower[0]) <= numberOf(upper.at(-1)) + 1, `from ${upper.at(-1).key} to ${lower[0].key}`);
      before = now;
    }
    assert.ok(isThere(before), `the wheel ends at ${before[0].key}`);
    assert.deepEqual(faults, []);
  });
}

test("wrapped lines of many rows are reached to the last one", LIMIT, async (t) => {
  const { page, faults } = await open(t, { viewport: { width: 360, height: 740 } });
  const text = (number) => `${String(number).padStart(8, "0")} ${"wide ".repeat(number % 7 * 12)}`;
  await page.route(/\/log\/outline(\?groups=1)?$/, (route) => route.fulfill({ json: {
    epoch: 1, newest: 1, state: "complete", lines: WRAPPED, end: 1, steps: [{ step: 6, lines: WRAPPED, first_at: "2026-01-01T00:00:00Z" }],
  } }));
  await page.route(/\/log\/lines\?/, (route) => {
    const query = new URL(route.request().url()).searchParams;
    const from = Number(query.get("from"));
    const count = Math.min(Number(query.get("count")), WRAPPED + 1 - from);
    const lines = Array.from({ length: count }, (_, at) => ({
      line: from + at, step_line: from + at, step: 6, stream: "stdout", at: "2026-01-01T00:00:00Z",
      runs: [{ text: text(from + at) }], width: 8, clipped: false,
    }));
    return route.fulfill({ json: { epoch: 1, state: "complete", lines } });
  });
  await openLog(page, "succeeded", "#s6:L1");
  await sees(page, isWhole, "the first lines");
  let before = 0;
  for (let turn = 0; turn < 200 && before < WRAPPED; turn += 1) {
    await wheel(page, 300);
    const now = await sees(page, isWhole, "lines");
    assert.ok(numberOf(now[0]) <= before + 1 || turn === 0, `from ${before} to ${now[0].key}`);
    before = numberOf(now.at(-1));
  }
  assert.equal(before, WRAPPED);
  await dragTo(page, 0);
  await sees(page, (lines) => lines[0].key === "6:1", "the first line");
  assert.deepEqual(faults, []);
});

test("a place in the address is marked and in sight", LIMIT, async (t) => {
  // 16 lines of which many take two rows have room.
  const { page, faults } = await open(t, { viewport: { width: 1280, height: 1400 } });
  await openLog(page, "long", "#L500000");
  const lines = await sees(page, (shown) => isWhole(shown) && shown.some(({ target }) => target), "line 500,000");
  assert.deepEqual(lines.filter(({ target, covered }) => target && !covered).map(({ key }) => key), [":500000"]);
  await page.goto("about:blank");
  await openLog(page, "long", `#s${LONG.step}:L20-L35`);
  const range = await sees(page, (shown) => shown.filter(({ target }) => target).length === 16, "16 lines");
  assert.deepEqual(range.filter(({ target, covered }) => target && !covered).map(numberOf), Array.from({ length: 16 }, (_, at) => 20 + at));
  assert.equal(await page.locator("button.step[aria-expanded=true]").first().getAttribute("data-step"), String(LONG.step));
  await page.locator(`[data-row="${LONG.step}:24"] a.no`).click();
  await page.locator(`[data-row="${LONG.step}:28"] a.no`).click({ modifiers: ["Shift"] });
  assert.equal(new URL(page.url()).hash, `#s${LONG.step}:L24-L28`);
  await sees(page, (shown) => shown.filter(({ target }) => target).length === 5, "5 lines");
  assert.deepEqual(faults, []);
});

test("how quick and how large it is", LIMIT, async (t) => {
  const { page, faults } = await open(t);
  const start = performance.now();
  await openLog(page, "long", `#s${LONG.step}:L1`);
  await sees(page, isWhole, "lines");
  const paint_ms = performance.now() - start;
  const jump = performance.now();
  await page.evaluate(() => { location.hash = "#L500000"; });
  await sees(page, (lines) => isWhole(lines) && lines.some(({ key }) => key === ":500000"), "line 500,000");
  const jump_ms = performance.now() - jump;
  const { lines: last } = await outlineOf(page);
  const end = performance.now();
  await page.keyboard.press("G");
  await sees(page, (lines) => isWhole(lines) && lines.some(({ key }) => key === `:${last}`), "the last line");
  const end_ms = performance.now() - end;
  await page.evaluate(() => { location.hash = "#L700000"; });
  await sees(page, (lines) => isWhole(lines) && lines.some(({ key }) => key === ":700000"), "line 700,000");
  await page.evaluate(() => { window.longest = 0; });
  let rows = 0;
  for (let turn = 0; turn < 50; turn += 1) {
    await wheel(page, 240);
    rows = Math.max(rows, await countRows(page));
  }
  await frame(page);
  const task_ms = await page.evaluate(() => window.longest);
  const session = await page.context().newCDPSession(page);
  await session.send("Performance.enable");
  const { metrics } = await session.send("Performance.getMetrics");
  const metric = (wanted) => metrics.find(({ name }) => name === wanted).value;
  const heap_mb = metric("JSHeapUsedSize") / 2 ** 20;
  const found = { paint_ms, jump_ms, end_ms, heap_mb, task_ms };
  const words = Object.entries(found).map(([name, value]) => `${name} ${value.toFixed(1)}`);
  t.diagnostic(`${words.join(", ")}, rows ${rows}, nodes ${metric("Nodes")}`);
  for (const [name, bound] of Object.entries(BOUNDS)) assert.ok(found[name] <= bound, `${name}: ${found[name]}`);
  assert.ok(rows <= MOST_ROWS, `${rows} rows`);
  assert.deepEqual(faults, []);
});
