// Every main page under its policy, for everybody in both themes, and on a phone.

import assert from "node:assert/strict";
import test from "node:test";

import { AXE, isForEverybody } from "./lib/axe.mjs";
import { LIMIT, showsLog, useBrowser } from "./lib/browser.mjs";
import { PAGES } from "./lib/site.mjs";

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
    await isForEverybody(t, page, name);
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
