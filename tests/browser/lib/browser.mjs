// One Chromium for a file of tests, and pages of it that hear everything that goes wrong.

import assert from "node:assert/strict";
import { accessSync, constants } from "node:fs";
import path from "node:path";
import { after, before } from "node:test";
import { chromium } from "playwright-core";

import { site } from "./site.mjs";

/** How long a page may take for anything, on a machine that does other things too. */
export const PATIENCE_MS = 15_000;
/** The limit of one test, for `test(name, LIMIT, …)`. */
export const LIMIT = { timeout: 60_000 };
/** The smallest window that pages are made for, in CSS pixels. */
export const PHONE = { width: 360, height: 740 };

const ARGUMENTS = [
  "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync",
];

/** Starts the distribution's Chromium. */
export function launch() {
  return chromium.launch({ executablePath: program("chromium"), args: ARGUMENTS, timeout: 30_000 });
}

/** The first program of this name on the path, as the shell's `command -v` has it. */
function program(name) {
  for (const folder of (process.env.PATH ?? "").split(path.delimiter)) {
    const file = path.join(folder, name);
    try {
      accessSync(file, constants.X_OK);
      return file;
    } catch {
      // The next one.
    }
  }
  throw new Error(`there is no ${name} on the path; tests/scripts/setup.sh installs it`);
}

/** What a signed-in browser keeps: its cookie. Asks the service once. */
export async function signIn(browser, token = site.token) {
  const context = await browser.newContext({ baseURL: site.url });
  const answer = await context.request.post("/login", {
    form: { token, next: "/" },
    headers: { origin: site.url },
  });
  assert.equal(answer.status(), 200, "signing in");
  const kept = await context.storageState();
  await context.close();
  return kept;
}

/** What the browser of each kind of reader keeps. */
export async function keptBy(browser) {
  return { member: await signIn(browser), newcomer: await signIn(browser, site.newcomer), stranger: undefined };
}

/** Whose browser a page is looked at with. */
export function readerOf({ stranger = false, newcomer = false }) {
  return stranger ? "stranger" : newcomer ? "newcomer" : "member";
}

/** A browser for all tests of a file: `open` gives pages of it. */
export function useBrowser() {
  const shared = { browser: null, kept: null };
  before(async () => {
    shared.browser = await launch();
    shared.kept = await keptBy(shared.browser);
  }, { timeout: 60_000 });
  after(() => shared.browser?.close());

  /** A page in a context of its own, closed with the test; `stranger` is not signed in, `newcomer` has nothing yet. */
  async function open(t, { stranger, newcomer, scripts = [], ...options } = {}) {
    const storageState = shared.kept[readerOf({ stranger, newcomer })];
    const context = await shared.browser.newContext({ baseURL: site.url, storageState, ...options });
    t.after(() => context.close());
    context.setDefaultTimeout(PATIENCE_MS);
    for (const content of scripts) await context.addInitScript({ content });
    const page = await context.newPage();
    return { page, faults: await faultsOf(page) };
  }
  return { open };
}

/** Everything that may not happen on a page, in words, as it happens. */
async function faultsOf(page) {
  const faults = [];
  page.on("console", (message) => {
    if (message.type() === "error") faults.push(`console: ${message.text()} (${message.location().url})`);
  });
  page.on("pageerror", (error) => faults.push(`script: ${error.message}`));
  page.on("dialog", (dialog) => {
    faults.push(`dialog: ${dialog.message()}`);
    dialog.dismiss().catch(() => {});
  });
  await page.exposeBinding("tellViolation", (_, text) => faults.push(`policy: ${text}`));
  await page.addInitScript(() => document.addEventListener("securitypolicyviolation", (violation) => {
    window.tellViolation(`${violation.violatedDirective} ${violation.blockedURI} ${violation.sourceFile ?? ""}`);
  }));
  return faults;
}

/** True if the page can be moved sideways. */
export function isTooWide(page) {
  return page.evaluate(() => document.documentElement.scrollWidth > document.documentElement.clientWidth);
}

/** Opens all steps of a build's log, and waits until lines of it are shown, as the scripted engine writes them. */
export async function showsLog(page) {
  await page.locator("[role=log] .step-head").first().waitFor();
  // In whatever language.
  await page.locator("[id^=log-open-]").first().click();
  const isThere = () => /\d{8} [0-9a-f]{16}/.test(document.querySelector("[role=log]")?.innerText ?? "");
  return page.waitForFunction(isThere, undefined, { timeout: PATIENCE_MS });
}
