// What is selected in a log, what is copied of it, and texts of a log that try to be more.

import assert from "node:assert/strict";
import test from "node:test";

import { LIMIT, PATIENCE_MS, useBrowser } from "./lib/browser.mjs";
import { EYES, LONG, dragTo, frame, openLog, sees, wheel } from "./lib/viewer.mjs";

const PERMISSIONS = ["clipboard-read", "clipboard-write"];

const { open: openPage } = useBrowser();
const open = (t, options = {}) => openPage(t, { scripts: [EYES], permissions: PERMISSIONS, ...options });

const isWhole = (lines) => lines.every(({ text }) => text !== "");
const rowOf = (page, line) => page.locator(`.log-rows [data-row="${LONG.step}:${line}"] .text`);

/** Clicks beside the first letter of a line. */
async function press(page, line, modifiers = []) {
  await rowOf(page, line).click({ position: { x: 1, y: 8 }, modifiers });
}

/** What the clipboard has after a copy; far lines come later. */
async function copied(page) {
  await page.evaluate(() => navigator.clipboard.writeText(""));
  await page.keyboard.press("Control+c");
  const until = Date.now() + PATIENCE_MS;
  for (;;) {
    const text = await page.evaluate(() => navigator.clipboard.readText());
    if (text.includes("\n")) return text.trimEnd();
    assert.ok(Date.now() < until, `the clipboard has "${text}"`);
    await frame(page);
  }
}

/** The numbers that lines of the scripted engine begin with. */
const numbersOf = (text) => text.split("\n").map((line) => /^(\d{8}) [0-9a-f]{16}(?: |$)/.exec(line)).map((line) => line && Number(line[1]));

const range = (from, to) => Array.from({ length: to - from + 1 }, (_, at) => from + at);

test("a selection is copied without the numbers of its lines", LIMIT, async (t) => {
  const { page, faults } = await open(t);
  await openLog(page, "long", `#s${LONG.step}:L1`);
  await sees(page, isWhole, "lines");
  await page.keyboard.press("t");
  await sees(page, isWhole, "lines");
  await press(page, 3);
  await press(page, 8, ["Shift"]);
  assert.deepEqual(numbersOf(await copied(page)), range(3, 7));
  assert.deepEqual(faults, []);
});

test("a selection far beyond the rows in the page is copied whole, and stays when it is scrolled away", LIMIT, async (t) => {
  const { page, faults } = await open(t);
  await openLog(page, "long", `#s${LONG.step}:L10`);
  await sees(page, isWhole, "lines");
  await press(page, 10);
  await page.evaluate((step) => { location.hash = `#s${step}:L2100`; }, LONG.step);
  await sees(page, (lines) => isWhole(lines) && lines.some(({ key }) => key.endsWith(":2100")), "line 2,100");
  await press(page, 2101, ["Shift"]);
  assert.deepEqual(numbersOf(await copied(page)), range(10, 2100));
  await dragTo(page, 1);
  await sees(page, (lines) => isWhole(lines) && lines.some(({ text }) => text.startsWith("01000000 ")), "the last line");
  assert.deepEqual(numbersOf(await copied(page)), range(10, 2100));
  await dragTo(page, 0);
  await sees(page, (lines) => isWhole(lines) && lines[0].key.endsWith(":1"), "the first line");
  const selected = await page.evaluate(() => {
    const { anchorNode, focusNode } = document.getSelection();
    return [anchorNode, focusNode].map((node) => node.parentElement.closest("[data-row]").dataset.row);
  });
  assert.deepEqual(selected, [`${LONG.step}:10`, `${LONG.step}:2101`]);
  assert.deepEqual(faults, []);
});

test("a selection over several steps has their names and all their lines", LIMIT, async (t) => {
  const { page, faults } = await open(t);
  await openLog(page, "long");
  await page.getByRole("button", { name: "Open all", exact: true }).click();
  await sees(page, isWhole, "lines");
  await page.locator('.log-rows [data-row="2:1"] .text').click({ position: { x: 1, y: 8 } });
  await page.evaluate((step) => { location.hash = `#s${step}:L2000`; }, LONG.step);
  await sees(page, (lines) => isWhole(lines) && lines.some(({ key }) => key.endsWith(":2000")), "line 2,000");
  await press(page, 2001, ["Shift"]);
  const text = await copied(page);
  assert.deepEqual(numbersOf(text).filter((number) => number !== null), range(1, 2000));
  const lines = text.split("\n");
  const name = lines.indexOf("[2/2] RUN make everything");
  assert.equal(lines[name + 1].slice(0, 8), "00000001");
  assert.equal(lines.length, name + 2001);
  // Three lines of step 2, one of step 3, and the heads of steps 3 to 5.
  assert.equal(name, 3 + 1 + 2);
  assert.deepEqual(faults, []);
});

test("a selection upwards is copied in the order of the log", LIMIT, async (t) => {
  const { page, faults } = await open(t);
  await openLog(page, "long", `#s${LONG.step}:L900`);
  await sees(page, (lines) => isWhole(lines) && lines.some(({ target }) => target), "line 900");
  await press(page, 900);
  for (let turn = 0; turn < 12; turn += 1) await wheel(page, -400);
  const [first] = (await sees(page, isWhole, "lines")).slice(5);
  const from = Number(first.key.split(":")[1]);
  await press(page, from, ["Shift"]);
  assert.deepEqual(numbersOf(await copied(page)), range(from, 899));
  assert.deepEqual(faults, []);
});

test("colours are classes, and only links of the web are links", LIMIT, async (t) => {
  const { page, faults } = await open(t);
  const runs = [
    { text: "red ", fg: 1, bold: true }, { text: "exact ", fg: "#12ab34" }, { text: "odd ", fg: "red;background:url(x)" },
    { text: "inverse ", inverse: true, underline: true }, { text: "good", link: "https://example.com/a" },
    { text: "bad", link: "javascript:alert(1)" }, { text: "worse", link: " JaVaScript:alert(1)" }, { text: "data", link: "data:text/html,x" },
    { text: "<img src=x onerror=window.__xss=1>" },
  ];
  await page.route(/\/log\/lines\?/, (route) => route.fulfill({ json: {
    epoch: 1, state: "complete", lines: [{ line: 1, step_line: 1, step: 7, stream: "stdout", at: "2026-01-01T00:00:00Z", runs, width: 9, clipped: true }],
  } }));
  await openLog(page, "failed", "#s7:L1");
  const text = page.locator('[data-row="7:1"] .text');
  await text.getByText("red").waitFor();
  assert.deepEqual(await text.locator("a").evaluateAll((links) => links.map((link) => [link.textContent, link.href, link.rel])),
    [["good", "https://example.com/a", "noopener noreferrer nofollow"]]);
  assert.equal(await text.getByText("red").getAttribute("class"), "a-bold f-1");
  assert.equal(await text.getByText("inverse").getAttribute("class"), "a-underline f-back b-text");
  assert.equal(await text.getByText("exact").evaluate((part) => part.style.color), "rgb(18, 171, 52)");
  assert.equal(await text.locator("[style]").count(), 1);
  assert.match(await text.textContent(), /badworsedata<img src=x.*longer than what is shown/);
  assert.equal(await page.evaluate(() => window.__xss), undefined);
  assert.deepEqual(faults, []);
});

test("an answer that ends early is asked to go on, and what is lost is said once", LIMIT, async (t) => {
  const { page, faults } = await open(t, { viewport: { width: 1280, height: 1600 } });
  const asked = [];
  await page.route(/\/log\/lines\?/, (route) => {
    const query = new URL(route.request().url()).searchParams;
    const from = Number(query.get("from"));
    asked.push(`${query.get("step")}:${from}`);
    const make = (number) => ({
      line: number, step_line: number, step: 7, stream: "stdout", at: "2026-01-01T00:00:00Z",
      runs: [{ text: `line ${number}` }], width: 9, clipped: false,
    });
    // Five lines in each answer; 8 and 9 are lost, and so is the end.
    const lines = range(from, from + 4).filter((number) => number !== 8 && number !== 9 && number <= 20).map(make);
    return route.fulfill({ json: { epoch: 1, state: "damaged", lines } });
  });
  await openLog(page, "failed", "#s7:L1");
  const lines = await sees(page, (shown) => shown.filter(({ key }) => key.startsWith("7:")).length === 25 && isWhole(shown), "25 lines");
  const texts = lines.filter(({ key }) => key.startsWith("7:")).map(({ text }) => text);
  assert.deepEqual(texts, range(1, 25).map((number) => [8, 9].includes(number) || number > 20 ? "this line is lost" : `line ${number}`));
  assert.deepEqual(asked, ["7:1", "7:6", "7:11", "7:16", "7:21"]);
  assert.deepEqual(faults, []);
});
