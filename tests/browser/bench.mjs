// What Chromium shows of a long log and how soon, as one line of JSON; the bench calls it (tests/src/bench/log_chromium.rs).
// `bench.mjs read BUILD LINES` looks at a finished log of so many lines. `bench.mjs follow BUILD COUNT` says "ready" when it
// follows a log, and ends when it has seen so many lines that tell when they were sent.

import { readFileSync } from "node:fs";
import { setTimeout as wait } from "node:timers/promises";

import { launch, signIn } from "./lib/browser.mjs";
import { site } from "./lib/site.mjs";
import { dragTo, frame, wheel } from "./lib/viewer.mjs";

/** The step that says everything. */
const STEP = 1;
/** First paints of each kind, in turn. */
const ROUNDS = 3;
/** Lines that are jumped to by their address. */
const JUMPS = 20;
/** Where the wheel turns, as shares of the log, and how. */
const PLACES = [0, 0.25, 0.5, 0.75, 0.999];
const TURNS = 40;
const TURN_PX = 600;
/** Places that the scrollbar is dragged to, one after the other. */
const DRAGS = 100;
/** How long anything may take, on a machine that does other things too. */
const PATIENCE_MS = 60_000;
/** How long all bytes in one page may take. */
const PLAIN_MS = 180_000;
/** How long a follower waits for lines that do not come. */
const LATE_MS = 30_000;
const VIEWPORT = { width: 1280, height: 900 };

/** In a line that is followed: when it was sent, and its number. */
const SENT = /sent at (\d{13}), line (\d+);/;

/** Goes into a page before its own scripts: hears of rows, of lines that tell when they were sent, and of long tasks. */
const WATCH = `{
  const SENT = ${SENT};
  const watch = window.watch = { shown: null, acted: null, tasks: [], rows: 0, lags: new Map() };
  new PerformanceObserver((list) => {
    for (const task of list.getEntries()) watch.tasks.push(task.duration);
  }).observe({ type: "longtask" });
  const painted = (then) => requestAnimationFrame(() => setTimeout(then));
  const hear = (rows) => {
    const now = Date.now();
    for (const row of rows) {
      const [, sent, number] = SENT.exec(row.querySelector(".text")?.textContent ?? "") ?? [];
      if (number !== undefined && !watch.lags.has(number)) watch.lags.set(number, now - Number(sent));
    }
  };
  new MutationObserver(() => {
    const rows = document.querySelectorAll("[role=log] [data-row]");
    watch.rows = Math.max(watch.rows, rows.length);
    hear(rows);
    if (watch.shown !== null || ![...rows].some((row) => row.querySelector(".text")?.textContent)) return;
    watch.shown = 0;
    painted(() => { watch.shown = performance.now(); });
  }).observe(document, { childList: true, characterData: true, subtree: true });
  addEventListener("keydown", (event) => { watch.acted = event.timeStamp; }, true);
  const isInSight = (key) => {
    const row = document.querySelector('.log-rows [data-row="' + key + '"]');
    if (!row?.querySelector(".text")?.textContent) return false;
    const [place, box] = [row, row.closest("[role=log]")].map((element) => element.getBoundingClientRect());
    return place.bottom > box.top + 1 && place.top < box.bottom - 1;
  };
  watch.reaches = (key) => new Promise((tell) => {
    watch.acted = null;
    const look = () => {
      if (watch.acted !== null && isInSight(key)) painted(() => tell(performance.now() - watch.acted));
      else requestAnimationFrame(look);
    };
    look();
  });
}`;

const keptBy = { reader: undefined };

/** A page in a browser of its own: what is measured there is nobody else's. */
async function inBrowser(look) {
  const browser = await launch();
  try {
    keptBy.reader ??= await signIn(browser);
    const context = await browser.newContext({ baseURL: site.url, storageState: keptBy.reader, viewport: VIEWPORT });
    context.setDefaultTimeout(PATIENCE_MS);
    await context.addInitScript({ content: WATCH });
    return await look(await context.newPage(), browser);
  } finally {
    await browser.close();
  }
}

/** Opens a build's page; milliseconds until lines of its log are painted. */
async function openLog(page, build, hash) {
  await page.goto(`/builds/${build}${hash}`, { waitUntil: "commit" });
  await page.waitForFunction(() => window.watch?.shown, undefined, { polling: 50 });
  return page.evaluate(() => window.watch.shown);
}

const firstPaint = (page) => page.evaluate(() => performance.getEntriesByName("first-contentful-paint")[0]?.startTime ?? 0);

/** What the page's process holds, MB: now, and at most so far. */
async function memoryOf(browser) {
  const session = await browser.newBrowserCDPSession();
  const { processInfo } = await session.send("SystemInfo.getProcessInfo");
  const all = processInfo.filter(({ type }) => type === "renderer").map(({ id }) => readFileSync(`/proc/${id}/status`, "utf8"));
  const most = (field) => Math.max(0, ...all.map((text) => Number(new RegExp(`^${field}:\\s+(\\d+) kB`, "m").exec(text)?.[1] ?? 0) / 1024));
  return { resident_mb: most("VmRSS"), peak_mb: most("VmHWM") };
}

/** The script's heap, MB, and the nodes of all documents. */
async function heapOf(session) {
  const { metrics } = await session.send("Performance.getMetrics");
  const value = (wanted) => metrics.find(({ name }) => name === wanted).value;
  return { heap_mb: value("JSHeapUsedSize") / 2 ** 20, nodes: value("Nodes") };
}

/** The log as plain text in a tab: until its beginning is painted. */
function paintPlain(log) {
  return inBrowser(async (page) => {
    await page.goto(log, { waitUntil: "commit" });
    await page.waitForFunction(() => performance.getEntriesByName("first-contentful-paint").length > 0, undefined, { polling: 50 });
    return firstPaint(page);
  });
}

/** The same until its last line is in sight, and what it holds then. A browser may not come so far: then only what it holds. */
function readPlain(log) {
  return inBrowser(async (page, browser) => {
    const loaded = page.goto(log, { waitUntil: "load", timeout: PLAIN_MS }).then(() => page.evaluate(() => new Promise((tell) => {
      document.scrollingElement.scrollTop = document.scrollingElement.scrollHeight;
      requestAnimationFrame(() => setTimeout(() => tell(performance.now())));
    })));
    const end_ms = await Promise.race([loaded.catch(() => null), wait(PLAIN_MS, null, { ref: false })]);
    return { end_ms, ...await memoryOf(browser) };
  });
}

/** Milliseconds from what a reader does until a line is in sight. */
async function jump(page, line, act) {
  const reached = page.evaluate((key) => window.watch.reaches(key), `${STEP}:${line}`);
  const [took] = await Promise.all([reached, act()]);
  return took;
}

function goTo(page, line) {
  return jump(page, line, () => page.evaluate((hash) => {
    window.watch.acted = performance.now();
    location.hash = hash;
  }, `#s${STEP}:L${line}`));
}

async function scrollThrough(page) {
  await page.evaluate(() => { window.watch.tasks.length = 0; });
  for (const place of PLACES) {
    await dragTo(page, place);
    for (let turn = 0; turn < TURNS; turn += 1) await wheel(page, place < 0.9 ? TURN_PX : -TURN_PX);
  }
  for (let drag = 0; drag < DRAGS; drag += 1) {
    await dragTo(page, drag / (DRAGS - 1));
    await frame(page);
  }
  await frame(page);
  return page.evaluate(() => window.watch.tasks);
}

async function read(build, lines) {
  const [viewer, plain_paint_ms] = [[], []];
  let url = "";
  for (let round = 0; round < ROUNDS; round += 1) {
    const { log, ...shown } = await inBrowser(async (page) => {
      const row_ms = await openLog(page, build, `#s${STEP}:L1`);
      return { row_ms, paint_ms: await firstPaint(page), log: await page.getByRole("log").getAttribute("data-log") };
    });
    viewer.push(shown);
    url = log;
    plain_paint_ms.push(await paintPlain(url));
  }
  const used = await inBrowser(async (page, browser) => {
    await openLog(page, build, `#s${STEP}:L1`);
    const last_ms = await jump(page, lines, () => page.keyboard.press("G"));
    const jumps_ms = [];
    for (let at = 1; at <= JUMPS; at += 1) {
      // Far from each other, and never twice.
      const share = at * 0.618_033_988_75 % 1;
      jumps_ms.push(await goTo(page, 1 + Math.floor(share * (lines - 1))));
    }
    const first_ms = await jump(page, 1, () => page.keyboard.press("g"));
    const tasks_ms = await scrollThrough(page);
    const session = await page.context().newCDPSession(page);
    await session.send("Performance.enable");
    const heap = await heapOf(session);
    const memory = await memoryOf(browser);
    await session.send("HeapProfiler.collectGarbage");
    const { heap_mb: kept_mb } = await heapOf(session);
    const rows = await page.evaluate(() => window.watch.rows);
    return { last_ms, first_ms, jumps_ms, tasks_ms, rows, ...heap, kept_mb, ...memory };
  });
  return { viewer, plain_paint_ms, plain: await readPlain(url), used };
}

/** Reads the log's stream beside the page; the lags of its lines grow as they come. */
async function hearStream(log, stop) {
  const headers = { authorization: `Bearer ${site.token}` };
  const { epoch, end } = await (await fetch(`${site.url}${log}/outline`, { headers })).json();
  const lags = new Map();
  const answer = await fetch(`${site.url}${log}/stream?after=${epoch}:${end}`, { headers, signal: stop.signal });
  const hear = async () => {
    let text = "";
    for await (const piece of answer.body.pipeThrough(new TextDecoderStream())) {
      text += piece;
      const now = Date.now();
      for (const [, sent, number] of text.matchAll(new RegExp(SENT, "g"))) {
        if (!lags.has(number)) lags.set(number, now - Number(sent));
      }
      // The last one may have come in half.
      text = text.slice(Math.max(0, text.lastIndexOf("sent at ")));
    }
  };
  return { lags, over: hear().catch((error) => { if (!stop.signal.aborted) throw error; }) };
}

function follow(build, count) {
  return inBrowser(async (page) => {
    const listens = page.waitForResponse((answer) => /\/log\/stream\?/.test(answer.url()));
    await openLog(page, build, "");
    await listens;
    const stop = new AbortController();
    const stream = await hearStream(await page.getByRole("log").getAttribute("data-log"), stop);
    await page.evaluate(() => { window.watch.tasks.length = 0; });
    process.stdout.write("ready\n");
    const isThere = ([all, late]) => {
      const { watch } = window;
      if (watch.lags.size !== watch.heard) [watch.heard, watch.heardAt] = [watch.lags.size, performance.now()];
      return watch.lags.size >= all || performance.now() - watch.heardAt > late;
    };
    await page.waitForFunction(isThere, [count, LATE_MS], { polling: 500, timeout: 0 });
    stop.abort();
    await stream.over;
    const seen = await page.evaluate(() => ({ lags_ms: [...window.watch.lags.values()], tasks_ms: window.watch.tasks, rows: window.watch.rows }));
    return { ...seen, stream_ms: [...stream.lags.values()] };
  });
}

const [what, build, number] = process.argv.slice(2);
const acts = { read, follow };
console.log(JSON.stringify(await acts[what](build, Number(number))));
