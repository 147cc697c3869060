// Texts that strangers choose are shown as they are, and nothing of them runs.

import assert from "node:assert/strict";
import test from "node:test";

import { LIMIT, PHONE, isTooWide, useBrowser } from "./lib/browser.mjs";
import { site } from "./lib/site.mjs";
import { logUrl } from "./lib/viewer.mjs";

const { hostile } = site;
const { corpus } = hostile;

const { open: openPage } = useBrowser();

/** Goes into the page before its own scripts: what it has of its own before anything runs, and what tests put there. */
const GLOBALS = "window.isOwn = ((names) => (name) => names.has(name))(new Set([...Object.getOwnPropertyNames(window), \"isOwn\", \"tellViolation\", \"__playwright__binding__controller__\"]));";
const open = (t, options = {}) => openPage(t, { scripts: [GLOBALS], ...options });

/** Controls of direction, which are shown as that. */
const TURNS = /[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu;
/** What is seen of a text: spaces beside each other are one. */
const seen = (text) => text.replace(TURNS, "\ufffd").replace(/\s+/g, " ").trim();

/** What stands in the page that only a text can have put there. */
const smuggled = (page) => page.evaluate(() => {
  const found = Object.getOwnPropertyNames(window).filter((name) => !window.isOwn(name)).map((name) => `global ${name}`);
  for (const element of document.querySelectorAll("*")) {
    const words = `${element.localName} ${element.className}`;
    if (element.closest("body") && /^(script|style|base|meta|iframe|object|embed|math)$/.test(element.localName)) found.push(words);
    if (element.localName === "img" && !element.getAttribute("src")?.startsWith("/badge/")) found.push(words);
    for (const { name } of element.attributes) if (name.startsWith("on") || name === "autofocus" || name === "srcdoc") found.push(`${words}: ${name}`);
    for (const name of ["href", "src", "action", "formaction"]) {
      const target = element.getAttribute(name);
      if (target !== null && !/^https?:$/.test(new URL(target, location.href).protocol)) found.push(`${words}: ${name}=${target}`);
    }
  }
  return found;
});

const PLACES = {
  home: ["/", [hostile.name, hostile.branch]],
  project: [`/projects/${hostile.project}`, [hostile.name, hostile.branch, hostile.message, hostile.file]],
  build: [`/builds/${hostile.build}`, [hostile.name, hostile.branch, hostile.message, hostile.person, hostile.step, `${hostile.file}:5`]],
  deliveries: [`/deliveries?project=${hostile.project}`, [hostile.name]],
};

/** Those that run; texts for them are data. */
const countScripts = (page) => page.locator("script:not([type='application/json'])").count();

for (const [name, [path, texts]] of Object.entries(PLACES)) {
  test(`page ${name} shows hostile texts and runs none`, LIMIT, async (t) => {
    const { page, faults } = await open(t);
    await page.goto(path);
    if (name === "build") {
      // The error of the failed step repeats its command.
      await page.getByRole("log").getByText("window.__xss=1").first().waitFor();
    }
    const text = await page.locator("main").innerText();
    for (const words of texts) assert.ok(text.includes(words), `"${words}" is not on the page:\n${text}`);
    assert.equal(await page.evaluate(() => window.__xss), undefined);
    assert.equal(await countScripts(page), 1, "scripts on the page");
    await page.setViewportSize(PHONE);
    assert.equal(await isTooWide(page), false, "the page scrolls sideways");
    assert.equal(await page.locator("img[src=x], svg[onload], [onerror]").count(), 0, "elements made of text");
    assert.deepEqual(faults, []);
  });
}

test("a delivery shows its hostile payload and runs nothing", LIMIT, async (t) => {
  const { page, faults } = await open(t);
  await page.goto(`/deliveries?project=${hostile.project}`);
  await page.getByRole("link", { name: "push", exact: true }).first().click();
  await page.waitForURL(/\/deliveries\/[^?]+$/);
  await page.getByText("window.__xss=1").first().waitFor();
  assert.equal(await page.evaluate(() => window.__xss), undefined);
  assert.equal(await countScripts(page), 1, "scripts on the page");
  assert.deepEqual(faults, []);
});

for (const [number, { payload, branch, file, build }] of corpus.texts.entries()) {
  test(`hostile text ${number + 1} is text everywhere on a build's page: ${seen(payload)}`, LIMIT, async (t) => {
    const { page, faults } = await open(t);
    await page.goto(`/builds/${build}`);
    await page.getByRole("log").locator("[data-row]").first().waitFor();
    const shown = async (element) => seen(await element.innerText());
    const main = await shown(page.locator("main"));
    for (const text of [payload, branch, file]) assert.ok(main.includes(seen(text)), `"${text}" is not on the page:\n${main}`);
    assert.ok((await shown(page.locator(".warnings li"))).includes(seen(payload)));
    assert.ok(seen(await page.title()).includes(seen(payload)));

    // The log: plain, coloured, as the title of a group and of a section, as an error, as a link, and in the step's name.
    await page.locator("[id^=log-open-]").click();
    // Titles stand in the lines, which may come behind the rows.
    await page.locator(".log-rows .error .text").waitFor();
    const titles = page.locator(".log-rows button.group");
    assert.deepEqual((await titles.allInnerTexts()).map(seen), [seen(payload), seen(payload)]);
    const log = await shown(page.locator(".log-rows"));
    assert.ok(log.split(seen(payload)).length > 7, `the log does not say it often:\n${log}`);
    assert.ok((await shown(page.locator(".log-rows button.step").last())).includes(seen(payload)));
    const links = await page.locator(".log-rows .text a").evaluateAll((all) => all.map(({ href, rel }) => [new URL(href).origin, rel]));
    assert.ok(links.every((link) => link.join() === "https://link.example,noopener noreferrer nofollow"), links.join("\n"));

    const search = page.getByRole("searchbox", { name: "Search the log" });
    await search.fill("xss");
    await search.press("Enter");
    await page.locator(".log-hits li").nth(7).waitFor();
    const hits = seen((await page.locator(".log-hits li code").allInnerTexts()).join("\n"));
    assert.ok(hits.split(seen(payload)).length > 6, `the hits do not say it often:\n${hits}`);
    await search.fill(payload);
    const answered = page.waitForResponse(/\/log\/search\?/);
    await search.press("Enter");
    assert.equal((await answered).status(), 200);

    assert.deepEqual(await smuggled(page), []);
    await page.setViewportSize(PHONE);
    assert.equal(await isTooWide(page), false, "the page scrolls sideways");
    assert.deepEqual(faults, []);
  });
}

for (const [name, path, words] of [
  ["the project's page", `/projects/${corpus.project}`, ["payload", "branch"]],
  ["the list of projects", "/", []],
  ["the deliveries", `/deliveries?project=${corpus.project}`, []],
]) {
  test(`all hostile texts are text on ${name}`, LIMIT, async (t) => {
    const { page, faults } = await open(t);
    await page.goto(path);
    const main = seen(await page.locator("main").innerText());
    for (const text of corpus.texts) for (const word of words) assert.ok(main.includes(seen(text[word])), `"${text[word]}" is not on the page:\n${main}`);
    assert.deepEqual(await smuggled(page), []);
    assert.deepEqual(faults, []);
  });
}

for (const [number, { payload, build }] of corpus.texts.entries()) {
  test(`a plain log is text of one encoding, whatever it says: hostile text ${number + 1}`, LIMIT, async (t) => {
    const { page, faults } = await open(t);
    await page.goto(`/builds/${build}`);
    const answer = await page.goto(await logUrl(page));
    const headers = answer.headers();
    assert.match(headers["content-type"], /^text\/plain; ?charset=utf-8$/i);
    assert.equal(headers["x-content-type-options"], "nosniff");
    assert.ok(seen(await answer.text()).includes(seen(payload)));
    assert.deepEqual(await page.evaluate(() => [window.__xss, document.scripts.length]), [undefined, 0]);
    // A browser looks for an icon of what has no page.
    assert.deepEqual(faults.filter((fault) => !fault.includes("/favicon.ico)")), []);
  });
}
