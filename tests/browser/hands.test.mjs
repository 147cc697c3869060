// Without scripts, and without a mouse.

import assert from "node:assert/strict";
import test from "node:test";

import { LIMIT, useBrowser } from "./lib/browser.mjs";
import { PAGES, site } from "./lib/site.mjs";

/** More steps with Tab than any page has stops. */
const MANY_STOPS = 60;

const { open } = useBrowser();

for (const name of ["home", "project", "build-succeeded", "build-failed", "build-running"]) {
  test(`page ${name} says what it has to say without scripts`, LIMIT, async (t) => {
    const { page } = await open(t, { javaScriptEnabled: false });
    const { path, shows } = PAGES[name];
    assert.equal((await page.goto(path)).status(), 200);
    const text = await page.locator("main").innerText();
    for (const words of shows) assert.ok(text.includes(words), `"${words}" is not on the page:\n${text}`);
    if (!name.startsWith("build-")) return;
    // It opens in a tab of its own.
    const told = page.context().waitForEvent("response", (answer) => /\/api\/v1\/jobs\/[^/]+\/log$/.test(answer.url()));
    await page.getByRole("link", { name: "Plain log", exact: true }).click();
    const log = await told;
    assert.equal(log.status(), 200);
    assert.match(log.headers()["content-type"], /^text\/plain/);
  });
}

test("somebody signs in and goes to a build by keyboard", LIMIT, async (t) => {
  const { page, faults } = await open(t, { stranger: true });
  await page.goto("/queues");
  await page.waitForURL(/\/login\?next=/);
  await page.keyboard.type(site.token);
  await page.keyboard.press("Enter");
  await page.waitForURL("**/queues");
  await page.goto("/");
  await page.keyboard.press("Tab");
  assert.equal(await focused(page), "Skip to the content");
  await tabTo(page, "acme/harbour");
  await page.keyboard.press("Enter");
  await page.waitForURL(`**${PAGES.project.path}`);
  await tabTo(page, "Build the harbour");
  await page.keyboard.press("Enter");
  await page.waitForURL(`**${PAGES["build-succeeded"].path}`);
  assert.deepEqual(faults, []);
});

test("/ goes to the search of the log, and Esc leaves it", LIMIT, async (t) => {
  const { page, faults } = await open(t);
  await page.goto(PAGES["build-succeeded"].path);
  const search = page.getByRole("searchbox", { name: "Search the log" });
  await search.waitFor();
  const isFocused = () => search.evaluate((input) => document.activeElement === input);
  assert.equal(await isFocused(), false);
  await page.keyboard.press("/");
  assert.equal(await isFocused(), true);
  await page.keyboard.type("a/b");
  assert.equal(await search.inputValue(), "a/b");
  await page.keyboard.press("Escape");
  assert.equal(await isFocused(), false);
  assert.deepEqual(faults, []);
});

/** The text of what has the focus. */
function focused(page) {
  return page.evaluate(() => document.activeElement?.textContent?.trim() ?? "");
}

async function tabTo(page, text) {
  for (let stop = 0; stop < MANY_STOPS; stop += 1) {
    if (await focused(page) === text) return;
    await page.keyboard.press("Tab");
  }
  assert.fail(`"${text}" cannot be reached with Tab`);
}
