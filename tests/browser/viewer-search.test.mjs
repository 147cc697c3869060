// The search in a log: how it is reached, what it can be asked, and what it shows.

import assert from "node:assert/strict";
import test from "node:test";

import { AXE, findings } from "./lib/axe.mjs";
import { LIMIT, PHONE, isTooWide, useBrowser } from "./lib/browser.mjs";
import { PAGES } from "./lib/site.mjs";
import { EYES, openLog, sees } from "./lib/viewer.mjs";

const { open: openPage } = useBrowser();
const open = (t, options = {}) => openPage(t, { scripts: [EYES], ...options });

const field = (page) => page.getByRole("searchbox", { name: "Search the log" });
const hasFocus = (element) => element.evaluate((it) => it === document.activeElement);

for (const { platform, key, other } of [
  { platform: "Linux x86_64", key: "Control+f", other: "Meta+f" }, { platform: "MacIntel", key: "Meta+f", other: "Control+f" },
]) {
  test(`${key} on ${platform} goes to the search, once more to the browser's own`, LIMIT, async (t) => {
    const on = `Object.defineProperty(Navigator.prototype, "platform", { get: () => "${platform}" });
      addEventListener("keydown", (event) => { window.wasKept = event.defaultPrevented; });`;
    const { page, faults } = await open(t, { scripts: [EYES, on] });
    await openLog(page, "succeeded");
    const press = async (keys) => {
      await page.keyboard.press(keys);
      return page.evaluate(() => window.wasKept);
    };
    assert.equal(await press(other), false);
    assert.equal(await hasFocus(field(page)), false);
    assert.equal(await press(key), true);
    assert.equal(await hasFocus(field(page)), true);
    assert.equal(await press(key), false, "the browser's own search is not reached");
    await page.keyboard.press("Escape");
    assert.equal(await press(key), true);
    await page.keyboard.press("Escape");
    await page.keyboard.press("?");
    await page.getByRole("dialog").getByText("the browser's own search").waitFor();
    assert.equal(await press(key), false, "a dialog is open");
    assert.deepEqual(faults, []);
  });
}

test("without a log to search the key is the browser's", LIMIT, async (t) => {
  const { page } = await open(t, { scripts: ["addEventListener(\"keydown\", (event) => { window.wasKept = event.defaultPrevented; });"] });
  await page.goto(PAGES["build-queued"].path);
  await page.getByText("Waiting for a builder…").waitFor();
  await page.keyboard.press("Control+f");
  assert.equal(await page.evaluate(() => window.wasKept), false);
});

/** Asks the search, and waits until it has told how much it found. */
async function ask(page, words) {
  await field(page).fill(words);
  await field(page).press("Enter");
}
const told = (page) => page.getByRole("search").getByRole("status");
const hits = (page) => page.locator(".log-hits li");

test("one step is searched alone", LIMIT, async (t) => {
  const { page, faults } = await open(t);
  await openLog(page, "failed");
  await ask(page, "00000001");
  await hits(page).nth(1).waitFor();
  const steps = (await hits(page).locator("a").count());
  assert.equal(steps, 2, "both steps have it");
  const choice = page.getByRole("search").getByRole("combobox", { name: "Step", exact: true });
  await choice.selectOption("7");
  await told(page).getByText("1 line in the whole log", { exact: true }).waitFor();
  assert.match(await hits(page).innerText(), /#7/);
  await page.evaluate(() => document.dispatchEvent(new Event("slipway:refreshed")));
  assert.equal(await choice.inputValue(), "7");
  await choice.selectOption({ label: "All steps" });
  await hits(page).nth(1).waitFor();
  assert.deepEqual(faults, []);
});

test("what is found has its lines around it, unless they are not wanted", LIMIT, async (t) => {
  const { page, faults } = await open(t);
  await openLog(page, "failed");
  await page.getByRole("search").getByRole("combobox").selectOption("7");
  await ask(page, "00000003");
  const around = page.locator(".log-hits li .around");
  await around.first().waitFor();
  assert.deepEqual((await around.allInnerTexts()).map((text) => text.slice(0, 8)), ["00000002", "00000004"]);
  await page.getByLabel("Lines around").uncheck();
  await around.first().waitFor({ state: "detached" });
  assert.match(await hits(page).innerText(), /00000003/);
  assert.deepEqual(faults, []);
});

test("only what went to stderr is searched", LIMIT, async (t) => {
  const { page, faults } = await open(t);
  await openLog(page, "running");
  await ask(page, "0");
  await hits(page).nth(3).waitFor();
  await page.getByLabel("Only stderr").check();
  await told(page).getByText("Nothing in the log so far", { exact: true }).waitFor();
  await ask(page, "hull");
  await told(page).getByText("1 of 1", { exact: true }).waitFor();
  assert.match(await hits(page).locator("code").filter({ hasText: "wet" }).innerText(), /^the hull is wet$/);
  await sees(page, (lines) => lines.some(({ target, text }) => target && text === "the hull is wet"), "the complaint");
  assert.equal(await page.locator(".log .row.target.stderr").count(), 1);
  assert.deepEqual(faults, []);
});

test("buttons go from hit to hit, on a phone too", LIMIT, async (t) => {
  const { page, faults } = await open(t, { scripts: [EYES, AXE], viewport: PHONE, hasTouch: true, isMobile: true });
  await openLog(page, "failed");
  const [next, previous] = ["Next place", "Previous place"].map((name) => page.getByRole("button", { name, exact: true }));
  assert.equal(await next.isVisible(), false, "nothing is found yet");
  await ask(page, "0000000");
  const [, count] = /^1 of (\d+)$/.exec(await told(page).filter({ hasText: /^1 of/ }).textContent()) ?? [];
  await next.tap();
  await told(page).getByText(`2 of ${count}`, { exact: true }).waitFor();
  await previous.tap();
  await previous.tap();
  await told(page).getByText(`${count} of ${count}`, { exact: true }).waitFor();
  assert.equal(await isTooWide(page), false, "the page scrolls sideways");
  assert.deepEqual((await findings(page, "viewer")).filter((found) => /log|search/.test(found)), []);
  await field(page).fill("no such words");
  await field(page).press("Enter");
  await next.waitFor({ state: "hidden" });
  assert.deepEqual(faults, []);
});

test("the first places come first, and how many there are is counted behind them", LIMIT, async (t) => {
  const { page, faults } = await open(t);
  await openLog(page, "failed");
  let goOn = () => {};
  const isAwaited = new Promise((done) => { goOn = done; });
  await page.route("**/log/search?*", async (route) => {
    if (new URL(route.request().url()).searchParams.get("limit") === "0") await isAwaited;
    await route.continue();
  });
  await ask(page, "0");
  await told(page).getByText("1 of 50+", { exact: true }).waitFor();
  assert.equal(await hits(page).count(), 50);
  const more = page.getByRole("button", { name: /^Show more/ });
  assert.equal(await more.textContent(), "Show more (0+ left)");
  goOn();
  await told(page).filter({ hasText: /^1 of [\d,]+$/ }).waitFor();
  const [, count] = /^1 of (.+)$/.exec(await told(page).textContent());
  const left = Number(count.replace(",", "")) - 50;
  assert.ok(left > 0, count);
  assert.equal(await more.textContent(), `Show more (${left.toLocaleString("en")} left)`);
  await more.click();
  await hits(page).nth(50).waitFor();
  assert.equal(await told(page).textContent(), `1 of ${count}`, "nothing is counted twice");
  assert.deepEqual(faults, []);
});

test("where an answer ended early the search goes on", LIMIT, async (t) => {
  const { page, faults } = await open(t);
  await openLog(page, "failed");
  const asked = [];
  await page.route("**/log/search?*", async (route) => {
    const url = new URL(route.request().url());
    const limit = Number(url.searchParams.get("limit"));
    asked.push(limit);
    // As if the time had been over.
    url.searchParams.set("limit", String(Math.min(limit, 20)));
    await route.continue({ url: url.href });
  });
  await ask(page, "0");
  await told(page).filter({ hasText: /^1 of [\d,]+$/ }).waitFor();
  assert.deepEqual(asked, [50, 30, 10, 0]);
  assert.equal(await hits(page).count(), 50);
  const lines = await hits(page).locator("a").allTextContents();
  assert.equal(new Set(lines).size, 50, "none comes twice");
  assert.deepEqual(faults, []);
});
