// Lists that are searched, and what pages tell of the past: filters, trends, what a build was made of, pools over time.

import assert from "node:assert/strict";
import test from "node:test";

import { AXE, findings } from "./lib/axe.mjs";
import { LIMIT, PHONE, isTooWide, useBrowser } from "./lib/browser.mjs";
import { PAGES, site } from "./lib/site.mjs";

/** Pools are counted once a minute, and the first count may be older than the first builder. */
const SAMPLED_MS = 75_000;

const { open } = useBrowser();

for (const javaScriptEnabled of [true, false]) {
  test(`projects are searched ${javaScriptEnabled ? "with" : "without"} scripts`, LIMIT, async (t) => {
    const { page } = await open(t, { javaScriptEnabled });
    await page.goto("/");
    await page.getByRole("searchbox", { name: "Name or repository" }).fill("QUAY");
    await page.getByRole("button", { name: "Show", exact: true }).click();
    await page.waitForURL(/[?&]q=QUAY(&|$)/);
    assert.deepEqual(await page.locator("#projects tbody tr td:first-child a").allInnerTexts(), ["acme/quay"]);
    await page.getByRole("combobox", { name: "Last build" }).selectOption("succeeded");
    await page.getByRole("button", { name: "Show", exact: true }).click();
    await page.waitForURL(/build=succeeded/);
    assert.equal(await page.getByRole("searchbox").inputValue(), "QUAY", "the form keeps what was asked for");
    assert.match(await page.locator("main").innerText(), /No project fits/);
    await page.getByRole("link", { name: "Clear the filters" }).first().click();
    await page.waitForURL((url) => url.search === "");
    assert.ok(await page.getByRole("link", { name: "acme/harbour" }).isVisible());
  });
}

test("builds of a project are found by branch and state, and its trend follows the branch", LIMIT, async (t) => {
  const { page, faults } = await open(t);
  await page.goto(PAGES.project.path);
  const trend = page.locator("#trend");
  const bars = async () => trend.locator("svg").first().locator("a").count();
  const all = await bars();
  assert.ok(all > 3, `${all} bars`);
  for (const [, words] of (await trend.locator("svg").evaluateAll((pictures) => pictures.map((it) => [it, it.ariaLabel])))) {
    assert.match(words, /\d/, "a picture says its numbers");
  }
  await page.getByRole("searchbox", { name: "Branch or tag" }).fill("main");
  await page.getByRole("combobox", { name: "State" }).selectOption("succeeded");
  await page.getByRole("button", { name: "Show", exact: true }).click();
  await page.waitForURL(/ref=main&state=succeeded/);
  assert.deepEqual(await page.locator("#builds tbody tr td.name a").allInnerTexts(), ["Build the harbour"]);
  assert.ok(await bars() < all, "other branches are left out");
  assert.deepEqual(faults, []);
});

test("a build tells what it was made of and who told of it", LIMIT, async (t) => {
  const { page, faults } = await open(t);
  await page.goto(PAGES["build-succeeded"].path);
  const about = page.getByRole("region", { name: "About this build" });
  assert.match(await about.innerText(), /Platform\s+linux-amd64/);
  await about.getByRole("link", { name: "push" }).click();
  await page.waitForURL(/\/deliveries\/[0-9a-f-]{36}$/);
  await page.goto(`/builds/${site.hostile.build}`);
  const argument = about.getByText(`GREETING=${site.hostile.name}`, { exact: true });
  assert.ok(await argument.isVisible(), "arguments are text");
  assert.deepEqual(faults, []);
});

test("a digest is short to look at and whole to copy", LIMIT, async (t) => {
  const { page } = await open(t, { permissions: ["clipboard-read", "clipboard-write"] });
  await page.goto(PAGES["build-succeeded"].path);
  const row = page.locator("table tr", { has: page.locator("code.digest") }).first();
  const digest = row.locator("code.digest");
  assert.equal(await digest.evaluate((it) => it.scrollWidth > it.clientWidth), true);
  await row.getByRole("button", { name: "Copy" }).last().click();
  assert.match(await page.evaluate(() => navigator.clipboard.readText()), /^sha256:[0-9a-f]{64}$/);
});

test("what a reader opened stays open while the page keeps itself fresh", LIMIT, async (t) => {
  const { page } = await open(t);
  await page.goto(PAGES["build-running"].path);
  const steps = page.locator("details.steps");
  await steps.locator("summary").click();
  await page.locator("h1").click();
  const again = () => page.waitForResponse((answer) => answer.url().endsWith(PAGES["build-running"].path));
  await again();
  await again();
  assert.equal(await steps.evaluate((it) => it.open), true);
  assert.ok(await page.getByRole("button", { name: "Copy", exact: true }).first().isVisible());
});

test("pools are drawn over time", { timeout: LIMIT.timeout + SAMPLED_MS }, async (t) => {
  const { page, faults } = await open(t, { scripts: [AXE] });
  await page.goto("/builders");
  const pools = page.getByRole("region", { name: "Slots against demand" });
  const picture = pools.getByRole("img").first();
  await picture.waitFor({ timeout: SAMPLED_MS });
  assert.match(await picture.getAttribute("aria-label"), /linux-amd64: At most \d+ jobs? wanted a slot/);
  assert.match(await picture.locator("path.slots").getAttribute("d"), /^M\d+ \d+V\d+H\d+/);
  await pools.getByRole("link", { name: "24 hours" }).click();
  await page.waitForURL(/hours=24/);
  assert.match(await pools.innerText(), /24 hours ago/);
  assert.deepEqual(await findings(page, "builders"), []);
  await page.setViewportSize(PHONE);
  assert.equal(await isTooWide(page), false);
  assert.deepEqual(faults, []);
});
