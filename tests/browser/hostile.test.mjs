// Texts that strangers choose are shown as they are, and nothing of them runs.

import assert from "node:assert/strict";
import test from "node:test";

import { LIMIT, PHONE, isTooWide, useBrowser } from "./lib/browser.mjs";
import { site } from "./lib/site.mjs";

const { hostile } = site;

const { open } = useBrowser();

const PLACES = {
  home: ["/", [hostile.name, hostile.branch]],
  project: [`/projects/${hostile.project}`, [hostile.name, hostile.branch, hostile.message, hostile.file]],
  build: [`/builds/${hostile.build}`, [hostile.name, hostile.branch, hostile.message, hostile.person, hostile.step, `${hostile.file}:5`]],
  deliveries: [`/deliveries?project=${hostile.project}`, [hostile.name]],
};

/** Those that run; texts for them are data. */
const countScripts = (page) => page.locator("script:not([type='application/json'])").count();

for (const [name, [path, texts]] of Object.entries(PLACES)) {
  test(`page ${name} shows hostile texts and runs none`, LIMIT, async (t) => {
    const { page, faults } = await open(t);
    await page.goto(path);
    if (name === "build") {
      // The error of the failed step repeats its command.
      await page.getByRole("log").getByText("window.__xss=1").first().waitFor();
    }
    const text = await page.locator("main").innerText();
    for (const words of texts) assert.ok(text.includes(words), `"${words}" is not on the page:\n${text}`);
    assert.equal(await page.evaluate(() => window.__xss), undefined);
    assert.equal(await countScripts(page), 1, "scripts on the page");
    await page.setViewportSize(PHONE);
    assert.equal(await isTooWide(page), false, "the page scrolls sideways");
    assert.equal(await page.locator("img[src=x], svg[onload], [onerror]").count(), 0, "elements made of text");
    assert.deepEqual(faults, []);
  });
}

test("a delivery shows its hostile payload and runs nothing", LIMIT, async (t) => {
  const { page, faults } = await open(t);
  await page.goto(`/deliveries?project=${hostile.project}`);
  await page.getByRole("link", { name: "push", exact: true }).first().click();
  await page.waitForURL(/\/deliveries\/[^?]+$/);
  await page.getByText("window.__xss=1").first().waitFor();
  assert.equal(await page.evaluate(() => window.__xss), undefined);
  assert.equal(await countScripts(page), 1, "scripts on the page");
  assert.deepEqual(faults, []);
});
