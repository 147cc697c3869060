// Dark and light as the reader chooses, whatever the system's theme is.

import assert from "node:assert/strict";
import test from "node:test";

import { AXE, findings } from "./lib/axe.mjs";
import { LIMIT, showsLog, useBrowser } from "./lib/browser.mjs";
import { PAGES } from "./lib/site.mjs";

const { open } = useBrowser();

const WORDS = { en: { light: "Light", dark: "Dark", system: "System" }, "zh-CN": { light: "浅色", dark: "深色", system: "跟随系统" } };
const LOG = PAGES["build-failed"];

/** How bright the page and its text are, from 0 to 255. */
function brightness(page) {
  return page.evaluate(() => {
    const { backgroundColor, color } = getComputedStyle(document.body);
    const bright = (rgb) => rgb.match(/\d+/g).slice(0, 3).reduce((sum, part) => sum + Number(part), 0) / 3;
    return { page: bright(backgroundColor), text: bright(color) };
  });
}

async function looks(page, theme) {
  const { page: back, text } = await brightness(page);
  assert.equal(back < text ? "dark" : "light", theme);
}

for (const [locale, words] of Object.entries(WORDS)) {
  for (const [system, chosen] of [["light", "dark"], ["dark", "light"]]) {
    test(`${chosen} is chosen under a ${system} system in ${locale}`, LIMIT, async (t) => {
      const { page, faults } = await open(t, { locale, colorScheme: system, scripts: [AXE], reducedMotion: "reduce" });
      await page.goto("/deliveries?state=done");
      await looks(page, system);
      await page.getByRole("button", { name: words[chosen], exact: true }).click();
      await page.locator(`html[data-theme=${chosen}]`).waitFor();
      assert.match(page.url(), /\/deliveries\?state=done$/);
      await looks(page, chosen);
      await page.goto(LOG.path);
      await showsLog(page);
      await looks(page, chosen);
      assert.deepEqual(await findings(page, "build-failed"), []);
      assert.deepEqual(faults, []);
    });
  }
}

test("a theme is chosen without scripts, and the system's again", LIMIT, async (t) => {
  const { page } = await open(t, { javaScriptEnabled: false, colorScheme: "light" });
  const { dark, system } = WORDS.en;
  await page.goto("/queues");
  await page.getByRole("button", { name: dark, exact: true }).click();
  await page.waitForURL("**/queues");
  assert.equal(await page.locator("html").getAttribute("data-theme"), "dark");
  assert.equal(await page.getByRole("button", { name: dark, exact: true }).getAttribute("aria-pressed"), "true");
  const [kept] = (await page.context().cookies()).filter((cookie) => cookie.name === "slipway-theme");
  assert.deepEqual([kept.value, kept.httpOnly, kept.sameSite], ["dark", true, "Lax"]);
  await page.getByRole("button", { name: system, exact: true }).click();
  await page.waitForURL("**/queues");
  assert.equal(await page.locator("html").getAttribute("data-theme"), null);
});

/** How bright most of a picture is, and what differs most from that, from 0 to 255. `eyes` is any page with scripts. */
async function brightnessOf(picture, eyes) {
  return eyes.evaluate(async (data) => {
    const bitmap = await createImageBitmap(await (await fetch(`data:image/png;base64,${data}`)).blob());
    const canvas = new OffscreenCanvas(bitmap.width, bitmap.height).getContext("2d");
    canvas.drawImage(bitmap, 0, 0);
    const { data: bytes } = canvas.getImageData(0, 0, bitmap.width, bitmap.height);
    const counts = new Array(256).fill(0);
    for (let at = 0; at < bytes.length; at += 4) counts[Math.round((bytes[at] + bytes[at + 1] + bytes[at + 2]) / 3)] += 1;
    const back = counts.indexOf(Math.max(...counts));
    const [darkest, brightest] = [counts.findIndex(Boolean), counts.findLastIndex(Boolean)];
    return { back, text: back - darkest > brightest - back ? darkest : brightest };
  }, picture.toString("base64"));
}

for (const [system, chosen] of [["light", undefined], ["dark", undefined], ["light", "dark"], ["dark", "light"]]) {
  test(`without scripts the log is read in ${chosen ?? "no chosen theme"} under a ${system} system`, LIMIT, async (t) => {
    const { page } = await open(t, { javaScriptEnabled: false, colorScheme: system });
    const { page: eyes } = await open(t);
    await page.goto(LOG.path);
    if (chosen) {
      await page.getByRole("button", { name: WORDS.en[chosen], exact: true }).click();
      await page.locator(`html[data-theme=${chosen}]`).waitFor();
    }
    await page.frameLocator("iframe.plain").getByText("00000025 ").first().waitFor({ state: "attached" });
    const { back, text } = await brightnessOf(await page.locator("iframe.plain").screenshot(), eyes);
    const isDark = (chosen ?? system) === "dark";
    assert.ok(isDark ? back < 50 && text > 180 : back > 205 && text < 75, `the page is ${back}, the text ${text}`);
  });
}

test("a log's colours follow the theme", LIMIT, async (t) => {
  const { page } = await open(t, { colorScheme: "light" });
  await page.goto(LOG.path);
  const red = () => page.evaluate(() => {
    const run = document.createElement("span");
    run.className = "f-1 b-4";
    document.querySelector("[role=log]").append(run);
    const { color, backgroundColor } = getComputedStyle(run);
    run.remove();
    return [color, backgroundColor];
  });
  const light = await red();
  await page.getByRole("button", { name: WORDS.en.dark, exact: true }).click();
  await page.locator("html[data-theme=dark]").waitFor();
  const dark = await red();
  assert.ok(light[0] !== dark[0] && light[1] !== dark[1], `${light} ${dark}`);
});

test("a theme that is chosen in another tab comes to a page that lives", LIMIT, async (t) => {
  const { page } = await open(t, { colorScheme: "light" });
  await page.goto(PAGES["build-running"].path);
  const other = await page.context().newPage();
  await other.goto("/queues");
  await other.getByRole("button", { name: WORDS.en.dark, exact: true }).click();
  await other.locator("html[data-theme=dark]").waitFor();
  await page.locator("html[data-theme=dark]").waitFor();
});
