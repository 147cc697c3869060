// Groups of a step's lines as their makers mark them: what is closed, what opens it, and that no line gets another number.

import assert from "node:assert/strict";
import test from "node:test";

import { AXE, findings } from "./lib/axe.mjs";
import { LIMIT, PATIENCE_MS, PHONE, isTooWide, useBrowser } from "./lib/browser.mjs";
import { site } from "./lib/site.mjs";
import { EYES, frame, head, logUrl, openLog, sees } from "./lib/viewer.mjs";

/** The steps of the build: one with GitHub's and GitLab's groups, and the one that fails with Buildkite's. */
const [MARKED, FAILING] = [5, 6];

const { open: openPage } = useBrowser();
const open = (t, options = {}) => openPage(t, { scripts: [EYES], ...options });

const title = (page, step, line) => page.locator(`.log-rows [data-row="${step}:${line}"] button.group`);
const isOpen = (page, step, line) => title(page, step, line).getAttribute("aria-expanded").then((open) => open === "true");
/** The numbers of a step's lines in sight. */
const of = (lines, step) => lines.filter(({ key }) => key.startsWith(`${step}:`)).map(({ key }) => Number(key.split(":")[1]));
const shows = (page, step, wanted) => sees(page, (lines) => wanted.every((line) => of(lines, step).includes(line)), `lines ${wanted} of step ${step}`);
/** Waits for a group's words, behind its mark, and for what is said of it; until its line came it has neither. */
const says = async (page, step, line, words, about) => {
  await title(page, step, line).filter({ hasText: new RegExp(`${words}$`) }).waitFor();
  await page.locator(`[data-row="${step}:${line}"] .about`).filter({ hasText: about }).waitFor();
};
const hides = (page, step, line) => page.locator(`.log-rows [data-row="${step}:${line}"]`).count().then((count) => count === 0);

test("the last group of what failed is open, the others are closed", LIMIT, async (t) => {
  const { page, faults } = await open(t);
  await openLog(page, "grouped");
  await page.keyboard.press("g");
  await shows(page, FAILING, [1, 7, 8, 17]);
  assert.deepEqual([await isOpen(page, FAILING, 1), await isOpen(page, FAILING, 7)], [false, true]);
  assert.ok(await hides(page, FAILING, 2));
  await says(page, FAILING, 1, "Build", /^5 lines/);
  assert.deepEqual(faults, []);
});

test("groups open and close by mouse and by keyboard, and the focus stays", LIMIT, async (t) => {
  const { page, faults } = await open(t);
  await openLog(page, "grouped");
  await page.keyboard.press("g");
  await shows(page, FAILING, [1, 7]);
  await title(page, FAILING, 1).click();
  await shows(page, FAILING, [1, 2, 3, 4, 5, 6, 7, 8]);
  await title(page, FAILING, 1).press("Enter");
  await shows(page, FAILING, [1, 7, 8]);
  assert.ok(await hides(page, FAILING, 2));
  assert.ok(await title(page, FAILING, 1).evaluate((button) => button === document.activeElement), "the focus is lost");
  await title(page, FAILING, 1).press(" ");
  await shows(page, FAILING, [2]);
  await page.getByRole("button", { name: "Open all", exact: true }).click();
  await page.keyboard.press("g");
  await head(page, MARKED).waitFor();
  await page.evaluate((step) => { location.hash = `#s${step}:L36`; }, MARKED);
  await shows(page, MARKED, [33, 34, 35]);
  assert.deepEqual(faults, []);
});

test("GitHub's and GitLab's groups are inside of each other, with their times", LIMIT, async (t) => {
  const { page, faults } = await open(t);
  await openLog(page, "grouped", `#s${MARKED}:L63`);
  await shows(page, MARKED, [1, 33, 62, 63]);
  assert.deepEqual([await isOpen(page, MARKED, 1), await isOpen(page, MARKED, 33)], [false, false]);
  await says(page, MARKED, 33, "Unit tests", /^28 lines · 12\.0 s$/);
  await title(page, MARKED, 33).click();
  await shows(page, MARKED, [33, 34, 35]);
  await page.evaluate((step) => { location.hash = `#s${step}:L54`; }, MARKED);
  await shows(page, MARKED, [53, 54, 61, 62]);
  assert.equal(await isOpen(page, MARKED, 54), false);
  assert.ok(await hides(page, MARKED, 55));
  assert.equal(await page.locator(`[data-row="${MARKED}:54"] h5`).count(), 1, "a heading below its group's");
  assert.deepEqual(faults, []);
});

test("a place in the address opens the groups around it and no other", LIMIT, async (t) => {
  const { page, faults } = await open(t);
  await openLog(page, "grouped", `#s${MARKED}:L56`);
  const lines = await sees(page, (all) => all.some((line) => line.target && line.text !== ""), "line 56");
  assert.deepEqual(lines.filter(({ target }) => target).map(({ key }) => key), [`${MARKED}:56`]);
  assert.deepEqual(await Promise.all([1, 33, 54].map((line) => isOpen(page, MARKED, line).catch(() => false))), [false, true, true]);
  await page.evaluate((step) => { location.hash = `#s${step}:L4`; }, MARKED);
  await sees(page, (all) => all.some((line) => line.target && line.key === `${MARKED}:4`), "line 4");
  assert.deepEqual(faults, []);
});

test("a search opens the group that has it", LIMIT, async (t) => {
  const { page, faults } = await open(t);
  await openLog(page, "grouped");
  await page.keyboard.press("/");
  await page.keyboard.type("00000025 ");
  await page.keyboard.press("Enter");
  await sees(page, (lines) => lines.some((line) => line.target && line.key === `${MARKED}:26` && line.text.startsWith("00000025 ")), "its place");
  assert.deepEqual(faults, []);
});

test("annotations say in a word what they are, and n and p find them", LIMIT, async (t) => {
  const { page, faults } = await open(t);
  await openLog(page, "grouped");
  await page.keyboard.press("g");
  const reached = new Set();
  for (let press = 0; press < 12 && reached.size < 2; press++) {
    const before = await page.locator("[id^=log-status]").textContent();
    await page.keyboard.press("n");
    await page.waitForFunction((words) => document.querySelector("[id^=log-status]").textContent !== words, before);
    const lines = await sees(page, (all) => all.some(({ target, text }) => target && text !== ""), "a place");
    for (const { key } of lines.filter(({ target }) => target)) if ([`${MARKED}:62`, `${MARKED}:63`].includes(key)) reached.add(key);
  }
  assert.equal(reached.size, 2, "both are found");
  const row = page.locator(`.log-rows [data-row="${MARKED}:62"]`);
  const words = (await row.innerText()).replace(/\s+/g, " ").trim();
  assert.equal(words, "error src/deck.c:7 The deck leaks");
  assert.match(await page.locator(`.log-rows [data-row="${MARKED}:63"]`).innerText(), /warning\s+src\/rig\.c:3\s+The rig is loose/);
  assert.deepEqual(faults, []);
});

test("all lines in their order have no groups", LIMIT, async (t) => {
  const { page, faults } = await open(t);
  await openLog(page, "grouped");
  await page.getByRole("button", { name: "All lines in order" }).click();
  await page.keyboard.press("g");
  const lines = await sees(page, ([first]) => first.key === ":1" && first.text !== "", "line 1");
  assert.deepEqual(lines.map(({ key }) => key), lines.map((_, at) => `:${at + 1}`));
  assert.equal(await page.locator("button.group").count(), 0);
  await page.keyboard.press("G");
  await sees(page, (shown) => shown.some(({ text }) => text === "--- Check"), "the last step");
  const row = page.locator(".log-rows .row", { hasText: "--- Check" });
  assert.equal(await row.locator(".of").innerText(), `#${FAILING}`);
  assert.deepEqual(faults, []);
});

test("what is copied across a closed group is what is shown", LIMIT, async (t) => {
  const { page, faults } = await open(t, { permissions: ["clipboard-read", "clipboard-write"] });
  await openLog(page, "grouped", `#s${MARKED}:L33`);
  await shows(page, MARKED, [33, 62, 63]);
  await sees(page, (lines) => [62, 63].every((line) => lines.some(({ key, text }) => key === `${MARKED}:${line}` && text !== "")), "their text");
  await page.evaluate(([step]) => {
    const of = (line) => document.querySelector(`[data-row="${step}:${line}"] .text`);
    getSelection().setBaseAndExtent(of(33), 0, of(63), of(63).childNodes.length);
  }, [MARKED]);
  await frame(page);
  await page.keyboard.press("Control+c");
  const until = Date.now() + PATIENCE_MS;
  let copied = "";
  while (!copied.includes("\n") && Date.now() < until) copied = await page.evaluate(() => navigator.clipboard.readText());
  assert.deepEqual(copied.split("\n"), [
    "Unit tests", "::error file=src/deck.c,line=7::The deck leaks", "::warning file=src/rig.c,line=3::The rig is loose",
  ]);
  assert.deepEqual(faults, []);
});

test("a group that grows is open, stays so when it ends, and moves nothing that is read", LIMIT, async (t) => {
  const { page, faults } = await open(t);
  const known = { lines: 20, ended: false };
  const outline = (answer) => {
    const step = answer.steps.find(({ step }) => step === MARKED);
    step.lines = known.lines;
    const group = { line: 1, last: known.ended ? 32 : null, level: 0, open: false, faint: false, took_ms: known.ended ? 900 : null };
    const marks = known.ended ? 2 : 1;
    return { ...answer, state: "live", end: known.lines * 100, marks, ...(answer.groups ? { groups: [{ step: MARKED, groups: [group] }] } : {}) };
  };
  await page.route(/\/log\/outline/, async (route) => {
    const answer = await route.fetch();
    await route.fulfill({ json: outline(await answer.json()) });
  });
  await page.route(/\/log\/stream/, (route) => route.abort());
  await page.route(new RegExp(`/builds/${site.builds.grouped}$`), async (route) => {
    const answer = await route.fetch();
    const html = (await answer.text()).replace(new RegExp(`(data-step="${MARKED}"[^>]*data-tone=")\\w+`), "$1busy");
    await route.fulfill({ response: answer, body: html });
  });
  await openLog(page, "grouped", `#s${MARKED}:L10`);
  await sees(page, (lines) => lines.some((line) => line.target && line.text !== ""), "line 10");
  assert.equal(await isOpen(page, MARKED, 1), true);
  const before = await sees(page, (lines) => lines.length > 0);
  Object.assign(known, { lines: 40, ended: true });
  await page.evaluate(() => document.dispatchEvent(new Event("visibilitychange")));
  await page.locator(`[data-row="${MARKED}:1"] .about`, { hasText: "0.9 s" }).waitFor();
  await page.locator(`.log-rows button.step[data-step="${MARKED}"]`, { hasText: "40 lines" }).waitFor();
  assert.equal(await isOpen(page, MARKED, 1), true);
  assert.equal((await sees(page, (lines) => lines.length > 0))[0].key, before[0].key, "the log moved");
  assert.deepEqual(faults.filter((fault) => !/log\/stream/.test(fault)), []);
});

test("without scripts the lines are there", LIMIT, async (t) => {
  const { page } = await openPage(t, { javaScriptEnabled: false });
  await page.goto(`/builds/${site.builds.grouped}`);
  await page.frameLocator("iframe.plain").getByText("::group::Install packages").first().waitFor();
  await page.frameLocator("iframe.plain").getByText("Unit tests").first().waitFor();
});

for (const colorScheme of ["light", "dark"]) {
  test(`groups on a phone, ${colorScheme}`, LIMIT, async (t) => {
    const touch = { viewport: PHONE, hasTouch: true, isMobile: true };
    const { page, faults } = await open(t, { scripts: [EYES, AXE], colorScheme, reducedMotion: "reduce", ...touch });
    await openLog(page, "grouped", `#s${MARKED}:L62`);
    await shows(page, MARKED, [33, 62, 63]);
    await title(page, MARKED, 33).tap();
    await shows(page, MARKED, [34, 35]);
    assert.equal(await isTooWide(page), false, "the page scrolls sideways");
    const small = await page.locator("[role=log] button.group").evaluateAll((all) => all
      .map((target) => target.getBoundingClientRect()).filter(({ width, height }) => width < 24 || height < 24).length);
    assert.equal(small, 0, "targets that a finger misses");
    const grave = await findings(page, "viewer");
    assert.deepEqual(grave.filter((found) => /role=|\.log|a\.no|button/.test(found)), []);
    assert.deepEqual(faults, []);
  });
}

test("the head of a step tells its parts, and how far its layers are", LIMIT, async (t) => {
  const { page, faults } = await open(t);
  const names = { 4: "[linux/arm64 build 2/4] RUN make" };
  let isPulling = true;
  await page.route(new RegExp(`/builds/${site.builds.grouped}$`), async (route) => {
    const answer = await route.fetch();
    const change = (html, step, name, value) => html.replace(new RegExp(`(data-step="${step}"[^>]*${name}=")[^"]*`), `$1${value}`);
    let html = change(await answer.text(), 4, "data-name", names[4]);
    if (isPulling) for (const [name, value] of [["data-tone", "busy"], ["data-word", "running"], ["data-moved", 12_300_000]]) html = change(html, 4, name, value);
    await route.fulfill({ response: answer, body: html });
  });
  await openLog(page, "grouped");
  await page.keyboard.press("g");
  const step = head(page, 4);
  await step.waitFor();
  assert.equal(await step.locator(".platform").innerText(), "linux/arm64");
  assert.equal(await step.locator(".stage").innerText(), "build");
  assert.equal(await step.locator(".place").innerText(), "2/4");
  assert.equal(await step.locator(".name .word").innerText(), "RUN");
  assert.equal((await step.locator(".moved").innerText()).trim(), "12.3 of 80.1 MB");
  assert.deepEqual(await step.locator("progress").evaluate((bar) => [bar.value, bar.max]), [12_300_000, 80_100_000]);
  isPulling = false;
  await page.reload();
  await page.keyboard.press("g");
  await step.waitFor();
  assert.equal((await step.locator(".moved").innerText()).trim(), "80.1 MB");
  assert.equal(await step.locator("progress").count(), 0);
  assert.deepEqual(faults, []);
});

test("the lines of a log that wraps move as far as the wheel, however long and wide they are", LIMIT, async (t) => {
  const { page, faults } = await open(t);
  const texts = ["短", "漢字かな交じり文".repeat(40), "x".repeat(700), "a b ".repeat(90), "", "한국어 로그 ".repeat(30)];
  await page.route(/\/log\/lines\?/, async (route) => {
    const answer = await route.fetch();
    const body = await answer.json();
    for (const line of body.lines) line.runs = [{ text: texts[(line.step_line ?? line.line) % texts.length] }];
    await route.fulfill({ json: body });
  });
  await openLog(page, "long", "#s5:L500000");
  await sees(page, (lines) => lines.some(({ target, text }) => target && text !== undefined), "the line");
  const url = await logUrl(page);
  assert.ok(url);
  const places = () => page.evaluate(() => Object.fromEntries([...document.querySelectorAll(".log-rows .row:not(.pinned)")]
    .map((row) => [row.dataset.row, row.getBoundingClientRect().top])));
  await page.getByRole("log").hover({ position: { x: 200, y: 60 } });
  // Around here, what is near has been read before.
  for (const by of [180, 180, 180, -180, -180, -180, -180, 120, 240]) {
    await page.waitForFunction(() => [...document.querySelectorAll(".log-rows .row")].every((row) => !row.classList.contains("missing")));
    const before = await places();
    await page.mouse.wheel(0, by);
    await frame(page);
    await frame(page);
    const now = await places();
    const moved = Object.keys(before).filter((key) => key in now).map((key) => Math.round(before[key] - now[key]));
    assert.ok(moved.length > 0, "nothing of it is left");
    assert.ok(moved.every((pixels) => Math.abs(pixels - by) <= 1), `by ${by}: ${[...new Set(moved)]}`);
  }
  assert.deepEqual(faults, []);
});

test("the lines of a step or of the address are copied by a key and a button, and so is the address", LIMIT, async (t) => {
  const { page, faults } = await open(t, { permissions: ["clipboard-read", "clipboard-write"] });
  const copied = async (wanted) => {
    const until = Date.now() + PATIENCE_MS;
    let text = "";
    while (!wanted(text)) {
      assert.ok(Date.now() < until, `the clipboard has ${text}`);
      text = await page.evaluate(() => navigator.clipboard.readText());
    }
    return text;
  };
  await openLog(page, "grouped");
  // The clipboard is the browser's, and other tests have copied.
  await page.evaluate(() => navigator.clipboard.writeText(""));
  await page.evaluate((step) => { location.hash = `#s${step}:L62-L63`; }, MARKED);
  await sees(page, (lines) => lines.filter(({ target, text }) => target && text !== "").length === 2, "two lines");
  await page.getByRole("button", { name: "Copy lines", exact: true }).click();
  assert.equal((await copied((text) => text.includes("leaks"))).split("\n").length, 2);
  await page.keyboard.press("l");
  await copied((text) => text.endsWith(`#s${MARKED}:L62-L63`));
  await page.goto(`/builds/${site.builds.grouped}`);
  await page.locator("[role=log] .step-head").first().waitFor();
  assert.equal(await page.getByRole("button", { name: "Copy link", exact: true }).isVisible(), false);
  await page.getByRole("button", { name: "All lines in order" }).click();
  await page.getByRole("button", { name: "By steps" }).click();
  await page.evaluate((step) => { location.hash = `#s${step}:L1`; }, FAILING);
  await sees(page, (lines) => lines.some(({ target, text }) => target && text !== ""), "line 1");
  await page.keyboard.press("c");
  await copied((text) => text === "--- Build");
  assert.deepEqual(faults, []);
});

test("annotations name places with colons, and codes are shown as what they stand for", LIMIT, async (t) => {
  const { page, faults } = await open(t, { permissions: ["clipboard-read", "clipboard-write"] });
  const texts = {
    20: "::error file=C:\\src\\a%2Cb.c,line=7::100%25 wet%0D%0Asecond %41",
    21: "::warning title=x%3A%3Ay::no file",
    22: "plain 100%25",
  };
  await page.route(/\/log\/lines\?/, async (route) => {
    const answer = await route.fetch();
    const body = await answer.json();
    for (const line of body.lines) if (line.step === 7 && texts[line.step_line]) line.runs = [{ text: texts[line.step_line] }];
    await route.fulfill({ json: body });
  });
  await openLog(page, "failed", "#s7:L20-L22");
  await sees(page, (lines) => lines.some(({ target, text }) => target && text !== ""), "the lines");
  const shown = (line) => page.locator(`.log-rows [data-row="7:${line}"]`).evaluate((row) => [...row.querySelectorAll(".note, .place, .text")]
    .map((part) => {
      const copy = part.cloneNode(true);
      for (const gone of copy.querySelectorAll(".gone")) gone.remove();
      for (const code of copy.querySelectorAll(".code")) code.textContent = code.dataset.shown;
      return copy.textContent;
    }));
  assert.deepEqual(await shown(20), ["error", "C:\\src\\a,b.c:7", "100% wet↵second %41"]);
  assert.deepEqual(await shown(21), ["warning", "no file"]);
  assert.deepEqual(await shown(22), ["plain 100%25"]);
  const code = page.locator('.log-rows [data-row="7:20"] .code').first();
  assert.ok((await code.boundingBox()).width < 12, "the code is seen too");
  await page.evaluate(() => {
    const rows = [20, 21].map((line) => document.querySelector(`.log-rows [data-row="7:${line}"] .text`));
    getSelection().setBaseAndExtent(rows[0], 0, rows[1], rows[1].childNodes.length);
  });
  await page.keyboard.press("Control+c");
  const until = Date.now() + PATIENCE_MS;
  let copied = "";
  while (copied !== `${texts[20]}\n${texts[21]}`) {
    assert.ok(Date.now() < until, `the clipboard has ${copied}`);
    copied = await page.evaluate(() => navigator.clipboard.readText());
  }
  assert.deepEqual(faults, []);
});
