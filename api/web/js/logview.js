// The live log of one job: server-sent events become rows of text. Follows the end until the reader scrolls
// up; keeps a bounded number of rows, the plain log has them all.

import { afterReturns, ansiRuns, plainStyle } from "./ansi.js";

const MOST_ROWS = 20_000;
const DROP_ROWS = 2_000;
const RETRY_MS = 2_000;
const NEAR_END_PX = 24;

/** @typedef {{ step: number, stream: string, at: string, text: string }} Span */
/** @typedef {{ epoch: number, from: number, to: number, spans: Span[] }} Piece */
/** @typedef {{ row: HTMLElement, text: string, style: import("./ansi.js").Style }} OpenRow */

/** @param {Document} page */
export function startLogs(page) {
  for (const box of page.querySelectorAll("[data-log-stream]")) {
    if (box instanceof HTMLElement) new LogView(page, box).connect();
  }
}

class LogView {
  /** @param {Document} page @param {HTMLElement} box */
  constructor(page, box) {
    this.page = page;
    this.box = box;
    this.url = box.dataset.logStream ?? "";
    this.status = page.getElementById(box.dataset.logStatus ?? "");
    this.follow = page.getElementById(box.dataset.logFollow ?? "");
    this.following = true;
    this.epoch = 0;
    this.end = 0;
    /** The step of the last line; 0 is the attempt itself. */
    this.step = 0;
    /** @type {OpenRow|null} */
    this.open = null;
    this.dropped = false;
    this.unseen = 0;
    this.lastTop = 0;
    this.drawn = false;
    this.box.replaceChildren();
    this.box.addEventListener("scroll", () => this.scrolled(), { passive: true });
    this.follow?.addEventListener("click", () => this.setFollowing(true));
    // Steps get their names when the page refreshes, often after their first lines.
    this.page.addEventListener("slipway:refreshed", () => this.nameSteps());
    if (this.follow) this.follow.hidden = true;
  }

  connect() {
    // The browser's own reconnects carry Last-Event-ID; a new connection must say where it goes on.
    const after = this.epoch > 0 ? `&after=${this.epoch}:${this.end}` : "";
    const events = new EventSource(this.url + after);
    events.addEventListener("open", () => this.say("Live"));
    events.addEventListener("message", (event) => this.take(JSON.parse(event.data)));
    events.addEventListener("attempt", (event) => this.attempt(JSON.parse(event.data).epoch));
    events.addEventListener("end", (event) => {
      events.close();
      this.say(this.endWord(JSON.parse(event.data).state));
      this.page.dispatchEvent(new Event("slipway:changed"));
    });
    events.addEventListener("error", () => {
      this.say(this.end > 0 ? "Reconnecting…" : "Waiting for the log…");
      // The browser tries again by itself unless the server refused; then nothing has begun yet.
      if (events.readyState !== EventSource.CLOSED) return;
      setTimeout(() => this.connect(), RETRY_MS);
    });
  }

  /** @param {Piece} piece */
  take(piece) {
    if (piece.epoch < this.epoch || (piece.epoch === this.epoch && piece.to <= this.end && piece.to > 0)) return;
    if (piece.epoch > this.epoch) this.begin(piece.epoch);
    this.end = piece.to;
    for (const span of piece.spans) this.span(span);
    this.trim();
    this.draw();
  }

  /** @param {number} epoch */
  attempt(epoch) {
    if (epoch > this.epoch) this.begin(epoch);
    this.page.dispatchEvent(new Event("slipway:changed"));
  }

  /** @param {string} state */
  endWord(state) {
    if (state === "cut") return "The end of this log is missing: its builder could not hand it in";
    if (state === "damaged") return "A part of this log does not read";
    return this.end > 0 ? "Complete" : "Nothing was logged";
  }

  /** @param {number} epoch */
  begin(epoch) {
    if (this.epoch > 0) this.box.append(this.element("attempt-head", `Attempt ${epoch}`));
    this.epoch = epoch;
    this.end = 0;
    this.step = 0;
    this.open = null;
  }

  /** @param {Span} span */
  span(span) {
    if (span.step !== this.step) {
      this.step = span.step;
      this.open = null;
      if (span.step > 0) {
        const head = this.element("step-head", this.stepTitle(span.step));
        head.dataset.number = String(span.step);
        this.box.append(head);
      }
    }
    const lines = span.text.split("\n");
    lines.forEach((line, index) => {
      const last = index === lines.length - 1;
      if (last && line === "") return;
      this.write(line, span);
      if (!last) this.open = null;
    });
  }

  /** @param {number} step */
  stepTitle(step) {
    const name = this.page.querySelector(`[data-step="${step}"]`)?.textContent?.trim();
    return name ? `#${step} ${name}` : `#${step}`;
  }

  nameSteps() {
    for (const head of this.box.querySelectorAll(".step-head")) {
      if (head instanceof HTMLElement) head.textContent = this.stepTitle(Number(head.dataset.number));
    }
  }

  /** @param {string} text @param {Span} span */
  write(text, span) {
    if (!this.open) {
      const row = this.element(span.stream === "stderr" ? "row stderr" : "row", "");
      row.title = span.at;
      this.box.append(row);
      this.open = { row, text: "", style: plainStyle() };
    }
    this.open.text += text;
    const runs = ansiRuns(afterReturns(this.open.text), plainStyle());
    this.open.row.replaceChildren(...runs.map((run) => {
      if (!run.classes) return this.page.createTextNode(run.text);
      const part = this.page.createElement("span");
      part.className = run.classes;
      part.textContent = run.text;
      return part;
    }));
    // An empty row must keep its height.
    if (runs.length === 0) this.open.row.textContent = "\u00a0";
    if (!this.following) this.unseen += 1;
  }

  trim() {
    if (this.box.childElementCount <= MOST_ROWS) return;
    const range = this.page.createRange();
    range.setStartBefore(this.box.children[0]);
    range.setEndAfter(this.box.children[DROP_ROWS]);
    range.deleteContents();
    this.box.prepend(this.element("notice", "Earlier lines are in the plain log."));
  }

  // Many pieces arrive in one frame: scroll once.
  draw() {
    if (this.drawn) return;
    this.drawn = true;
    requestAnimationFrame(() => {
      this.drawn = false;
      if (this.following) {
        this.box.scrollTop = this.box.scrollHeight;
        this.lastTop = this.box.scrollTop;
      }
      this.showFollow();
    });
  }

  scrolled() {
    const top = this.box.scrollTop;
    const atEnd = this.box.scrollHeight - top - this.box.clientHeight < NEAR_END_PX;
    if (atEnd) this.setFollowing(true);
    else if (top < this.lastTop) this.setFollowing(false);
    this.lastTop = top;
  }

  /** @param {boolean} following */
  setFollowing(following) {
    this.following = following;
    if (following) { this.unseen = 0; this.draw(); }
    this.showFollow();
  }

  showFollow() {
    if (!this.follow) return;
    this.follow.hidden = this.following;
    this.follow.textContent = this.unseen > 0 ? `Follow ↓ (${this.unseen} new)` : "Follow ↓";
  }

  /** @param {string} text */
  say(text) {
    if (this.status && this.status.textContent !== text) this.status.textContent = text;
  }

  /** @param {string} className @param {string} text */
  element(className, text) {
    const element = this.page.createElement("div");
    element.className = className;
    element.textContent = text;
    return element;
  }
}
