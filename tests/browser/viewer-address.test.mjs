// What an address of a log's page leads to, and what the viewer counts as new from there.

import assert from "node:assert/strict";
import test from "node:test";

import { LIMIT, useBrowser } from "./lib/browser.mjs";
import { PAGES } from "./lib/site.mjs";
import { EYES, frame, openLog, sees } from "./lib/viewer.mjs";

const FAILING = 7;

const { open: openPage } = useBrowser();
const open = (t, options = {}) => openPage(t, { scripts: [EYES], ...options });

const isAt = (line) => (lines) => lines.some(({ key, target, text }) => target && text !== "" && key === `${FAILING}:${line}`);

test("the card of a failure leads to its error, again and again", LIMIT, async (t) => {
  const { page, faults } = await open(t);
  await page.setViewportSize({ width: 900, height: 500 });
  let hits = [{ line: 57, step: FAILING, step_line: 3 }];
  await page.route(/\/log\/search\?/, (route) => route.fulfill({ json: { hits, next: null } }));
  await openLog(page, "failed");
  const link = page.locator(".failure").getByRole("link", { name: "Go to its log" });
  for (let turn = 0; turn < 2; turn += 1) {
    await link.click();
    await sees(page, isAt(3), "its first error");
    await page.waitForURL(new RegExp(`#s${FAILING}:L3$`));
    await page.keyboard.press("g");
  }
  hits = [];
  await link.click();
  await sees(page, isAt(25), "its last line");
  await page.waitForURL(new RegExp(`#s${FAILING}:L25$`));
  assert.deepEqual(faults, []);
});

test("an address of an error that cannot be looked for shows the step's end", LIMIT, async (t) => {
  const { page } = await open(t);
  await page.route(/\/log\/search\?/, (route) => route.fulfill({ status: 503, body: "busy" }));
  await openLog(page, "failed", `#s${FAILING}:error`);
  await sees(page, isAt(25), "its last line");
});

test("who moves on is not brought back by an error that is found late", LIMIT, async (t) => {
  const { page, faults } = await open(t);
  await page.setViewportSize({ width: 900, height: 500 });
  let answer = () => {};
  const asked = new Promise((done) => {
    void page.route(/\/log\/search\?/, async (route) => {
      await new Promise((go) => { answer = go; done(); });
      await route.fulfill({ json: { hits: [{ line: 57, step: FAILING, step_line: 3 }], next: null } });
    });
  });
  await openLog(page, "failed", `#s${FAILING}:error`);
  await sees(page, isAt(25), "its last line");
  await asked;
  await page.keyboard.press("g");
  const found = page.waitForResponse(/\/log\/search\?/);
  answer();
  await (await found).finished();
  await frame(page);
  assert.match(page.url(), new RegExp(`#s${FAILING}:L25$`));
  assert.deepEqual(faults, []);
});

test("a line that is marked is the same line after a further attempt", LIMIT, async (t) => {
  const { page, faults } = await open(t);
  await openLog(page, "failed");
  const number = (line) => page.locator(`.log-rows [data-row="${FAILING}:${line}"] a.no`);
  assert.equal(await number(12).getAttribute("href"), `?attempt=1#s${FAILING}:L12`, "who copies the link has the attempt");
  await number(12).click();
  await page.waitForURL(new RegExp(`\\?attempt=1#s${FAILING}:L12$`));
  await number(14).click({ modifiers: ["Shift"] });
  await page.waitForURL(new RegExp(`\\?attempt=1#s${FAILING}:L12-L14$`));
  await number(12).click();
  const [marked] = (await sees(page, isAt(12), "the marked line")).filter(({ target }) => target);

  const asked = [];
  const at = "2026-01-01T00:00:00Z";
  await page.route(/\/log\/outline/, async (route) => {
    const epoch = new URL(route.request().url()).searchParams.get("epoch");
    asked.push(epoch);
    if (epoch === "1") return route.continue();
    return route.fulfill({ json: { epoch: 2, newest: 2, state: "complete", lines: 20, end: 400, steps: [{ step: FAILING, lines: 20, first_at: at }] } });
  });
  const isTheSame = (lines) => lines.some(({ key, target, text }) => target && key === marked.key && text === marked.text);
  const told = page.waitForResponse(/\/log\/outline/);
  await page.evaluate(() => document.dispatchEvent(new Event("visibilitychange")));
  await (await told).finished();
  await frame(page);
  await sees(page, isTheSame, "the marked line still");
  const found = page.waitForRequest(/\/log\/search\?/);
  await page.getByRole("search").getByRole("searchbox").fill("0000");
  await page.keyboard.press("Enter");
  assert.equal(new URL((await found).url()).searchParams.get("epoch"), "1");

  const address = page.url();
  await page.goto("/queues");
  await page.goto(address);
  await sees(page, isTheSame, "the marked line again");
  assert.deepEqual([...new Set(asked)], ["1"]);
  assert.deepEqual(faults, []);
});

test("an address that leads to an error names the attempt that had it", LIMIT, async (t) => {
  const { page } = await open(t);
  await openLog(page, "failed", `#s${FAILING}:error`);
  await page.waitForURL(new RegExp(`\\?attempt=1#s${FAILING}:L\\d+$`));
});

test("without scripts the card leads to the log's last lines", LIMIT, async (t) => {
  const { page } = await openPage(t, { javaScriptEnabled: false });
  await page.goto(PAGES["build-failed"].path);
  await page.locator(".failure").getByRole("link", { name: "Go to its log" }).click();
  await page.waitForURL(new RegExp(`#s${FAILING}:error$`));
  const place = await page.locator("iframe.plain").boundingBox();
  assert.ok(place !== null && place.y < page.viewportSize().height / 2, `the last lines stand at ${place?.y}`);
});

test("who comes by an address is told only of what is new since", LIMIT, async (t) => {
  const { page, faults } = await open(t);
  const at = "2026-01-01T00:00:00Z";
  const known = { epoch: 1, lines: 100 };
  await page.route(/\/log\/outline/, (route) => route.fulfill({ json: {
    ...known, newest: known.epoch, state: "live", end: known.epoch * 1000 + known.lines, steps: [{ step: 7, lines: known.lines, first_at: at }],
  } }));
  await page.route(/\/log\/stream/, (route) => route.abort());
  await page.route(/\/log\/lines\?/, (route) => route.fulfill({ json: { state: "live", end: 0, lines: [] } }));
  await page.goto(`${PAGES["build-failed"].path}#s${FAILING}:L5`);
  const follow = page.locator("[id^=log-follow]");
  const look = () => page.evaluate(() => document.dispatchEvent(new Event("visibilitychange")));
  await page.getByText("Live, 100 lines", { exact: true }).waitFor();
  assert.equal(await follow.textContent(), "Follow ↓");
  known.lines = 103;
  await look();
  await page.getByText("Follow ↓ (3 new)", { exact: true }).waitFor();
  // Of a further attempt all is new.
  Object.assign(known, { epoch: 2, lines: 12 });
  await look();
  await page.getByText("Follow ↓ (12 new)", { exact: true }).waitFor();
  assert.deepEqual(faults.filter((fault) => !/log\/stream/.test(fault)), []);
});
