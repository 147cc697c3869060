// The log of a build that runs: followed, held, and picked up again after a break.

import assert from "node:assert/strict";
import test from "node:test";

import { LIMIT, useBrowser } from "./lib/browser.mjs";
import { site } from "./lib/site.mjs";
import { EYES, countRows, logUrl, openLog, seen, sees, wheel } from "./lib/viewer.mjs";
import { wayToSite } from "./lib/way.mjs";

const RUNNING = 7;

const { open: openPage } = useBrowser();
const open = (t, options = {}) => openPage(t, { scripts: [EYES], ...options });

const numberOf = (line) => Number(line.key.split(":")[1]);
const lastOf = (lines) => numberOf(lines.at(-1));
const isOf = (lines) => lines.length > 0 && lines.every(({ key, text }) => key.startsWith(`${RUNNING}:`) && text !== "");
const followButton = (page) => page.locator("[id^=log-follow]");

test("a running build is open at its end and followed, until somebody scrolls up", LIMIT, async (t) => {
  const { page, faults } = await open(t);
  await openLog(page, "running");
  const first = await sees(page, isOf, "the running step");
  await sees(page, (lines) => isOf(lines) && lastOf(lines) > lastOf(first), "further lines");
  assert.equal(await followButton(page).isVisible(), false);
  await wheel(page, -60);
  await followButton(page).waitFor();
  const held = await sees(page, isOf, "lines");
  await page.waitForFunction(() => /^Follow ↓ \(\d+ new\)$/.test(document.querySelector("[id^=log-follow]").textContent));
  assert.equal((await seen(page))[0].key, held[0].key, "the log moved on");
  await followButton(page).click();
  const again = await sees(page, (lines) => isOf(lines) && lastOf(lines) > lastOf(held) + 2, "the end again");
  await sees(page, (lines) => lastOf(lines) > lastOf(again), "further lines");
  assert.equal(await followButton(page).isVisible(), false);
  await page.keyboard.press("g");
  await followButton(page).waitFor();
  await page.keyboard.press("f");
  await followButton(page).waitFor({ state: "hidden" });
  assert.deepEqual(faults, []);
});

test("what is selected stays, and the log is followed again when that is wanted", LIMIT, async (t) => {
  const { page, faults } = await open(t);
  await openLog(page, "running");
  const first = await sees(page, isOf, "the running step");
  await sees(page, (lines) => isOf(lines) && lastOf(lines) > lastOf(first), "further lines");
  // At once: what is followed does not wait for a mouse.
  await page.evaluate(() => {
    const rows = [...document.querySelectorAll(".log-rows .row .text")].filter((row) => row.textContent !== "");
    getSelection().selectAllChildren(rows.at(-3));
  });
  await followButton(page).waitFor();
  const selected = () => page.evaluate(() => getSelection().toString());
  const [words, held] = [await selected(), (await seen(page))[0].key];
  assert.notEqual(words, "");
  await page.waitForFunction(() => /\((?:[5-9]|\d\d+) new\)$/.test(document.querySelector("[id^=log-follow]").textContent));
  assert.deepEqual([await selected(), (await seen(page))[0].key], [words, held], "the log moved on");
  await page.getByRole("log").focus();
  await page.keyboard.press("End");
  await followButton(page).waitFor({ state: "hidden" });
  const again = await sees(page, (lines) => isOf(lines) && lastOf(lines) > lastOf(first) + 5, "the end again");
  await sees(page, (lines) => lastOf(lines) > lastOf(again), "further lines");
  assert.equal(await followButton(page).isVisible(), false);
  assert.deepEqual(faults, []);
});

test("new lines come with the stream, asked for by nobody", LIMIT, async (t) => {
  const { page } = await open(t);
  await openLog(page, "running");
  const first = await sees(page, isOf, "the running step");
  await sees(page, (lines) => isOf(lines) && lastOf(lines) > lastOf(first), "further lines");
  const url = await logUrl(page);
  const isAsking = (address) => address.pathname === `${url}/outline` || address.pathname === `${url}/lines`;
  await page.route(isAsking, (route) => route.abort());
  const held = await sees(page, isOf, "lines");
  const shown = await sees(page, (lines) => isOf(lines) && lastOf(lines) > lastOf(held) + 20, "lines that were not asked for");
  for (const line of shown) {
    const said = (numberOf(line) - 1) % 200 + 1;
    assert.match(line.text, new RegExp(`^${String(said).padStart(8, "0")} `), line.key);
  }
});

test("groups that are told when later lines are here already are shown all the same", LIMIT, async (t) => {
  const { page, faults } = await open(t);
  const lines = page.locator("[id^=log-told]");
  let asked = 0;
  await page.route((address) => address.pathname.endsWith("/log/outline"), async (route) => {
    const answer = await route.fetch();
    const told = { ...await answer.json(), marks: asked > 0 ? 1 : 0 };
    if (new URL(route.request().url()).searchParams.has("groups")) {
      const group = { line: 2, last: 4, level: 0, open: true, faint: false, took_ms: null };
      told.groups = asked > 0 ? [{ step: RUNNING, groups: [group] }] : [];
      const before = await lines.textContent().catch(() => "");
      if (asked > 0) await page.waitForFunction((words) => document.querySelector("[id^=log-told]").textContent !== words, before);
      asked += 1;
    }
    await route.fulfill({ response: answer, json: told });
  });
  await openLog(page, "running", `#s${RUNNING}:L2`);
  await page.locator(`.log-rows [data-row="${RUNNING}:2"] button.group`).waitFor();
  assert.ok(asked >= 2);
  assert.deepEqual(faults, []);
});

test("a place in the address holds while the log grows", LIMIT, async (t) => {
  const { page, faults } = await open(t);
  await openLog(page, "running", `#s${RUNNING}:L5`);
  const held = await sees(page, (lines) => lines.some((line) => line.target && line.text !== ""), "line 5");
  const before = await page.locator("[id^=log-told]").textContent();
  await page.waitForFunction((words) => document.querySelector("[id^=log-told]").textContent !== words, before);
  await page.waitForFunction(() => /\d new/.test(document.querySelector("[id^=log-follow]").textContent));
  const now = await seen(page);
  assert.equal(now[0].key, held[0].key);
  assert.deepEqual(now.filter(({ target }) => target).map(({ key }) => key), [`${RUNNING}:5`]);
  assert.deepEqual(faults, []);
});

test("after a break all lines are there, each once and in order", LIMIT, async (t) => {
  const way = await wayToSite(t);
  const { page } = await open(t, { baseURL: way.url });
  await openLog(page, "running");
  const before = lastOf(await sees(page, isOf, "the running step"));
  const url = await logUrl(page);
  way.cut();
  const status = page.locator("[id^=log-status]");
  await status.getByText("Reconnecting…", { exact: true }).waitFor();
  // The server goes on: asked beside the page.
  let lines = before;
  while (lines < before + 30) {
    const answer = await fetch(`${site.url}${url}/outline`, { headers: { authorization: `Bearer ${site.token}` } });
    lines = (await answer.json()).steps.find(({ step }) => step === RUNNING).lines;
  }
  assert.ok(lastOf(await seen(page)) < before + 30, "the page was not cut off");
  way.mend();
  await sees(page, (shown) => isOf(shown) && lastOf(shown) >= before + 30, "what came meanwhile");
  await page.waitForFunction(() => document.querySelector("[id^=log-status]").textContent === "");
  assert.ok(await countRows(page) <= 600);
  // From the end up to where the break began.
  const texts = new Map();
  for (let turn = 0; turn < 30 && !texts.has(before - 5); turn += 1) {
    for (const line of await sees(page, (shown) => shown.every(({ text }) => text !== ""), "lines")) {
      if (line.key.startsWith(`${RUNNING}:`)) texts.set(numberOf(line), line.text);
    }
    await wheel(page, -200);
  }
  for (let number = before - 5; number <= before + 30; number += 1) {
    const said = (number - 1) % 200 + 1;
    assert.match(texts.get(number) ?? "", new RegExp(`^${String(said).padStart(8, "0")} `), `line ${number}`);
  }
});

test("a server that answers with errors is asked again", LIMIT, async (t) => {
  const { page } = await open(t);
  let refused = 0;
  await page.route(/\/log\/(lines|outline)/, (route) => {
    refused += 1;
    return refused <= 2 ? route.fulfill({ status: 503, body: "busy" }) : route.fallback();
  });
  await openLog(page, "running");
  await sees(page, isOf, "the running step");
  assert.ok(refused > 2);
});

test("a last line that goes on is read again", LIMIT, async (t) => {
  const { page, faults } = await open(t);
  let end = 10;
  const at = "2026-01-01T00:00:00Z";
  await page.route(/\/log\/outline(\?groups=1)?$/, (route) => route.fulfill({ json: {
    epoch: 1, newest: 1, state: "complete", lines: 2, end, steps: [{ step: 7, lines: 2, first_at: at }],
  } }));
  await page.route(/\/log\/lines\?/, (route) => {
    const from = Number(new URL(route.request().url()).searchParams.get("from"));
    const lines = [1, 2].filter((line) => line >= from).map((line) => ({
      line, step_line: line, step: 7, stream: "stdout", at, runs: [{ text: `line ${line} of ${end}` }], width: 9, clipped: false,
    }));
    return route.fulfill({ json: { epoch: 1, state: "complete", lines } });
  });
  await openLog(page, "failed");
  await sees(page, (lines) => lines.map(({ text }) => text).join() === "line 1 of 10,line 2 of 10", "two lines");
  end = 20;
  await page.evaluate(() => document.dispatchEvent(new Event("visibilitychange")));
  await sees(page, (lines) => lines.map(({ text }) => text).join() === "line 1 of 10,line 2 of 20", "the longer line");
  assert.deepEqual(faults, []);
});

test("lines that a restarted server does not have yet are asked for again, not told as lost", LIMIT, async (t) => {
  const { page, faults } = await open(t, { permissions: ["clipboard-read", "clipboard-write"] });
  let hasCome = false;
  let asked = 0;
  const at = "2026-01-01T00:00:00Z";
  await page.route(/\/log\/outline(\?groups=1)?$/, (route) => route.fulfill({ json: {
    epoch: 1, newest: 1, state: "live", lines: 3, end: 30, steps: [{ step: 7, lines: 3, first_at: at }],
  } }));
  await page.route(/\/log\/stream/, (route) => route.abort());
  await page.route(/\/log\/lines\?/, (route) => {
    const from = Number(new URL(route.request().url()).searchParams.get("from"));
    const lines = [1, 2, 3].filter((line) => line >= from && (hasCome || line === 1)).map((line) => ({
      line, step_line: line, step: 7, stream: "stdout", at, runs: [{ text: `line ${line}` }], width: 6, clipped: false,
    }));
    asked += 1;
    return route.fulfill({ json: { epoch: 1, state: "live", total: hasCome ? 3 : 1, end: hasCome ? 30 : 10, lines } });
  });
  await openLog(page, "failed", "#s7:L1-L3");
  await sees(page, (lines) => lines[0].text === "line 1", "the line that is there");
  await page.waitForFunction(() => performance.getEntriesByType("resource").filter(({ name }) => /log\/lines\?/.test(name)).length >= 3);
  assert.ok(asked <= 5, `asked ${asked} times without a rest`);
  assert.deepEqual((await seen(page)).map(({ text }) => text), ["line 1", "", ""]);
  await page.evaluate(() => navigator.clipboard.writeText("before"));
  await page.getByRole("button", { name: "Copy lines" }).click();
  await page.getByText("The lines could not be copied", { exact: true }).waitFor();
  assert.equal(await page.evaluate(() => navigator.clipboard.readText()), "before");
  hasCome = true;
  await sees(page, (lines) => lines.map(({ text }) => text).join() === "line 1,line 2,line 3", "all lines");
  await page.getByRole("button", { name: "Copy lines" }).click();
  await page.getByText("3 lines are copied", { exact: true }).waitFor();
  assert.deepEqual(faults.filter((fault) => !/log\/stream/.test(fault)), []);
});

test("lines that a server lacks of what it says that it has are lost", LIMIT, async (t) => {
  const { page, faults } = await open(t);
  const at = "2026-01-01T00:00:00Z";
  await page.route(/\/log\/outline(\?groups=1)?$/, (route) => route.fulfill({ json: {
    epoch: 1, newest: 1, state: "live", lines: 1, end: 30, steps: [{ step: 7, lines: 1, first_at: at }],
  } }));
  await page.route(/\/log\/stream/, (route) => route.abort());
  await page.route(/\/log\/lines\?/, (route) => route.fulfill({ json: { epoch: 1, state: "live", total: 1, end: 30, lines: [] } }));
  await openLog(page, "failed");
  await sees(page, ([line]) => line.text === "this line is lost", "that a line is lost");
  assert.deepEqual(faults.filter((fault) => !/log\/stream/.test(fault)), []);
});
