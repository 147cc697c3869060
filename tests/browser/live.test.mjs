// A build that runs is followed without loading its page again.

import assert from "node:assert/strict";
import test from "node:test";

import { LIMIT, useBrowser } from "./lib/browser.mjs";
import { PAGES, site } from "./lib/site.mjs";

const { open } = useBrowser();

test("the log of a running build grows by itself", LIMIT, async (t) => {
  const { page, faults } = await open(t);
  const loads = [];
  page.on("load", () => loads.push(page.url()));
  await page.goto(PAGES["build-running"].path);
  const first = await lastLine(page, "");
  const second = await lastLine(page, first);
  assert.notEqual(first, second);
  assert.equal(loads.length, 1, "the page was loaded again");
  assert.deepEqual(faults, []);
});

test("what has the focus is kept fresh, and keeps it", LIMIT, async (t) => {
  const { page, faults } = await open(t, { permissions: ["clipboard-read", "clipboard-write"] });
  await page.goto(PAGES["build-running"].path);
  const state = page.locator("#summary [role=status]");
  await state.getByText("Running").waitFor();
  const copy = page.locator("#summary").getByRole("button", { name: "Copy", exact: true });
  await copy.click();
  await page.locator("#summary").getByRole("button", { name: "Copied", exact: true }).waitFor();
  await ends(page);
  await state.getByText("Succeeded").waitFor();
  assert.ok(await copy.evaluate((button) => button === document.activeElement), "the focus is lost");
  assert.deepEqual(faults, []);
});

test("a form that is filled in is kept until the reader leaves it", LIMIT, async (t) => {
  const { page, faults } = await open(t);
  await page.goto(PAGES["build-running"].path);
  const state = page.locator("#summary [role=status]");
  await state.getByText("Running").waitFor();
  await page.evaluate(() => {
    const field = document.createElement("input");
    document.getElementById("summary").append(field);
    field.focus();
  });
  await page.keyboard.type("half a word");
  await ends(page);
  await page.waitForFunction(() => document.title.startsWith("Succeeded"));
  assert.equal(await page.locator("#summary input").inputValue(), "half a word");
  assert.match(await state.innerText(), /Running/);
  await page.evaluate(() => document.activeElement.blur());
  await state.getByText("Succeeded").waitFor();
  assert.deepEqual(faults, []);
});

test("a language that is chosen in another tab is that of the whole page", LIMIT, async (t) => {
  const { page } = await open(t);
  await page.goto(PAGES["build-running"].path);
  const other = await page.context().newPage();
  await other.goto("/queues");
  await other.getByRole("button", { name: "简体中文" }).click();
  await other.locator("html[lang=zh-CN]").waitFor();
  await page.evaluate(() => document.dispatchEvent(new Event("visibilitychange"))).catch(() => {});
  await page.locator("html[lang=zh-CN]").waitFor();
  await page.getByRole("button", { name: "按步骤显示" }).or(page.getByRole("button", { name: "按顺序显示所有行" })).waitFor();
});

/** From now on the server tells that the running build has succeeded. */
async function ends(page) {
  await page.route(new RegExp(`/builds/${site.builds.running}$`), async (route) => {
    const answer = await route.fetch();
    const html = (await answer.text()).replace(/<title>Running/, "<title>Succeeded")
      .replace(/(<p role="status">[\s\S]*?)Running/, "$1Succeeded").replace(/ data-refresh-ms="\d+"/, "");
    await route.fulfill({ response: answer, body: html });
  });
  await page.evaluate(() => document.dispatchEvent(new Event("visibilitychange")));
}

/** The last whole line of the log as it is shown, once it is another than `seen`. */
async function lastLine(page, seen) {
  const handle = await page.waitForFunction((before) => {
    // Lines of the scripted engine: a number and a mark of it.
    const lines = document.querySelector("[role=log]")?.innerText.match(/\d{8} [0-9a-f]{16}/g) ?? [];
    const last = lines.at(-1);
    return last && last !== before ? last : null;
  }, seen);
  return handle.jsonValue();
}
