// The log of one job: steps that open and close, or all lines in their order. Only what is in sight is in the page; the
// server counts and numbers the lines, and rings when a log that lives has more of them.

import { Copying } from "./copying.js";
import { Draw, stateWords } from "./draw.js";
import { Feed } from "./feed.js";
import { Heads } from "./heads.js";
import { showHelp } from "./keys.js";
import { Lines } from "./lines.js";
import { Moves } from "./moves.js";
import { keep, kept } from "./prefs.js";
import { Rows } from "./rows.js";
import { Scroller } from "./scroller.js";
import { t } from "./texts.js";

/** Lines around what is in sight that are read before they are seen. */
const AHEAD = 150;
/** What readers begin with when they do something. */
const ACTS = ["keydown", "pointerdown", "wheel"];
const TIMES = ["off", "clock", "utc", "start", "gap"];
/** Where there is no room for the numbers of lines, unless they are wanted. */
const NARROW = "(max-width: 40rem), (pointer: coarse)";

/** @param {Document} page */
export function startLogs(page) {
  for (const box of page.querySelectorAll("[data-log]")) {
    if (box instanceof HTMLElement) new LogView(page, box);
  }
}

export class LogView {
  /** @param {Document} page @param {HTMLElement} box */
  constructor(page, box) {
    this.page = page;
    this.box = box;
    this.url = box.dataset.log ?? "";
    this.job = box.dataset.job ?? "";
    this.feed = new Feed(page, this.url, {
      told: (told, lines) => this.take(told, lines), lost: (status) => this.lose(status), broke: () => this.complain(t("js-log-reconnecting")),
    });
    this.rows = new Rows();
    this.rows.bySteps = kept("view", "steps") === "steps";
    this.draw = new Draw(page);
    this.heads = new Heads(this.draw);
    this.moves = new Moves(this);
    this.setTimesOf(kept("times", "off"));
    this.begin(0);
    /** @type {import("./feed.js").Count[]} */
    this.counts = [];
    this.following = false;
    this.seen = 0;
    this.wraps = kept("wrap", "yes") === "yes";
    this.hasNumbers = kept("numbers", matchMedia(NARROW).matches ? "no" : "yes") === "yes";
    /** What the address names: a step or all, first and last line. @type {{ step: number|null, from: number, to: number }|null} */
    this.target = null;
    /** Steps without lines that somebody went to. @type {Set<number>} */
    this.wanted = new Set();
    this.began = false;
    this.acted = new AbortController();
    this.isLive = false;
    this.status = this.part("status");
    // Beside what is read aloud: it changes all the time.
    this.told = page.createElement("span");
    this.told.className = "quiet";
    this.told.id = `log-told-${this.job}`;
    this.status?.before(this.told);
    this.state = "";
    this.hasComplained = false;
    this.box.replaceChildren();
    this.sticky = page.createElement("div");
    this.sticky.className = "log-sticky";
    this.box.append(this.sticky);
    this.scroller = new Scroller(box, {
      count: () => this.rows.count,
      key: (row) => this.rows.keyOf(row),
      rowOf: (key) => this.rows.rowOfKey(key),
      make: (row, old) => this.make(row, old),
      drawn: (first, end) => this.drawn(first, end),
      moved: (byReader) => this.moved(byReader),
    });
    this.copying = new Copying(box, this);
    this.numbers = page.createElement("button");
    this.bar();
    this.moves.bar();
    this.box.addEventListener("click", (event) => this.clicked(event));
    page.addEventListener("slipway:refreshed", () => { this.steps(); this.grown(); });
    page.addEventListener("slipway:show", (event) => {
      if (event instanceof CustomEvent && event.detail.log === this.url) this.goTo(event.detail);
    });
    addEventListener("hashchange", () => this.named());
    this.form();
    this.feed.attempt = box.dataset.attempt ?? "";
    void this.feed.look();
  }

  /** @param {string} name */
  part(name) {
    return this.page.getElementById(`log-${name}-${this.job}`);
  }

  bar() {
    const acts = {
      follow: () => this.follow(true), view: () => this.switchView(), wrap: () => this.setWrap(!this.wraps),
      times: () => this.nextTimes(), open: () => this.openAll(true), close: () => this.openAll(false),
      help: () => showHelp(this.page),
    };
    for (const [name, act] of Object.entries(acts)) {
      this.part(name)?.addEventListener("click", act);
      if (name !== "follow") this.part(name)?.removeAttribute("hidden");
    }
    [this.numbers.type, this.numbers.className, this.numbers.textContent] = ["button", "small", t("js-log-numbers")];
    this.numbers.addEventListener("click", () => this.setNumbers(!this.hasNumbers));
    this.part("times")?.before(this.numbers);
  }

  /** How rows look now. */
  form() {
    this.box.classList.toggle("wrap", this.wraps);
    this.box.dataset.times = this.draw.times;
    this.box.classList.toggle("no-numbers", !this.hasNumbers);
    this.numbers.setAttribute("aria-pressed", String(this.hasNumbers));
    this.box.dataset.view = this.rows.bySteps ? "steps" : "lines";
    this.part("wrap")?.setAttribute("aria-pressed", String(this.wraps));
    const times = this.part("times");
    if (times) times.textContent = t("js-log-times", { times: this.draw.times });
    const view = this.part("view");
    if (view) view.textContent = this.rows.bySteps ? t("js-log-all-lines") : t("js-log-by-steps");
    this.copying.form();
    for (const name of ["open", "close"]) this.part(name)?.toggleAttribute("hidden", !this.rows.bySteps);
    this.scroller.redraw();
  }

  // What there is.

  /** The log of another attempt. @param {number} epoch */
  begin(epoch) {
    this.lines = new Lines(this.url, epoch, (status) => this.came(status));
    this.moves.begin(epoch);
    this.draw.epoch = epoch;
    this.rows.clear();
    this.seen = 0;
  }

  /** @param {number|null} status */
  came(status) {
    if (status !== null) return this.lose(status);
    this.settle();
    this.scroller.draw();
  }

  /** Tells why nothing comes. @param {number} status */
  lose(status) {
    if (status === 404) this.complain(t("js-log-gone"));
    else if (status === 401 || status === 403) this.complain(t("js-log-denied"));
    else this.complain(t("js-log-no-answer"));
  }

  /** Says what is wrong until it is right again. @param {string} text */
  complain(text) {
    this.say(text);
    this.hasComplained = true;
  }

  settle() {
    if (this.hasComplained) this.say("");
  }

  /** @param {import("./feed.js").Told} told @param {import("./lines.js").Line[]} [lines] those behind all others, if they came with it */
  take(told, lines) {
    if (told.epoch !== this.feed.epoch) this.begin(told.epoch);
    if (lines) this.lines.add(lines);
    else if (told.end !== this.feed.end) {
      for (const { step, lines } of this.counts) this.lines.touch(step, lines);
      this.lines.touch(null, this.rows.lines);
    }
    this.lines.end = told.end;
    this.counts = told.steps;
    this.draw.began = told.steps[0]?.first_at ?? "";
    this.rows.lines = told.lines;
    this.rows.groups = told.groups ?? [];
    this.steps();
    this.settle();
    const words = stateWords(told.state, this.rows.lines);
    if (this.told.textContent !== words) this.told.textContent = words;
    if (this.state && this.state !== told.state) this.say(t("js-log-changed", { state: told.state }));
    this.state = told.state;
    if (told.lines > 0) this.page.dispatchEvent(new CustomEvent("slipway:lines", { detail: { log: this.url, epoch: told.epoch } }));
    this.isLive = told.state === "live";
    if (!this.began && told.epoch > 0) {
      this.began = true;
      this.first();
    }
    this.grown();
    this.showFollow();
  }

  grown() {
    if (this.following) this.scroller.toEnd();
    else this.scroller.draw();
  }

  /** The steps as the page has them, with the lines that the log has of them. */
  steps() {
    /** @type {Map<number, import("./rows.js").Step>} */
    const steps = new Map();
    for (const row of this.page.querySelectorAll(`[data-steps-of="${this.job}"] [data-step]`)) {
      if (!(row instanceof HTMLElement)) continue;
      const number = Number(row.dataset.step);
      const { name = "", tone = "", word = "", took = "", moved, total } = row.dataset;
      const bytes = (/** @type {string|undefined} */ text) => text ? Number(text) : null;
      steps.set(number, { number, name, tone, word, took, moved: bytes(moved), total: bytes(total), lines: 0 });
    }
    for (const { step, lines } of this.counts) {
      const known = steps.get(step);
      if (known) known.lines = lines;
      else {
        const name = step === 0 ? t("js-log-attempt") : "";
        steps.set(step, { number: step, name, tone: "", word: "", took: "", moved: null, total: null, lines });
      }
    }
    const isWorth = (/** @type {import("./rows.js").Step} */ step) =>
      step.lines > 0 || step.tone === "bad" || this.wanted.has(step.number) || !/^(\[internal\]|importing cache|exporting)/.test(step.name);
    const shown = [...steps.values()].filter(isWorth).sort((one, other) => one.number - other.number);
    this.scroller.keep(() => this.rows.set(shown, this.rows.lines));
  }

  /** Where the reader begins: what the address names, what failed, or the end of what runs. */
  first() {
    this.seen = this.rows.lines;
    if (this.named()) return;
    const failed = this.rows.bySteps ? this.rows.steps.find((step) => step.tone === "bad" && step.lines > 0) : undefined;
    if (this.isLive) this.follow(true);
    else if (failed) {
      this.scroller.showAt(this.rows.rowOf(failed.number, failed.lines), 0.7);
      void this.showCause(failed.number);
    }
  }

  /** Goes on to the first error of what failed, unless the reader does something meanwhile. @param {number} step */
  async showCause(step) {
    const { errors } = this.moves;
    const { signal } = this.acted;
    for (const act of ACTS) this.page.addEventListener(act, () => this.acted.abort(), { signal, capture: true, passive: true });
    const hit = await errors.firstOf(step, signal).catch(() => undefined);
    const isFree = !signal.aborted && !this.target && errors === this.moves.errors;
    if (hit && isFree) this.scroller.showAt(this.rows.rowOf(step, hit.step_line), 1 / 3);
    this.acted.abort();
  }

  // Rows.

  /** @param {number} row @param {HTMLElement|undefined} old */
  make(row, old) {
    const at = this.rows.at(row);
    if (!at) return old ?? this.page.createElement("div");
    if (at.kind === "step") return this.heads.head(at.step, this.rows.isOpen(at.step), old);
    const line = this.lines.get(at.step, at.number, this.rows.linesOf(at.step));
    const before = this.lines.known(at.step, at.number - 1);
    return this.draw.line(at, { line, before, marked: this.isTarget(at.step, at.number), old });
  }

  /** What is near is read too, after what is in sight. @param {number} first @param {number} end */
  drawn(first, end) {
    for (const row of [end + AHEAD, first - AHEAD]) {
      const at = this.rows.at(Math.max(0, Math.min(this.rows.count - 1, row)));
      if (at?.kind === "line") this.lines.get(at.step, at.number, this.rows.linesOf(at.step));
    }
    this.lines.serve();
  }

  // What readers do.

  /** @param {MouseEvent} event */
  clicked(event) {
    const target = event.target instanceof Element ? event.target : null;
    const step = target?.closest("button.step");
    if (step instanceof HTMLElement) return this.toggle(Number(step.dataset.step));
    const title = target?.closest("button.group")?.closest("[data-row]");
    if (title instanceof HTMLElement) return this.toggleGroup(this.rows.rowOfKey(title.dataset.row ?? ""));
    const link = target?.closest("a.no");
    if (!(link instanceof HTMLAnchorElement) || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    const [, of, at] = /^#(?:s(\d+):)?L(\d+)$/.exec(link.hash) ?? [];
    const step_ = of === undefined ? null : Number(of);
    const number = Number(at);
    const from = event.shiftKey && this.target?.step === step_ ? this.target.from : number;
    this.mark(step_, Math.min(from, number), Math.max(from, number));
  }

  /** @param {number|null} step @param {number} from @param {number} to */
  mark(step, from, to) {
    this.target = { step, from, to };
    this.address(this.target);
    this.copying.form();
    this.follow(false);
    this.scroller.draw();
    this.rows.held = this.target;
    this.say(to > from ? t("js-log-lines-named", { from, to }) : t("js-log-line-named", { line: from }));
  }

  /** Names lines in the address, with their attempt: the same lines of another one are others. The page stays with it.
   * @param {{ step: number|null, from: number, to: number }} place */
  address({ step, from, to }) {
    const place = new URL(location.href);
    this.feed.attempt = String(this.lines.epoch);
    place.searchParams.set("attempt", this.feed.attempt);
    const search = this.page.querySelector(`[data-log-search="${this.url}"]`);
    if (search instanceof HTMLElement) search.dataset.attempt = this.feed.attempt;
    for (const link of this.page.querySelectorAll(`a[data-log-link="${this.url}"]`)) {
      const to = new URL(/** @type {HTMLAnchorElement} */ (link).href);
      to.searchParams.set("epoch", this.feed.attempt);
      link.setAttribute("href", `${to.pathname}${to.search}`);
    }
    place.hash = `${step === null ? "" : `s${step}:`}L${from}${to > from ? `-L${to}` : ""}`;
    history.replaceState(null, "", place);
  }

  /** Shows what the address names. */
  named() {
    const [, failed] = /^#s(\d+):error$/.exec(location.hash) ?? [];
    if (failed) return this.goToCause(Number(failed));
    const [, step, one, other] = /^#(?:s(\d+):)?L(\d+)(?:-L(\d+))?$/.exec(location.hash) ?? [];
    if (!one) return false;
    const [from, to] = [Number(one), Number(other ?? one)].sort((a, b) => a - b);
    return this.goTo({ step: step === undefined ? null : Number(step), from: Math.max(1, from), to });
  }

  /** Goes to the end of a step, and on to its first error unless the reader does. True if there is such a step. @param {number} number */
  goToCause(number) {
    const lines = this.rows.linesOf(number);
    if (lines === 0) return false;
    const show = (/** @type {number} */ from) => {
      this.address({ step: number, from, to: from });
      return this.goTo({ step: number, from });
    };
    show(lines);
    const { target, scroller: { row } } = this;
    const isHere = () => this.target === target && this.scroller.row === row;
    void this.moves.errors.firstOf(number).then((hit) => { if (hit && isHere()) show(hit.step_line); }, () => {});
    return true;
  }

  /** True if there is such a place. @param {{ step: number|null, from: number, to?: number }} place */
  goTo({ step, from, to = from }) {
    if (step !== null && !this.rows.step(step)) {
      this.wanted.add(step);
      this.steps();
      if (!this.rows.step(step)) return false;
    }
    this.target = { step, from, to };
    this.rows.held = this.target;
    this.copying.form();
    this.follow(false);
    if (this.rows.bySteps !== (step !== null)) this.setView(step !== null);
    this.scroller.showAt(this.rows.rowOf(step, from, to), 1 / 3);
    this.box.scrollIntoView({ block: "nearest" });
    return true;
  }

  /** @param {number|null} step @param {number} number */
  isTarget(step, number) {
    const target = this.target;
    return target !== null && target.step === step && number >= target.from && number <= target.to;
  }

  /** @param {number} number */
  toggle(number) {
    const step = this.rows.step(number);
    if (!step) return;
    this.follow(false);
    const open = !this.rows.isOpen(step);
    const head = this.rows.rowOf(number, 0);
    // The head stays where it is; what is closed while its lines fill the view takes their place.
    const above = head < this.scroller.row ? 0 : this.scroller.offsetOf(head) - this.scroller.offsetOf(this.scroller.row) - this.scroller.px;
    const isFocused = this.sticky.contains(this.page.activeElement);
    this.rows.open(number, open);
    this.scroller.show(head, Math.max(0, above));
    if (isFocused) this.focusHead(number);
  }

  /** @param {number} row */
  toggleGroup(row) {
    const at = this.rows.at(row);
    if (at?.kind !== "line" || !at.group || at.step === null) return;
    this.follow(false);
    const above = this.scroller.offsetOf(row) - this.scroller.offsetOf(this.scroller.row) - this.scroller.px;
    this.rows.openGroup(at.step, at.number, !at.isOpen);
    this.scroller.show(row, Math.max(0, above));
  }

  /** @param {boolean} open */
  openAll(open) {
    this.follow(false);
    const place = this.rows.stepAt(this.scroller.row);
    this.rows.openAll(open);
    this.scroller.show(this.rows.starts[Math.max(0, place)] ?? 0);
  }

  switchView() {
    const wasFollowing = this.following;
    this.follow(false);
    this.scroller.atEnd = false;
    this.setView(!this.rows.bySteps);
    keep("view", this.rows.bySteps ? "steps" : "lines");
    if (wasFollowing) this.follow(true);
    else this.scroller.show(0);
  }

  /** @param {boolean} bySteps */
  setView(bySteps) {
    this.rows.bySteps = bySteps;
    this.rows.lay();
    this.form();
  }

  /** @param {boolean} wraps */
  setWrap(wraps) {
    this.wraps = wraps;
    keep("wrap", wraps ? "yes" : "no");
    this.form();
  }

  /** @param {boolean} hasNumbers */
  setNumbers(hasNumbers) {
    this.hasNumbers = hasNumbers;
    keep("numbers", hasNumbers ? "yes" : "no");
    this.form();
  }

  /** @param {string} times */
  setTimesOf(times) {
    this.draw.times = TIMES.includes(times) ? times : "off";
  }

  nextTimes() {
    this.setTimesOf(TIMES[(TIMES.indexOf(this.draw.times) + 1) % TIMES.length]);
    keep("times", this.draw.times);
    this.form();
  }

  /** @param {boolean} following */
  follow(following) {
    if (this.following && !following) this.seen = this.rows.lines;
    this.following = following;
    if (following) {
      const running = this.rows.steps.filter((step) => step.tone === "busy").pop();
      if (this.rows.bySteps && running && !this.rows.isOpen(running)) this.rows.open(running.number, true);
      this.scroller.toEnd();
    }
    this.showFollow();
  }

  selecting() {
    if (this.following) this.follow(false);
    // What is selected does not move on.
    this.scroller.atEnd = false;
  }

  /** @param {boolean} byReader */
  moved(byReader) {
    if (byReader) {
      this.acted.abort();
      const follows = this.scroller.atEnd && this.isLive;
      if (this.following && !follows) this.seen = this.rows.lines;
      this.following = follows;
      this.showFollow();
    }
    this.showSticky();
  }

  showFollow() {
    const button = this.part("follow");
    if (!button) return;
    button.hidden = this.following || !this.isLive;
    const news = Math.max(0, this.rows.lines - this.seen);
    button.textContent = t("js-log-follow", { news });
  }

  /** The head of the step whose lines are on top. */
  showSticky() {
    const at = this.rows.bySteps ? this.rows.at(this.scroller.row) : undefined;
    const step = at?.kind === "line" ? this.rows.step(at.step) : undefined;
    if (!step) return this.sticky.replaceChildren();
    const old = this.sticky.firstElementChild;
    const head = this.heads.head(step, this.rows.isOpen(step), old instanceof HTMLElement ? old : undefined);
    if (head !== old) this.sticky.replaceChildren(head);
  }

  /** @param {number} step */
  focusHead(step) {
    this.scroller.shown.get(`s${step}`)?.querySelector("button")?.focus({ preventScroll: true });
  }

  /** @param {string} text */
  say(text) {
    this.hasComplained = false;
    if (this.status && this.status.textContent !== text) this.status.textContent = text;
  }
}
