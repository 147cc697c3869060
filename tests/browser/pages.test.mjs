// Every main page under its policy, for everybody in both themes, and on a phone.

import assert from "node:assert/strict";
import test from "node:test";

import { AXE, findings } from "./lib/axe.mjs";
import { LIMIT, isTooWide, showsLog, useBrowser } from "./lib/browser.mjs";
import { PAGES } from "./lib/site.mjs";

const PHONE = { width: 360, height: 740 };

const { open } = useBrowser();

for (const [name, { path, shows, log, stranger }] of Object.entries(PAGES)) {
  test(`page ${name}`, LIMIT, async (t) => {
    const { page, faults } = await open(t, { stranger, scripts: [AXE], reducedMotion: "reduce" });

    await t.test("loads under its policy", async () => {
      const answer = await page.goto(path);
      assert.equal(answer.status(), 200);
      assert.match(answer.headers()["content-security-policy"] ?? "", /default-src 'self'/);
      const text = await page.locator("main").innerText();
      for (const words of shows) assert.ok(text.includes(words), `"${words}" is not on the page:\n${text}`);
      if (log) await showsLog(page);
    });
    for (const colorScheme of ["light", "dark"]) {
      await t.test(`has no grave findings of axe when ${colorScheme}`, async () => {
        await page.emulateMedia({ colorScheme });
        assert.deepEqual(await findings(page, name), []);
      });
    }
    await t.test("fits a phone", async () => {
      await page.setViewportSize(PHONE);
      assert.equal(await isTooWide(page), false, "the page scrolls sideways");
    });
    assert.deepEqual(faults, []);
  });
}

test("page of the API's documentation", LIMIT, async (t) => {
  const { page, faults } = await open(t);
  const answer = await page.goto("/api/docs/");
  assert.match(answer.headers()["content-security-policy"] ?? "", /default-src 'self'/);
  await page.getByText("/api/v1/projects").first().waitFor();
  assert.deepEqual(faults, []);
});
