// Every main page under its policy, for everybody in both themes, and on a phone.

import assert from "node:assert/strict";
import test from "node:test";

import { AXE, isForEverybody } from "./lib/axe.mjs";
import { LIMIT, showsLog, useBrowser } from "./lib/browser.mjs";
import { PAGES, visit } from "./lib/site.mjs";

const { open } = useBrowser();

for (const [name, which] of Object.entries(PAGES)) {
  const { shows, log, stranger, newcomer, status = 200 } = which;
  test(`page ${name}`, LIMIT, async (t) => {
    const { page, faults } = await open(t, { stranger, newcomer, scripts: [AXE], reducedMotion: "reduce" });

    await t.test("loads under its policy", async () => {
      const answer = await visit(page, which);
      assert.equal(answer.status(), status);
      assert.match(answer.headers()["content-security-policy"] ?? "", /default-src 'self'/);
      const text = await page.locator("main").innerText();
      for (const words of shows) assert.ok(text.includes(words), `"${words}" is not on the page:\n${text}`);
      if (log) await showsLog(page);
    });
    await isForEverybody(t, page, name);
    assert.deepEqual(faults.filter((fault) => status === 200 || !fault.includes(`status of ${status}`)), []);
  });
}

test("page of the API's documentation", LIMIT, async (t) => {
  const { page, faults } = await open(t);
  const answer = await page.goto("/api/docs/");
  assert.match(answer.headers()["content-security-policy"] ?? "", /default-src 'self'/);
  await page.getByText("/api/v1/projects").first().waitFor();
  assert.deepEqual(faults, []);
});
