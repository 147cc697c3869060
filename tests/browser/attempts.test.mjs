// The log of one attempt, and how all lines of a log are reached without scripts.

import assert from "node:assert/strict";
import test from "node:test";

import { LIMIT, useBrowser } from "./lib/browser.mjs";
import { PAGES, site } from "./lib/site.mjs";
import { LONG, openLog } from "./lib/viewer.mjs";

const { open } = useBrowser();

test("a page of an attempt asks for the log of that attempt only", LIMIT, async (t) => {
  const { page, faults } = await open(t);
  const asked = [];
  page.on("request", (request) => { if (/\/log\/(outline|lines|search|stream)/.test(request.url())) asked.push(new URL(request.url())); });
  await page.goto(PAGES["build-failed"].path);
  await page.getByRole("link", { name: "Log of attempt 1" }).click();
  await page.waitForURL("**?attempt=1#log-title-*");
  asked.length = 0;
  await page.reload();
  await page.locator("[role=log] [data-row]").first().waitFor();
  const search = page.getByRole("search");
  await search.getByRole("searchbox").fill("exit code");
  await page.keyboard.press("Enter");
  await search.getByRole("status").getByText(/\d/).waitFor();
  for (const part of ["outline", "lines", "search"]) {
    const epochs = asked.filter(({ pathname }) => pathname.endsWith(part)).map(({ searchParams }) => searchParams.get("epoch"));
    assert.ok(epochs.length > 0 && epochs.every((epoch) => epoch === "1"), `${part}: ${epochs}`);
  }
  assert.match(await page.getByRole("link", { name: "Download", exact: true }).getAttribute("href"), /log\.log\?epoch=1$/);
  assert.match(await page.getByRole("link", { name: /zstd/ }).getAttribute("href"), /log\.zst\?epoch=1$/);
  assert.deepEqual(faults, []);
});

test("a link to lines says of which attempt they are", LIMIT, async (t) => {
  const { page } = await open(t, { permissions: ["clipboard-read", "clipboard-write"] });
  await openLog(page, "long", `#s${LONG.step}:L20`);
  await page.getByRole("button", { name: "Copy link", exact: true }).click();
  await page.waitForFunction(async () => /^http.*\?attempt=1#s\d+:L20$/.test(await navigator.clipboard.readText()));
});

test("without scripts links lead to the middle of a log", LIMIT, async (t) => {
  const { page } = await open(t, { javaScriptEnabled: false });
  await page.goto(`/builds/${site.builds.long}`);
  const has = (line) => page.frameLocator("iframe.plain").getByText(`${String(line).padStart(8, "0")} `).first().waitFor({ state: "attached" });
  await page.getByRole("link", { name: "The first 500 lines" }).click();
  await page.getByRole("link", { name: "Later lines" }).click();
  await page.waitForURL("**?from=501#*");
  await has(600);
  await page.getByRole("link", { name: "Earlier lines" }).click();
  await page.waitForURL("**?from=1#*");
  assert.equal(await page.getByRole("link", { name: "Earlier lines" }).count(), 0);
  await page.getByRole("link", { name: `#${LONG.step}`, exact: true }).click();
  await page.waitForURL(`**?step=${LONG.step}#*`);
  await has(1);
  await page.getByRole("link", { name: "Later lines" }).click();
  await has(501);
});

test("without scripts the picture of the steps leads to their lines", LIMIT, async (t) => {
  const { page } = await open(t, { javaScriptEnabled: false });
  await page.goto(PAGES["build-failed"].path);
  await page.locator("svg.timeline a[href='#s7:L1']").click();
  const step = page.locator(".pager :target");
  await step.click();
  await page.waitForURL(/\?step=\d+#/);
  await page.frameLocator("iframe.plain").getByText("00000025 ").first().waitFor({ state: "attached" });
});
