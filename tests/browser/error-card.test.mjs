// What stands on top of a build's page: where it failed, what can be copied, and what is to be known beside that.

import assert from "node:assert/strict";
import test from "node:test";

import { LIMIT, PHONE, isTooWide, useBrowser } from "./lib/browser.mjs";
import { PAGES, site } from "./lib/site.mjs";

const { open } = useBrowser();

/** What is copied by the button right behind an element. */
async function copied(page, element) {
  await page.evaluate(() => navigator.clipboard.writeText(""));
  await element.locator("xpath=following-sibling::*[1][self::button]").click();
  return page.evaluate(() => navigator.clipboard.readText());
}

test("the card names the file and line of the Dockerfile, and both are copied", LIMIT, async (t) => {
  const { page, faults } = await open(t, { permissions: ["clipboard-read", "clipboard-write"] });
  await page.goto(PAGES["build-warned"].path);
  const card = page.locator(".failure");
  const place = card.getByText("docker/Dockerfile:14", { exact: true });
  assert.equal(await copied(page, place), "docker/Dockerfile:14");
  const excerpt = card.getByLabel("Dockerfile", { exact: true });
  const text = await copied(page, excerpt);
  assert.equal(text, await excerpt.evaluate((it) => it.textContent), "what is seen is what is copied");
  assert.match(text, /^>\s+14 RUN make rig$/m);
  assert.match(text, /^\s+13 # script: fail exit 7$/m);
  assert.deepEqual(faults, []);
});

test("the command that builds it elsewhere is in the card, and is copied", LIMIT, async (t) => {
  const { page, faults } = await open(t, { permissions: ["clipboard-read", "clipboard-write"] });
  await page.goto(PAGES["build-warned"].path);
  const command = page.locator(".failure dd").getByText(/^docker build /);
  const words = await copied(page, command);
  assert.match(words, /^docker build .*\/acme\/lighthouse\.git#[0-9a-f]{40}'?$/);
  assert.equal(words, await page.locator("section.about").getByText(/^docker build /).innerText(), "both say the same");
  await page.setViewportSize(PHONE);
  assert.equal(await isTooWide(page), false, "the page scrolls sideways");
  assert.deepEqual(faults, []);
});

test("a file in the root is named as well", LIMIT, async (t) => {
  const { page } = await open(t);
  await page.goto(PAGES["build-failed"].path);
  assert.match(await page.locator(".failure dl").innerText(), /Dockerfile\s+Dockerfile:7/);
});

test("what the log does not hold is no error, and leads to where it is missing", LIMIT, async (t) => {
  const { page, faults } = await open(t);
  await page.goto(PAGES["build-warned"].path);
  const remarks = page.locator("[id^=remarks-]");
  const words = await remarks.innerText();
  assert.match(words, /The log is longer than the plan allows: .* \d+\.\d KiB between them are left out/);
  assert.match(words, /The Docker engine cut what these steps wrote: #\d+\./);
  assert.equal(await page.locator(".failure").getByText("left out").count(), 0);
  const colour = (element) => element.evaluate((it) => getComputedStyle(it).borderLeftColor);
  assert.notEqual(await colour(remarks.locator("p").first()), await colour(page.locator(".failure")), "it is as red as the failure");
  const link = remarks.locator("p a").first();
  const step = (await link.getAttribute("href")).match(/^#s(\d+):L1$/)[1];
  await link.click();
  await page.locator(`.log .row.target`).first().waitFor();
  assert.match(await page.locator(`tr[data-step="${step}"] .name`).innerText(), /RUN make rig/);
  assert.deepEqual(faults, []);
});

test("the first warnings are shown with their lines, the others counted", LIMIT, async (t) => {
  const { page } = await open(t);
  await page.goto(PAGES["build-warned"].path);
  const warnings = page.locator(".warnings");
  assert.equal(await warnings.getByRole("heading").innerText(), "6 warnings");
  const rows = await warnings.getByRole("listitem").allInnerTexts();
  assert.equal(rows.length, 5, "what is said twice is told once");
  assert.match(rows[0], /^docker\/Dockerfile:1 Base image is not pinned by a digest/);
  assert.match(await warnings.innerText(), /and 1 more in the log$/);
  await page.setViewportSize(PHONE);
  assert.equal(await isTooWide(page), false, "the page scrolls sideways");
});

test("a build that succeeded has neither a card nor remarks", LIMIT, async (t) => {
  const { page } = await open(t);
  await page.goto(PAGES["build-succeeded"].path);
  assert.equal(await page.locator(".failure, .warnings").count(), 0);
  assert.equal((await page.locator("[id^=remarks-]").innerText()).trim(), "");
});

test("hostile paths and warnings are text", LIMIT, async (t) => {
  const { page, faults } = await open(t);
  await page.goto(`/builds/${site.hostile.build}`);
  assert.match(await page.locator(".warnings").innerText(), /^1 warning$/m);
  assert.ok((await page.locator(".warnings li").innerText()).includes(site.hostile.step));
  assert.ok((await page.locator(".failure dl").innerText()).includes(`${site.hostile.file}:5`));
  assert.equal(await page.evaluate(() => window.__xss), undefined);
  assert.deepEqual(faults, []);
});
