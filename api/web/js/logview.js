// The log of one job: steps that open and close, or all lines in their order. Only what is in sight is in the page; the
// server counts and numbers the lines, and rings when a log that lives has more of them.

import { Copying } from "./copying.js";
import { Draw, stateWords } from "./draw.js";
import { Errors } from "./errors.js";
import { isFree, isMeant, showHelp } from "./keys.js";
import { Lines } from "./lines.js";
import { keep, kept } from "./prefs.js";
import { Rows } from "./rows.js";
import { Scroller } from "./scroller.js";

const RETRY_MS = 2_000;
/** A log that grows is looked at so often at most. */
const LOOK_MS = 200;
/** Lines around what is in sight that are read before they are seen. */
const AHEAD = 150;
const TIMES = ["off", "clock", "start", "gap"];
const TIME_WORDS = ["off", "clock", "since start", "since last line"];

/** @param {Document} page */
export function startLogs(page) {
  for (const box of page.querySelectorAll("[data-log]")) {
    if (box instanceof HTMLElement) new LogView(page, box);
  }
}

class LogView {
  /** @param {Document} page @param {HTMLElement} box */
  constructor(page, box) {
    this.page = page;
    this.box = box;
    this.url = box.dataset.log ?? "";
    this.job = box.dataset.job ?? "";
    this.epoch = 0;
    this.end = 0;
    this.state = "none";
    this.rows = new Rows();
    this.rows.bySteps = kept("view", "steps") === "steps";
    this.draw = new Draw(page);
    this.setTimesOf(kept("times", "off"));
    this.begin(0);
    /** @type {{ step: number, lines: number, first_at: string }[]} */
    this.counts = [];
    this.following = false;
    this.seen = 0;
    this.wraps = kept("wrap", "yes") === "yes";
    /** What the address names: a step or all, first and last line. @type {{ step: number|null, from: number, to: number }|null} */
    this.target = null;
    /** @type {EventSource|null} */
    this.events = null;
    this.isLooking = false;
    this.isAwaited = false;
    this.retry = 0;
    this.ended = false;
    this.began = false;
    /** The server does not answer. */
    this.isLost = false;
    this.status = this.part("status");
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
    this.bar();
    this.box.addEventListener("click", (event) => this.clicked(event));
    page.addEventListener("keydown", (event) => this.pressed(event));
    page.addEventListener("slipway:refreshed", () => { this.steps(); this.grown(); });
    page.addEventListener("slipway:show", (event) => {
      if (event instanceof CustomEvent && event.detail.log === this.url) this.goTo(event.detail);
    });
    page.addEventListener("visibilitychange", () => { if (page.hidden) this.hush(); else void this.look(); });
    addEventListener("hashchange", () => this.named());
    this.form();
    void this.look();
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
  }

  /** How rows look now. */
  form() {
    this.box.classList.toggle("wrap", this.wraps);
    this.box.dataset.times = this.draw.times;
    this.box.dataset.view = this.rows.bySteps ? "steps" : "lines";
    this.part("wrap")?.setAttribute("aria-pressed", String(this.wraps));
    const times = this.part("times");
    if (times) times.textContent = `Times: ${TIME_WORDS[TIMES.indexOf(this.draw.times)]}`;
    const view = this.part("view");
    if (view) view.textContent = this.rows.bySteps ? "All lines in order" : "By steps";
    for (const name of ["open", "close"]) this.part(name)?.toggleAttribute("hidden", !this.rows.bySteps);
    this.scroller.redraw();
  }

  // What there is.

  /** The log of another attempt. @param {number} epoch */
  begin(epoch) {
    this.epoch = epoch;
    this.lines = new Lines(this.url, epoch, (status) => this.came(status));
    this.errors = new Errors(this.url, epoch);
    this.rows.chosen.clear();
  }

  /** @param {number|null} status */
  came(status) {
    if (status !== null) this.lose(status);
    else this.scroller.draw();
  }

  /** Tells why nothing comes. @param {number} status */
  lose(status) {
    this.isLost = true;
    if (status === 404) this.say("This log is not there any more");
    else if (status === 401 || status === 403) this.say("You may not see this log any more; sign in again");
    else this.say("The server does not answer; trying again…");
  }

  async look() {
    if (this.isLooking) { this.isAwaited = true; return; }
    this.isLooking = true;
    this.isAwaited = false;
    clearTimeout(this.retry);
    let status = 0;
    try {
      const answer = await fetch(`${this.url}/outline`);
      status = answer.status;
      if (!answer.ok) throw new Error(`status ${status}`);
      this.isLost = false;
      this.take(await answer.json());
      if (this.state === "live" || this.state === "none") this.listen(); else this.hush();
    } catch {
      this.lose(status);
      this.retry = setTimeout(() => void this.look(), RETRY_MS);
    }
    setTimeout(() => {
      this.isLooking = false;
      if (this.isAwaited) void this.look();
    }, LOOK_MS);
  }

  /** @param {{ epoch: number, newest: number, state: string, lines: number, end: number, steps: typeof this.counts }} told */
  take(told) {
    if (told.epoch !== this.epoch) this.begin(told.epoch);
    else if (told.end < this.end) return;
    if (told.end !== this.end) {
      for (const { step, lines } of this.counts) this.lines.touch(step, lines);
      this.lines.touch(null, this.rows.lines);
    }
    [this.end, this.state, this.counts] = [told.end, told.state, told.steps];
    this.draw.began = told.steps[0]?.first_at ?? "";
    this.rows.lines = told.lines;
    this.steps();
    this.say(stateWords(this.state, this.rows.lines));
    if (told.lines > 0) this.page.dispatchEvent(new CustomEvent("slipway:lines", { detail: { log: this.url } }));
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
      const { tone = "", word = "", took = "" } = row.dataset;
      steps.set(number, { number, name: row.dataset.name ?? "", tone, word, took, lines: 0 });
    }
    for (const { step, lines } of this.counts) {
      const known = steps.get(step);
      if (known) known.lines = lines;
      else steps.set(step, { number: step, name: step === 0 ? "[slipway] about this attempt" : "", tone: "", word: "", took: "", lines });
    }
    const isWorth = (/** @type {import("./rows.js").Step} */ step) =>
      step.lines > 0 || step.tone === "bad" || !/^(\[internal\]|importing cache|exporting)/.test(step.name);
    const shown = [...steps.values()].filter(isWorth).sort((one, other) => one.number - other.number);
    this.scroller.keep(() => this.rows.set(shown, this.rows.lines));
  }

  listen() {
    if (this.events || this.page.hidden) return;
    const ended = this.ended;
    this.ended = false;
    if (ended) return void (this.retry = setTimeout(() => void this.look(), RETRY_MS));
    const events = this.events = new EventSource(`${this.url}/stream?bell=1&after=${this.epoch}:${this.end}`);
    const look = () => void this.look();
    const changed = () => { this.hush(); this.page.dispatchEvent(new Event("slipway:changed")); look(); };
    events.addEventListener("message", look);
    // After a break: what came meanwhile, and what the status says.
    events.addEventListener("open", look);
    events.addEventListener("attempt", changed);
    // One that ended without its end may stay so for long.
    events.addEventListener("end", () => { this.ended = true; changed(); });
    events.addEventListener("error", () => {
      if (this.state === "live") this.say("Reconnecting…");
      if (events.readyState !== EventSource.CLOSED) return;
      this.hush();
      clearTimeout(this.retry);
      this.retry = setTimeout(look, RETRY_MS);
    });
  }

  hush() {
    this.events?.close();
    this.events = null;
  }

  /** Where the reader begins: what the address names, what failed, or the end of what runs. */
  first() {
    if (this.named()) return;
    const failed = this.rows.bySteps ? this.rows.steps.find((step) => step.tone === "bad" && step.lines > 0) : undefined;
    if (this.state === "live") this.follow(true);
    else if (failed) this.scroller.showAt(this.rows.rowOf(failed.number, failed.lines), 0.7);
  }

  // Rows.

  /** @param {number} row @param {HTMLElement|undefined} old */
  make(row, old) {
    const at = this.rows.at(row);
    if (!at) return old ?? this.page.createElement("div");
    if (at.kind === "step") return this.draw.head(at.step, this.rows.isOpen(at.step), old);
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
    const prefix = step === null ? "" : `s${step}:`;
    history.replaceState(null, "", `#${prefix}L${from}${to > from ? `-L${to}` : ""}`);
    this.target = { step, from, to };
    this.follow(false);
    this.scroller.draw();
    this.say(to > from ? `Lines ${from} to ${to} are in the address` : `Line ${from} is in the address`);
  }

  /** Shows what the address names. */
  named() {
    const [, step, one, other] = /^#(?:s(\d+):)?L(\d+)(?:-L(\d+))?$/.exec(location.hash) ?? [];
    if (!one) return false;
    const [from, to] = [Number(one), Number(other ?? one)].sort((a, b) => a - b);
    return this.goTo({ step: step === undefined ? null : Number(step), from: Math.max(1, from), to });
  }

  /** True if there is such a place. @param {{ step: number|null, from: number, to?: number }} place */
  goTo({ step, from, to = from }) {
    if (step !== null && !this.rows.step(step)) return false;
    this.target = { step, from, to };
    this.follow(false);
    if (this.rows.bySteps !== (step !== null)) this.setView(step !== null);
    this.scroller.showAt(this.rows.rowOf(step, from), 1 / 3);
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
      const follows = this.scroller.atEnd && this.state === "live";
      if (this.following && !follows) this.seen = this.rows.lines;
      this.following = follows;
      this.showFollow();
    }
    this.showSticky();
  }

  showFollow() {
    const button = this.part("follow");
    if (!button) return;
    button.hidden = this.following || this.state !== "live";
    const news = this.rows.lines - this.seen;
    button.textContent = news > 0 ? `Follow ↓ (${news.toLocaleString("en")} new)` : "Follow ↓";
  }

  /** The head of the step whose lines are on top. */
  showSticky() {
    const at = this.rows.bySteps ? this.rows.at(this.scroller.row) : undefined;
    const step = at?.kind === "line" ? this.rows.step(at.step) : undefined;
    if (!step) return this.sticky.replaceChildren();
    const old = this.sticky.firstElementChild;
    const head = this.draw.head(step, this.rows.isOpen(step), old instanceof HTMLElement ? old : undefined);
    if (head !== old) this.sticky.replaceChildren(head);
  }

  /** @param {KeyboardEvent} event */
  pressed(event) {
    if (!isFree(event) || !isMeant(this.box)) return;
    const isHere = this.box.contains(this.page.activeElement);
    const isBare = this.page.activeElement === this.box || this.page.activeElement === this.page.body;
    const acts = {
      j: () => this.step(1), k: () => this.step(-1), n: () => void this.error(1), p: () => void this.error(-1),
      g: () => this.top(), G: () => this.bottom(), f: () => this.follow(this.state === "live"), s: () => this.switchView(),
      w: () => this.setWrap(!this.wraps), t: () => this.nextTimes(), "?": () => showHelp(this.page),
      ...(isHere ? { Home: () => this.top(), End: () => this.bottom() } : {}),
      ...(isBare && this.rows.bySteps && this.rows.count > 0 ? { Enter: () => this.toggle(this.rows.steps[this.rows.stepAt(this.scroller.row)].number) } : {}),
    };
    const act = acts[/** @type {keyof typeof acts} */ (event.key)];
    if (!act) return;
    event.preventDefault();
    act();
  }

  top() {
    this.follow(false);
    this.scroller.show(0);
  }

  bottom() {
    if (this.state === "live") this.follow(true); else this.scroller.toEnd();
  }

  /** @param {number} by */
  step(by) {
    if (!this.rows.bySteps) this.setView(true);
    this.follow(false);
    // Near the end the step on top does not change any more: the focus tells where the reader is.
    const focused = this.page.activeElement?.closest("button.step");
    const here = focused instanceof HTMLElement && this.box.contains(focused)
      ? this.rows.steps.findIndex((step) => step.number === Number(focused.dataset.step)) : this.rows.stepAt(this.scroller.row);
    const isOnHead = this.rows.starts[here] >= this.scroller.row;
    const isFirst = !focused && this.scroller.row === 0 && by > 0;
    const place = isFirst ? 0 : Math.max(0, Math.min(this.rows.steps.length - 1, by < 0 && !isOnHead ? here : here + by));
    const row = this.rows.starts[place];
    if (row === undefined) return;
    this.scroller.show(row);
    this.focusHead(this.rows.steps[place].number);
  }

  /** @param {number} step */
  focusHead(step) {
    this.scroller.shown.get(`s${step}`)?.querySelector("button")?.focus({ preventScroll: true });
  }

  /** @param {number} by */
  async error(by) {
    const { errors } = this;
    try {
      await errors.read(this.end, this.rows.lines);
    } catch {
      return this.say("The log could not be searched for errors");
    }
    const ends = this.rows.steps.filter((step) => step.tone === "bad" && step.lines > 0)
      .map(({ number, lines }) => ({ line: 0, step: number, step_line: lines }));
    const isFine = this.target && (this.target.step === null) !== this.rows.bySteps;
    const at = this.rows.at(this.scroller.row);
    const step = !at ? null : at.kind === "step" ? at.step.number : at.step;
    const top = { step, number: at?.kind === "line" ? at.number - 1 : 0 };
    const here = isFine && this.target ? { step: this.target.step, number: this.target.from } : top;
    const { number, count, hit } = errors.next(by, here, ends);
    if (!hit) return this.say("No line of this log speaks of an error");
    this.goTo(this.rows.bySteps ? { step: hit.step, from: hit.step_line } : { step: null, from: hit.line });
    this.say(`Error ${number} of ${count}`);
  }

  /** @param {string} text */
  say(text) {
    if (this.status && this.status.textContent !== text) this.status.textContent = text;
  }
}
