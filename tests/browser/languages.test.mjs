// The pages in both languages: which one somebody gets, how they choose another, and that nothing is left over.

import assert from "node:assert/strict";
import test from "node:test";

import { AXE, isForEverybody } from "./lib/axe.mjs";
import { LIMIT, showsLog, useBrowser } from "./lib/browser.mjs";
import { PAGES, site, visit } from "./lib/site.mjs";

const CHINESE = "zh-CN";
const HEADING = { en: "Queues", [CHINESE]: "队列" };
/** What labels are made of that no language of ours translates: names, units, and what the field writes in English. */
const NAMES = new Set([
  "Slipway", "API", "English", "https", "GitHub", "GitLab", "CPU", "ID", "Webhook", "Dockerfile", "Shields", "JSON", "Markdown", "SVG", "Enter",
  "Shift", "CACHED", "RUN", "FROM", "COPY", "stderr", "App", "UTC", "min", "GB", "MB", "kB", "KB", "GiB", "MiB", "KiB", "TB", "TiB", "main",
]);

const { open } = useBrowser();

test("a page speaks as the browser asks", LIMIT, async (t) => {
  for (const [locale, lang] of [["en-US", "en"], ["zh-CN", CHINESE], ["zh-TW", CHINESE], ["fr-FR", "en"]]) {
    const { page, faults } = await open(t, { locale });
    const answer = await page.goto("/queues");
    assert.equal(answer.headers()["content-language"], lang, locale);
    assert.equal(await page.locator("html").getAttribute("lang"), lang, locale);
    assert.equal(await page.locator("h1").innerText(), HEADING[lang], locale);
    assert.deepEqual(faults, []);
  }
});

test("a reader chooses a language without scripts and stays on the page", LIMIT, async (t) => {
  const { page } = await open(t, { javaScriptEnabled: false });
  await page.goto("/deliveries?state=done");
  await page.getByRole("button", { name: "简体中文" }).click();
  await page.waitForURL("**/deliveries?state=done");
  assert.equal(await page.locator("h1").innerText(), "投递");
  await page.goto("/queues");
  assert.equal(await page.locator("h1").innerText(), HEADING[CHINESE], "it is kept");
  const [chosen] = (await page.context().cookies()).filter((cookie) => cookie.name === "slipway-language");
  assert.deepEqual([chosen.value, chosen.httpOnly, chosen.sameSite], [CHINESE, true, "Lax"]);
  await page.getByRole("button", { name: "English" }).click();
  await page.waitForURL("**/queues");
  assert.equal(await page.locator("h1").innerText(), HEADING.en);
});

test("a stranger chooses a language, too, and on a page that is missing", LIMIT, async (t) => {
  const { page } = await open(t, { stranger: true });
  await page.goto("/login?next=%2Fqueues");
  await page.getByRole("button", { name: "简体中文" }).click();
  await page.waitForURL("**/login?next=%2Fqueues");
  assert.equal(await page.getByRole("heading", { level: 1 }).innerText(), "登录");
  const missing = "/projects/018f0000-0000-7000-8000-000000000000";
  await page.goto(missing);
  assert.equal(await page.locator("h1").innerText(), "页面不存在");
  await page.getByRole("button", { name: "English" }).click();
  await page.waitForURL(`**${missing}`);
  assert.equal(await page.locator("h1").innerText(), "Not Found");
});

for (const [name, which] of Object.entries(PAGES)) {
  const { log, stranger, newcomer, status = 200 } = which;
  test(`page ${name} in Chinese`, LIMIT, async (t) => {
    const { page, faults } = await open(t, { stranger, newcomer, locale: CHINESE, scripts: [AXE], reducedMotion: "reduce" });
    assert.equal((await visit(page, which)).status(), status);
    if (log) await showsLog(page);
    await t.test("has no labels that are left over", async () => {
      const left = (await labels(page)).filter((label) => !isChinese(label) && isSpoken(label));
      assert.deepEqual(left, []);
    });
    await t.test("has no key without a text", async () => {
      assert.doesNotMatch(await page.locator("body").innerText(), /\b(?:word|state|js|build|project|home|queues|builders)-[a-z]+-[a-z-]+\b/);
    });
    await isForEverybody(t, page, name);
    assert.deepEqual(faults.filter((fault) => status === 200 || !fault.includes(`status of ${status}`)), []);
  });
}

test("the log's words are Chinese, and numbers are written in full", LIMIT, async (t) => {
  const { page, faults } = await open(t, { locale: CHINESE });
  await page.goto(PAGES["build-long"].path);
  await showsLog(page);
  await page.locator("[data-log]").focus();
  await page.keyboard.press("?");
  assert.match(await page.getByRole("dialog").innerText(), /快捷键[\s\S]*跟随末尾/);
  await page.keyboard.press("Escape");
  const search = page.getByRole("search");
  await search.getByRole("searchbox").fill("no such words at all");
  await page.keyboard.press("Enter");
  await search.getByRole("status").getByText("整个日志中没有找到").waitFor();
  assert.deepEqual(faults, []);
});

/** What names things on the page; what comes from builders, forges and people is marked as English or is no label. */
function labels(page) {
  return page.evaluate(() => {
    const isOurs = (element) => !element.closest("[lang=en], code, pre, .log-rows, noscript");
    const own = (element) => {
      const copy = element.cloneNode(true);
      for (const part of copy.querySelectorAll("code, pre, [lang=en], .mono")) part.remove();
      return copy.textContent ?? "";
    };
    const said = [...document.querySelectorAll("th, dt, h2, h3, button, label, summary, nav a, caption, legend, .state, p.quiet, option")]
      .filter((element) => isOurs(element) && element.checkVisibility())
      .map(own);
    const named = ["aria-label", "placeholder", "data-label", "title"].flatMap((name) =>
      [...document.querySelectorAll(`[${name}]`)].filter(isOurs).map((element) => element.getAttribute(name) ?? ""));
    return [...said, ...named].map((text) => text.trim()).filter(Boolean);
  });
}

/** @param {string} label */
function isChinese(label) {
  return /\p{Script=Han}/u.test(label);
}

/** True if there are words in it that are no names. @param {string} label */
function isSpoken(label) {
  // Paths, names of repositories, ids and times are no words.
  const words = label.split(/[\s,:;()]+/).filter((word) => /^[A-Za-z]{2,}$/.test(word));
  return words.some((word) => !NAMES.has(word) && !site.token.includes(word));
}
