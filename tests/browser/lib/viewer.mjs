// What tests do with the log on a build's page, and see of it.

import assert from "node:assert/strict";

import { PATIENCE_MS } from "./browser.mjs";
import { site } from "./site.mjs";

/** The step of the long build that says nearly everything, its lines, and the bytes that they have at least. */
export const LONG = { step: 5, lines: 1_000_000, bytes: 120_000_000 };

/** A build's page once its log has rows; `hash` is a place in the log. */
export async function openLog(page, build, hash = "") {
  await page.goto(`/builds/${site.builds[build]}${hash}`);
  await page.locator("[role=log] [data-row]").first().waitFor();
  return page.getByRole("log");
}

/** The head of a step among the rows. */
export const head = (page, step) => page.locator(`.log-rows button.step[data-step="${step}"]`);

/** Which steps the log has, and whether they are open. */
export function steps(page) {
  return page.evaluate(() => [...document.querySelectorAll(".log-rows button.step")]
    .map((button) => [Number(button.dataset.step), button.ariaExpanded === "true"]));
}

/** The lines in sight: what names them, their text, and whether a step's head covers them. */
export function seen(page) {
  return page.evaluate(() => window.seenLines());
}

/** Waits until what is in sight is as it is wanted, looking once in each frame; what it is then. */
export async function sees(page, wanted, what = "what is wanted") {
  const until = Date.now() + PATIENCE_MS;
  for (;;) {
    const lines = await seen(page);
    if (lines.length > 0 && wanted(lines)) return lines;
    const words = lines.map(({ key, text }) => `${key} ${text}`).join("\n");
    assert.ok(Date.now() < until, `the log does not show ${what}, but:\n${words}`);
    await frame(page);
  }
}

/** Waits until the page has drawn. */
export function frame(page) {
  return page.evaluate(() => new Promise((drawn) => { requestAnimationFrame(() => requestAnimationFrame(drawn)); }));
}

/** Goes into the page before its own scripts. */
export const EYES = `window.seenLines = () => {
  const box = document.querySelector("[role=log]");
  if (!box) return [];
  const edge = box.getBoundingClientRect();
  const under = box.querySelector(".log-sticky > *")?.getBoundingClientRect().bottom ?? edge.top;
  return [...box.querySelectorAll(".log-rows .row:not(.pinned)")].filter((row) => {
    const place = row.getBoundingClientRect();
    return place.bottom > edge.top + 1 && place.top < edge.bottom - 1;
  }).map((row) => ({ key: row.dataset.row, text: row.querySelector(".text").textContent, target: row.classList.contains("target"),
    covered: row.getBoundingClientRect().top < under - 1 }));
};`;

/** Turns the wheel over the log by so many pixels, and waits until the page has drawn. */
export async function wheel(page, pixels) {
  await page.getByRole("log").hover({ position: { x: 200, y: 60 } });
  await page.mouse.wheel(0, pixels);
  await frame(page);
}

/** Moves the scrollbar to a share of its way. */
export function dragTo(page, share) {
  return page.evaluate((to) => {
    const box = document.querySelector("[role=log]");
    box.scrollTop = to * (box.scrollHeight - box.clientHeight);
  }, share);
}

export const countRows = (page) => page.locator("[role=log] [data-row]").count();

/** The address of a build's log. */
export const logUrl = (page) => page.getByRole("log").getAttribute("data-log");
