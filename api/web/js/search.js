// The search in a job's log: the server looks through the whole log, the page shows a part of what it finds. The first hits
// come first; how many there are in all is counted behind them, in as many answers as that takes.

import { pressed } from "./buttons.js";
import { isFind, isFree, isMeant } from "./keys.js";
import { t } from "./texts.js";

const PAGE = 50;
/** Characters of a step's name in the list of steps. */
const NAME_MOST = 60;
/** Lines that are shown before and after one that is found. */
const AROUND = "1";

/**
 * @typedef {{ line: number, step: number, step_line: number, stream: string, parts: { text: string, hit: boolean }[],
 *   before?: string[], after?: string[] }} Hit
 * @typedef {{ epoch: number, state: string, total: number, partial: boolean, cut_lines: number, hits: Hit[], next: number|null }} Found
 */

/** @param {Document} page */
export function startSearch(page) {
  for (const form of page.querySelectorAll("form[data-log-search]")) {
    if (form instanceof HTMLFormElement) new LogSearch(page, form);
  }
}

/** What is known before anything was counted. @type {{ total: number, cut: number, next: number|null }} */
const NOTHING = { total: 0, cut: 0, next: 0 };

class LogSearch {
  /** @param {Document} page @param {HTMLFormElement} form */
  constructor(page, form) {
    this.page = page;
    this.form = form;
    this.log = form.dataset.logSearch ?? "";
    this.status = form.querySelector("[role=status]");
    this.list = page.createElement("ol");
    this.list.className = "log-hits";
    this.more = page.createElement("button");
    this.more.type = "button";
    this.more.className = "small";
    this.more.hidden = true;
    this.after = 0;
    /** What the list has. @type {Hit[]} */
    this.hits = [];
    /** The one that the log shows. */
    this.at = -1;
    /** The attempt whose log was searched first; further pages are of the same. */
    this.epoch = 0;
    /** Lines that have it, up to `next`, or in all; and those of which only the beginning was looked through. */
    this.counted = NOTHING;
    /** More may be found later. */
    this.isLive = false;
    /** @type {Promise<void>|null} */
    this.paging = null;
    /** What was asked last. */
    this.query = new URLSearchParams();
    /** @type {AbortController|null} */
    this.asked = null;
    form.after(this.list, this.more);
    this.steps = page.createElement("select");
    this.steps.name = "step";
    this.steps.setAttribute("aria-label", t("js-search-step"));
    const around = page.createElement("input");
    [around.type, around.name, around.value, around.checked] = ["checkbox", "context", AROUND, true];
    const label = page.createElement("label");
    label.append(around, ` ${t("js-search-context")}`);
    form.querySelector("button")?.before(label, this.steps);
    this.turns = [
      pressed(page, "↑", t("js-search-previous"), () => void this.next(-1)),
      pressed(page, "↓", t("js-search-next"), () => void this.next(1)),
    ];
    form.querySelector("button")?.after(...this.turns);
    this.showTurns();
    this.listSteps();
    page.addEventListener("slipway:refreshed", () => this.listSteps());
    // There is something to search from the first line on.
    page.addEventListener("slipway:lines", (event) => {
      if (!(event instanceof CustomEvent) || event.detail.log !== this.log) return;
      form.hidden = false;
      // What was found in the log of another attempt has no place in this one.
      if (this.epoch > 0 && event.detail.epoch !== this.epoch) this.clear();
    });
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      // The same question again goes to the next place.
      if (String(this.query) === String(this.question()) && this.hits.length > 0) void this.next(1); else void this.begin().then(() => this.reveal(0));
    });
    form.addEventListener("change", (event) => {
      const isChoice = event.target === this.steps || event.target instanceof HTMLInputElement && event.target.type === "checkbox";
      if (isChoice) void this.begin();
    });
    this.more.addEventListener("click", () => void this.ask());
    this.list.addEventListener("click", (event) => {
      const link = event.target instanceof Element ? event.target.closest("a[data-hit]") : null;
      if (!(link instanceof HTMLAnchorElement)) return;
      event.preventDefault();
      this.reveal(Number(link.dataset.hit));
    });
    page.addEventListener("keydown", (event) => this.key(event));
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    const input = this.form.elements.namedItem("q");
    if (!(input instanceof HTMLInputElement)) return;
    // Who has the log's search already wants the browser's own.
    const isCalled = event.key === "/" ? isFree(event) : isFind(event) && event.target !== input;
    if (isCalled && !this.form.hidden && isMeant(this.form)) {
      event.preventDefault();
      input.focus();
      input.select();
    } else if (event.key === "Enter" && event.shiftKey && event.target === input) {
      event.preventDefault();
      void this.next(-1);
    } else if (event.key === "Escape" && event.target === input) {
      input.value = "";
      void this.begin();
      input.blur();
    }
  }

  /** The steps that the page tells of may be looked through alone. */
  listSteps() {
    // A list that somebody chooses from stays as it is.
    if (this.page.activeElement === this.steps) return;
    const rows = [...this.form.closest("section")?.querySelectorAll("[data-steps-of] [data-step]") ?? []];
    const names = rows.filter((row) => row instanceof HTMLElement).map(({ dataset: { step = "", name = "" } }) => {
      const text = `#${step} ${name}`;
      return { step, text: text.length > NAME_MOST ? `${text.slice(0, NAME_MOST)}…` : text };
    });
    if (this.steps.options.length === names.length + 2) return;
    const chosen = this.steps.value;
    const options = [{ step: "", text: t("js-search-all-steps") }, { step: "0", text: t("js-log-attempt") }, ...names].map(({ step, text }) => {
      const option = this.page.createElement("option");
      [option.value, option.textContent, option.selected] = [step, text, step === chosen];
      // Names of steps are what BuildKit calls them.
      if (Number(step) > 0) option.lang = "en";
      return option;
    });
    this.steps.replaceChildren(...options);
  }

  showTurns() {
    for (const turn of this.turns) turn.hidden = this.hits.length === 0;
  }

  /** What the form asks. */
  question() {
    const query = new URLSearchParams();
    for (const [name, value] of new FormData(this.form)) if (typeof value === "string" && value) query.set(name, value);
    return query;
  }

  /** Another hit, round and round. @param {number} by */
  async next(by) {
    const had = this.hits.length;
    if (by > 0 && this.at === had - 1 && (!this.more.hidden || this.isLive)) {
      await (this.paging ??= this.ask().finally(() => { this.paging = null; }));
      // It failed, and says so.
      if (!this.more.hidden && this.hits.length <= had) return;
    }
    const count = this.hits.length;
    if (count > 0) this.reveal(this.at < 0 && by < 0 ? count - 1 : (this.at + by + count) % count);
  }

  /** @param {number} place */
  reveal(place) {
    const hit = this.hits[place];
    if (!hit) return;
    this.at = place;
    for (const link of this.list.querySelectorAll("a[data-hit]")) {
      const here = link instanceof HTMLElement && Number(link.dataset.hit) === place;
      if (here) link.setAttribute("aria-current", "true"); else link.removeAttribute("aria-current");
      if (here) link.parentElement?.scrollIntoView({ block: "nearest" });
    }
    const bySteps = !this.page.querySelector(`[data-log="${this.log}"][data-view="lines"]`);
    const detail = bySteps ? { log: this.log, step: hit.step, from: hit.step_line } : { log: this.log, step: null, from: hit.line };
    this.page.dispatchEvent(new CustomEvent("slipway:show", { detail }));
    this.tell();
  }

  /** Forgets what was asked and found. */
  clear() {
    this.asked?.abort();
    this.hits = [];
    this.showTurns();
    this.at = -1;
    this.query = new URLSearchParams();
    this.after = 0;
    this.counted = NOTHING;
    this.isLive = false;
    this.epoch = Number(this.form.dataset.attempt ?? 0);
    this.list.replaceChildren();
    this.more.hidden = true;
    this.say("");
  }

  /** Asks a new question. */
  async begin() {
    this.clear();
    this.query = this.question();
    await this.ask();
  }

  /** Asks for the next page, until it has the first of its hits; the rest follows. */
  async ask() {
    if (!this.query.has("q")) return;
    this.asked?.abort();
    const asked = this.asked = new AbortController();
    this.more.disabled = true;
    if (this.after === 0) this.say(t("js-search-going"));
    const had = this.hits.length;
    const most = had + PAGE;
    let isPartial = true;
    while (isPartial && this.hits.length === had) isPartial = await this.readPage(asked, most);
    if (this.asked !== asked) return;
    this.more.disabled = false;
    void this.goOn(asked, isPartial, most);
  }

  /** Fills the page, and counts what is behind it. @param {AbortController} asked @param {boolean} isPartial @param {number} most */
  async goOn(asked, isPartial, most) {
    while (isPartial && this.hits.length < most) isPartial = await this.readPage(asked, most);
    while (!asked.signal.aborted && this.counted.next !== null) {
      const found = await this.found(asked, { limit: "0", after: String(this.counted.next) });
      if (!found) return;
      this.counted = { total: this.counted.total + found.total, cut: this.counted.cut + found.cut_lines, next: found.next };
      this.tell();
    }
  }

  /** Shows more of the page; whether there may be still more. @param {AbortController} asked @param {number} most */
  async readPage(asked, most) {
    const found = await this.found(asked, { first: "1", limit: String(most - this.hits.length), after: String(this.after) });
    if (found) this.show(found);
    return found !== null && found.partial;
  }

  /**
   * One answer; where there is none that is said, and nothing more is asked.
   * @param {AbortController} asked @param {Record<string, string>} what @returns {Promise<Found|null>}
   */
  async found(asked, what) {
    const query = new URLSearchParams([...this.query, ...Object.entries(what)]);
    if (this.epoch > 0) query.set("epoch", String(this.epoch));
    try {
      const answer = await fetch(`${this.log}/search?${query}`, { signal: asked.signal });
      const body = await answer.json();
      if (asked.signal.aborted) return null;
      // One that came no further than where it began would not the next time.
      if (answer.ok && !(body.partial && body.next === null)) return body;
      this.say(body.detail ?? t("js-search-failed"));
    } catch {
      if (!asked.signal.aborted) this.say(t("js-search-no-answer"));
    }
    asked.abort();
    return null;
  }

  /** @param {Found} found */
  show(found) {
    this.epoch = found.epoch;
    this.isLive = found.state === "live";
    this.list.append(...found.hits.map((hit) => this.row(hit)));
    this.showTurns();
    this.after = found.next ?? found.hits.at(-1)?.line ?? this.after;
    const { total, cut, next } = this.counted;
    const isBehind = next !== null && (found.next === null || next < found.next);
    // A log that grows has more than was counted.
    if (isBehind || this.hits.length > total) {
      this.counted = { total: this.hits.length, cut: cut + (isBehind ? found.cut_lines : 0), next: found.next };
    }
    this.tell();
  }

  /** @param {Hit} hit */
  row(hit) {
    const row = this.page.createElement("li");
    const link = this.page.createElement("a");
    link.href = `?attempt=${this.epoch}#L${hit.line}`;
    link.dataset.hit = String(this.hits.push(hit) - 1);
    link.textContent = String(hit.line);
    link.title = t("js-search-show");
    const text = this.page.createElement("code");
    for (const part of hit.parts) {
      const piece = this.page.createElement(part.hit ? "mark" : "span");
      piece.textContent = part.text;
      text.append(piece);
    }
    row.append(...this.around(hit.before), link, hit.step > 0 ? ` #${hit.step} ` : " ", text, ...this.around(hit.after));
    return row;
  }

  /** @param {string[]} [lines] */
  around(lines = []) {
    return lines.map((line) => {
      const around = this.page.createElement("code");
      around.className = "around quiet";
      around.textContent = line;
      return around;
    });
  }

  /** How much is found, and which of it is shown. */
  tell() {
    const { total, cut, next } = this.counted;
    const left = total - this.hits.length;
    this.more.hidden = left <= 0 && next === null;
    const written = (/** @type {number} */ count) => next === null ? count : t("js-search-at-least", { count });
    this.more.textContent = t("js-search-more", { count: written(left) });
    const found = next !== null ? "js-search-going-on" : this.isLive ? "js-search-found-so-far" : "js-search-found";
    const told = this.at < 0 ? t(found, { count: total }) : t("js-search-place", { place: this.at + 1, count: written(total) });
    this.say(cut > 0 ? t("js-search-cut", { told, count: cut }) : told);
  }

  /** @param {string} text */
  say(text) {
    if (this.status) this.status.textContent = text;
  }
}
