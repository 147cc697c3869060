// The buttons above a log: what keys do, they do too, and a finger hits them.

import assert from "node:assert/strict";
import test from "node:test";

import { AXE, findings } from "./lib/axe.mjs";
import { LIMIT, PHONE, isTooWide, useBrowser } from "./lib/browser.mjs";
import { EYES, LONG, head, openLog, seen, sees, steps } from "./lib/viewer.mjs";

const FAILING = 7;
const TOUCH = { viewport: PHONE, hasTouch: true, isMobile: true };
/** What fingers hit, in CSS pixels. */
const FINGER = 44;

const { open: openPage } = useBrowser();
const open = (t, options = {}) => openPage(t, { scripts: [EYES], ...options });

const button = (page, name) => page.getByRole("button", { name, exact: true });
const isWhole = (lines) => lines.every(({ text }) => text !== "");

test("buttons go from step to step, by mouse and by keyboard, up to both ends", LIMIT, async (t) => {
  const { page, faults } = await open(t);
  await openLog(page, "succeeded");
  const all = (await steps(page)).map(([step]) => step);
  const status = page.locator("[id^=log-status]");
  const isAt = async (step) => assert.match(await status.textContent(), new RegExp(`^At step #${step} `));
  for (const step of [...all, all.at(-1)]) {
    await button(page, "Next step").click();
    await isAt(step);
  }
  await button(page, "Previous step").press("Enter");
  await isAt(all.at(-2));
  assert.equal(await button(page, "Previous step").evaluate((it) => it === document.activeElement), true, "the focus is lost");
  for (const step of [...all.slice(0, -2).reverse(), all[0]]) {
    await page.keyboard.press("Enter");
    await isAt(step);
  }
  assert.deepEqual(faults, []);
});

test("buttons go from error to error, and to both ends", LIMIT, async (t) => {
  const { page, faults } = await open(t);
  await openLog(page, "grouped");
  await page.keyboard.press("g");
  await button(page, "Next error or warning").click();
  const [first] = (await sees(page, (lines) => lines.some(({ target }) => target), "an error")).filter(({ target }) => target);
  await button(page, "Next error or warning").click();
  await sees(page, (lines) => lines.some(({ target, key }) => target && key !== first.key), "another");
  await button(page, "Previous error or warning").click();
  await sees(page, (lines) => lines.some(({ target, key }) => target && key === first.key), "the first again");
  await page.goto("about:blank");
  await openLog(page, "long", `#s${LONG.step}:L500000`);
  await button(page, "Last line").click();
  await sees(page, (lines) => isWhole(lines) && lines.some(({ text }) => text.startsWith("01000000 ")), "the end");
  await button(page, "First line").click();
  await head(page, 1).or(head(page, 2)).first().waitFor();
  assert.equal((await seen(page)).some(({ text }) => text.startsWith("01000000 ")), false);
  assert.deepEqual(faults, []);
});

test("all that is pressed has a name, in both languages, and the bar fits", LIMIT, async (t) => {
  for (const [locale, name] of [["en", /[A-Za-z]{3}/], ["zh-CN", /\p{Script=Han}/u]]) {
    const { page, faults } = await open(t, { locale, scripts: [EYES, AXE], viewport: PHONE });
    await openLog(page, "failed");
    const names = await page.locator(".log-bar button:visible").evaluateAll((all) => all.map((it) => it.ariaLabel ?? it.textContent));
    assert.ok(names.length > 10, names.join());
    assert.deepEqual(names.filter((it) => !name.test(it)), []);
    assert.equal(await isTooWide(page), false, "the page scrolls sideways");
    assert.deepEqual((await findings(page, "viewer")).filter((found) => /log/.test(found)), []);
    assert.deepEqual(faults, []);
  }
});

test("times are told in UTC too", LIMIT, async (t) => {
  const { page, faults } = await open(t, { timezoneId: "Asia/Shanghai" });
  await openLog(page, "failed");
  await sees(page, isWhole, "its lines");
  const time = page.locator("[role=log] .row time").first();
  await button(page, "Times: off").click();
  const at = new Date(await time.getAttribute("datetime"));
  const clock = (hours) => new Date(at.getTime() + hours * 3_600_000).toISOString().slice(11, 19);
  assert.equal(await time.getAttribute("data-time"), clock(8));
  await button(page, "Times: clock").click();
  assert.equal(await time.getAttribute("data-time"), `${clock(0)}Z`);
  await page.reload();
  await button(page, "Times: UTC").waitFor();
  assert.deepEqual(faults, []);
});

test("on a phone the numbers of lines fold away, and come back for who wants them", LIMIT, async (t) => {
  const { page, faults } = await open(t, { ...TOUCH });
  await openLog(page, "failed");
  await sees(page, isWhole, "its lines");
  const numbers = page.locator("[role=log] a.no");
  assert.equal(await numbers.first().isVisible(), false);
  await button(page, "Line numbers").tap();
  await numbers.first().waitFor();
  const line = page.locator(`.log-rows [data-row="${FAILING}:20"] a.no`);
  await line.tap();
  await page.getByText("Line 20 is in the address", { exact: true }).waitFor();
  assert.equal(await isTooWide(page), false, "the page scrolls sideways");
  await page.reload();
  await numbers.first().waitFor();
  assert.deepEqual(faults, []);
});

test("where there is room the numbers are there from the beginning", LIMIT, async (t) => {
  const { page } = await open(t);
  await openLog(page, "failed");
  await sees(page, isWhole, "its lines");
  assert.equal(await page.locator("[role=log] a.no").first().isVisible(), true);
  await button(page, "Line numbers").click();
  assert.equal(await page.locator("[role=log] a.no").first().isVisible(), false);
});

test("a finger hits everything around a log and in it", LIMIT, async (t) => {
  const { page, faults } = await open(t, { ...TOUCH });
  await openLog(page, "grouped");
  await button(page, "Open all").tap();
  await page.getByRole("searchbox").fill("deck");
  await page.getByRole("searchbox").press("Enter");
  await page.locator(".log-hits li").first().waitFor();
  const small = () => page.locator([
    "[role=log] a.no", "[role=log] button", ".log-bar button", ".log-bar a", ".log-bar label", ".log-bar select", ".log-bar input[type=search]",
    ".log-hits a", ".log-follow",
  ].join()).evaluateAll((all, least) => all.filter((it) => it.checkVisibility()).map((it) => ({ it, box: it.getBoundingClientRect() }))
    .filter(({ box }) => box.width < least || box.height < least).map(({ it, box }) => `${it.outerHTML} ${box.width}×${box.height}`), FINGER);
  assert.deepEqual(await small(), []);
  await button(page, "Line numbers").tap();
  await page.locator("[role=log] a.no").first().waitFor();
  assert.ok(await page.locator("[role=log] button.group").count() > 0);
  assert.deepEqual(await small(), []);
  assert.deepEqual(faults, []);
});
