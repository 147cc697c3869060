// Axe's findings on a page, without those that are excepted here with a reason.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

import { PHONE, isTooWide } from "./browser.mjs";

/** Axe as a script that is there before the page's own; the page's policy would not let it in later. */
export const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/** Findings that somebody has to mend: rule, pages, why it stands. */
const EXCEPTED = [];

const GRAVE = ["serious", "critical"];

/** The grave findings, in words; empty is good. */
export async function findings(page, name) {
  const violations = await page.evaluate(async () => (await window.axe.run(document, { resultTypes: ["violations"] })).violations);
  const isExcepted = (rule) => EXCEPTED.some((it) => it.rule === rule && it.pages.includes(name));
  return violations
    .filter((found) => GRAVE.includes(found.impact) && !isExcepted(found.id))
    .map((found) => `${found.impact} ${found.id}: ${found.help}\n${found.nodes.slice(0, 5).map(place).join("\n")}`);
}

/** Tests of a loaded page: no grave findings in both themes, and it fits a phone, whose size it has from then on. */
export async function isForEverybody(t, page, name) {
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
}

function place(node) {
  return `  ${node.target.join(" ")}: ${node.any.concat(node.all, node.none).map((check) => check.message).join("; ")}`;
}
