// The log of one job: steps that open and close, or all lines in their order. Only what is in sight is in the page; the
// server counts and numbers the lines, and rings when a log that lives has more of them.

import { Lines } from "./lines.js";
import { Rows } from "./rows.js";
import { Scroller } from "./scroller.js";

const RETRY_MS = 2_000;
/** A log that grows is looked at so often at most. */
const LOOK_MS = 200;
const TIMES = ["off", "clock", "start", "gap"];
const KEYS = [
  ["j / k", "next or previous step"], ["Enter", "open or close the step on top"], ["n / p", "next or previous error"],
  ["/", "search"], ["g / G", "first or last line"], ["f", "follow the end"], ["s", "steps or all lines"],
  ["w", "wrap long lines"], ["t", "times: off, clock, since the start, since the line before"], ["?", "this help"],
];
const ERRORS = "\\b(error|fatal|panic|failed|failure|exception)\\b";

/** @param {Document} page */
export function startLogs(page) {
  for (const box of page.querySelectorAll("[data-log]")) {
    if (box instanceof HTMLElement) new LogView(page, box);
  }
}

/** @param {string} name @param {string} fallback */
function kept(name, fallback) {
  try { return localStorage.getItem(`slipway.log.${name}`) ?? fallback; } catch { return fallback; }
}

/** @param {string} name @param {string} value */
function keep(name, value) {
  try { localStorage.setItem(`slipway.log.${name}`, value); } catch { /* private windows may refuse */ }
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
    this.lines = new Lines(this.url, 0, () => this.scroller.draw());
    /** @type {{ step: number, lines: number, first_at: string }[]} */
    this.counts = [];
    this.following = false;
    this.seen = 0;
    this.times = kept("times", "off");
    this.wraps = kept("wrap", "yes") === "yes";
    /** What the address names: a step or all, first and last line. @type {{ step: number|null, from: number, to: number }|null} */
    this.target = null;
    /** @type {EventSource|null} */
    this.events = null;
    this.looking = 0;
    this.errors = null;
    this.began = false;
    this.status = this.part("status");
    this.box.replaceChildren();
    this.sticky = page.createElement("div");
    this.sticky.className = "log-sticky";
    this.box.append(this.sticky);
    this.scroller = new Scroller(box, {
      count: () => this.rows.count,
      key: (row) => this.key(row),
      make: (row, old) => this.make(row, old),
      moved: (byReader) => this.moved(byReader),
    });
    this.bar();
    this.box.addEventListener("click", (event) => this.clicked(event));
    page.addEventListener("keydown", (event) => this.pressed(event));
    page.addEventListener("selectionchange", () => this.selected());
    this.box.addEventListener("copy", (event) => this.copied(event));
    page.addEventListener("slipway:refreshed", () => this.steps());
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
    const on = (/** @type {string} */ name, /** @type {() => void} */ act) => this.part(name)?.addEventListener("click", act);
    on("follow", () => this.follow(true));
    on("view", () => this.switchView());
    on("wrap", () => this.setWrap(!this.wraps));
    on("times", () => this.setTimes(TIMES[(TIMES.indexOf(this.times) + 1) % TIMES.length]));
    on("open", () => this.openAll(true));
    on("close", () => this.openAll(false));
    on("help", () => this.help());
    for (const name of ["view", "wrap", "times", "open", "close", "help"]) this.part(name)?.removeAttribute("hidden");
  }

  /** How rows look now. */
  form() {
    this.box.classList.toggle("wrap", this.wraps);
    this.box.dataset.times = this.times;
    this.box.dataset.view = this.rows.bySteps ? "steps" : "lines";
    this.part("wrap")?.setAttribute("aria-pressed", String(this.wraps));
    const words = { off: "off", clock: "clock", start: "since start", gap: "since last line" };
    const times = this.part("times");
    if (times) times.textContent = `Times: ${words[/** @type {keyof typeof words} */ (this.times)] ?? "off"}`;
    const view = this.part("view");
    if (view) view.textContent = this.rows.bySteps ? "All lines in order" : "By steps";
    for (const name of ["open", "close"]) this.part(name)?.toggleAttribute("hidden", !this.rows.bySteps);
    this.scroller.shown.forEach((element) => element.remove());
    this.scroller.shown.clear();
    this.scroller.draw();
  }

  // What there is.

  async look() {
    if (this.looking) { this.again = true; return; }
    this.looking = 1;
    try {
      const answer = await fetch(`${this.url}/outline`);
      if (!answer.ok) throw new Error(`status ${answer.status}`);
      this.take(await answer.json());
      if (this.state === "live" || this.state === "none") this.listen(); else this.hush();
    } catch {
      this.say("The server does not answer; trying again…");
      setTimeout(() => void this.look(), RETRY_MS);
    }
    setTimeout(() => {
      this.looking = 0;
      if (this.again) { this.again = false; void this.look(); }
    }, LOOK_MS);
  }

  /** @param {{ epoch: number, newest: number, state: string, lines: number, end: number, steps: typeof this.counts }} told */
  take(told) {
    if (told.epoch !== this.epoch) {
      this.epoch = told.epoch;
      this.lines = new Lines(this.url, told.epoch, () => this.scroller.draw());
      this.rows.chosen.clear();
      this.errors = null;
    }
    const before = this.rows.lines;
    const grew = told.end !== this.end;
    for (const { step, lines } of told.steps) {
      if (grew) this.lines.touch(step, this.counts.find((known) => known.step === step)?.lines ?? lines);
    }
    if (grew) this.lines.touch(null, before);
    [this.end, this.state, this.counts] = [told.end, told.state, told.steps];
    this.rows.lines = told.lines;
    this.steps();
    this.say(this.words());
    if (!this.began && told.epoch > 0) {
      this.began = true;
      this.first();
    }
    if (this.following) this.scroller.toEnd();
    else this.scroller.draw();
    this.showFollow();
  }

  words() {
    const lines = this.rows.lines === 1 ? "1 line" : `${this.rows.lines.toLocaleString("en")} lines`;
    switch (this.state) {
      case "live": return `Live, ${lines}`;
      case "none": return "Waiting for a builder…";
      case "cut": return `${lines}; the end is missing: its builder could not hand it in`;
      case "damaged": return `${lines}; a part of what was stored is damaged`;
      default: return this.rows.lines > 0 ? lines : "Nothing was logged";
    }
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
    const worth = (/** @type {import("./rows.js").Step} */ step) =>
      step.lines > 0 || step.tone === "bad" || !/^(\[internal\]|importing cache|exporting)/.test(step.name);
    const shown = [...steps.values()].filter(worth).sort((one, other) => one.number - other.number);
    const before = this.rows.count;
    this.rows.set(shown, this.rows.lines);
    if (this.rows.count !== before || this.rows.bySteps) this.scroller.draw();
  }

  listen() {
    if (this.events || this.page.hidden) return;
    const events = this.events = new EventSource(`${this.url}/stream?bell=1&after=${this.epoch}:${this.end}`);
    const look = () => void this.look();
    events.addEventListener("message", look);
    events.addEventListener("attempt", () => { this.hush(); this.page.dispatchEvent(new Event("slipway:changed")); look(); });
    events.addEventListener("end", () => { this.hush(); this.page.dispatchEvent(new Event("slipway:changed")); look(); });
    events.addEventListener("error", () => {
      if (this.state === "live") this.say("Reconnecting…");
      if (events.readyState !== EventSource.CLOSED) return;
      this.hush();
      setTimeout(look, RETRY_MS);
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
    else if (failed) this.scroller.show(this.rows.rowOf(failed.number, failed.lines), this.box.clientHeight * 0.7);
  }

  // Rows.

  /** @param {number} row */
  key(row) {
    const at = this.rows.at(row);
    if (!at) return "";
    return at.kind === "step" ? `s${at.step.number}` : `${at.step ?? ""}:${at.number}`;
  }

  /** @param {number} row @param {HTMLElement|undefined} old */
  make(row, old) {
    const at = this.rows.at(row);
    if (!at) return old ?? this.page.createElement("div");
    if (at.kind === "step") return this.head(at.step, old);
    const count = at.step === null ? this.rows.lines : this.rows.steps.find((step) => step.number === at.step)?.lines ?? 0;
    const line = this.lines.get(at.step, at.number, count);
    const gap = this.times === "gap" ? this.lines.known(at.step, at.number - 1)?.at : undefined;
    const marked = this.isTarget(at.step, at.number);
    const stamp = `${line ? line.offset + ":" + line.runs.length + ":" + line.width : ""}|${gap ?? ""}|${marked}`;
    if (old?.dataset.stamp === stamp) return old;
    const element = old ?? this.page.createElement("div");
    element.dataset.stamp = stamp;
    element.dataset.row = this.key(row);
    element.className = `row${line?.stream === "stderr" ? " stderr" : ""}${line?.stream === "meta" ? " meta" : ""}${marked ? " target" : ""}`;
    const link = this.page.createElement("a");
    link.className = "no";
    link.href = at.step === null ? `#L${at.number}` : `#s${at.step}:L${at.number}`;
    link.dataset.no = String(at.number);
    link.setAttribute("aria-label", `Line ${at.number}`);
    const text = this.page.createElement("span");
    text.className = "text";
    if (line) {
      text.append(...line.runs.map((run) => this.run(run)));
      if (line.clipped) text.append(this.note("… this line is longer than what is shown; the plain log has all of it"));
      const group = /^(?:::group::|---|\+\+\+|~~~) ?/.exec(text.textContent ?? "");
      if (group) element.classList.add("group");
      if (/^::error\b/.test(text.textContent ?? "")) element.classList.add("stderr");
    }
    if (line && this.times !== "off") {
      const time = this.page.createElement("time");
      time.dateTime = line.at;
      time.dataset.time = this.time(line.at, gap);
      element.replaceChildren(link, time, text);
    } else {
      element.replaceChildren(link, text);
    }
    return element;
  }

  /** @param {import("./lines.js").Run} run */
  run(run) {
    const { fg, bg } = run.inverse ? { fg: run.bg ?? "back", bg: run.fg ?? "text" } : run;
    const classes = ["bold", "faint", "italic", "underline", "strike"]
      .filter((style) => run[/** @type {"bold"} */ (style)]).map((style) => `a-${style}`);
    if (fg !== undefined && !(typeof fg === "string" && fg.startsWith("#"))) classes.push(`f-${fg}`);
    if (bg !== undefined && !(typeof bg === "string" && bg.startsWith("#"))) classes.push(`b-${bg}`);
    const coloured = [fg, bg].some((colour) => typeof colour === "string" && colour.startsWith("#"));
    if (classes.length === 0 && !coloured && !run.link) return this.page.createTextNode(run.text);
    const part = this.page.createElement(run.link ? "a" : "span");
    part.textContent = run.text;
    part.className = classes.join(" ");
    if (typeof fg === "string" && fg.startsWith("#")) part.style.color = fg;
    if (typeof bg === "string" && bg.startsWith("#")) part.style.backgroundColor = bg;
    if (part instanceof HTMLAnchorElement && run.link && /^https?:\/\//.test(run.link)) {
      part.href = run.link;
      part.rel = "noopener noreferrer nofollow";
      part.target = "_blank";
    }
    return part;
  }

  /** @param {string} text */
  note(text) {
    const note = this.page.createElement("em");
    note.className = "quiet";
    note.textContent = text;
    return note;
  }

  /** @param {string} at @param {string|undefined} before */
  time(at, before) {
    const secs = (/** @type {string|undefined} */ from) =>
      from ? `${Math.max(0, (Date.parse(at) - Date.parse(from)) / 1000).toFixed(1)}s` : "";
    if (this.times === "start") return secs(this.counts[0]?.first_at);
    if (this.times === "gap") return before ? `+${secs(before)}` : "";
    return new Date(at).toLocaleTimeString("en-GB", { hour12: false });
  }

  /** @param {import("./rows.js").Step} step @param {HTMLElement|undefined} old */
  head(step, old) {
    const open = this.rows.isOpen(step);
    const stamp = JSON.stringify([step, open]);
    if (old?.dataset.stamp === stamp) return old;
    const head = old ?? this.page.createElement("h3");
    head.className = "step-head";
    head.dataset.stamp = stamp;
    head.dataset.row = `s${step.number}`;
    const button = head.querySelector("button") ?? this.page.createElement("button");
    button.type = "button";
    button.className = "step";
    button.dataset.step = String(step.number);
    button.setAttribute("aria-expanded", String(open));
    const piece = (/** @type {string} */ name, /** @type {string} */ text) => {
      const element = this.page.createElement("span");
      element.className = name;
      element.textContent = text;
      return element;
    };
    const lines = step.lines === 0 ? "" : step.lines === 1 ? "1 line" : `${step.lines.toLocaleString("en")} lines`;
    const state = step.word ? [piece(`state ${step.tone}`, step.word)] : [];
    button.replaceChildren(piece("number", step.number > 0 ? `#${step.number}` : ""), piece("name", step.name),
      ...state, piece("quiet took", step.took), piece("quiet lines", lines));
    if (!head.contains(button)) head.replaceChildren(button);
    return head;
  }

  // What readers do.

  /** @param {MouseEvent} event */
  clicked(event) {
    const target = event.target instanceof Element ? event.target : null;
    const step = target?.closest("button.step");
    if (step instanceof HTMLElement) return this.toggle(Number(step.dataset.step));
    const link = target?.closest("a.no");
    if (!(link instanceof HTMLAnchorElement)) return;
    event.preventDefault();
    const [, step_, number] = /^#(?:s(\d+):)?L(\d+)$/.exec(link.hash) ?? [];
    const of = step_ === undefined ? null : Number(step_);
    const from = event.shiftKey && this.target && this.target.step === of ? this.target.from : Number(number);
    this.mark(of, Math.min(from, Number(number)), Math.max(from, Number(number)));
  }

  /** @param {number|null} step @param {number} from @param {number} to */
  mark(step, from, to) {
    const prefix = step === null ? "" : `s${step}:`;
    const hash = `#${prefix}L${from}${to > from ? `-L${to}` : ""}`;
    history.replaceState(null, "", hash);
    this.target = { step, from, to };
    this.follow(false);
    this.scroller.draw();
    this.say(to > from ? `Lines ${from} to ${to} are in the address` : `Line ${from} is in the address`);
  }

  /** Shows what the address names. */
  named() {
    const [, step, from, to] = /^#(?:s(\d+):)?L(\d+)(?:-L(\d+))?$/.exec(location.hash) ?? [];
    if (!from) return false;
    this.goTo({ step: step === undefined ? null : Number(step), from: Number(from), to: Number(to ?? from) });
    return true;
  }

  /** @param {{ step: number|null, from: number, to?: number }} place */
  goTo({ step, from, to = from }) {
    this.target = { step, from, to };
    this.follow(false);
    if (this.rows.bySteps !== (step !== null)) this.setView(step !== null);
    const row = this.rows.rowOf(step, from);
    if (row < 0) return;
    this.scroller.show(row, this.box.clientHeight / 3);
    this.box.scrollIntoView({ block: "nearest" });
  }

  /** @param {number|null} step @param {number} number */
  isTarget(step, number) {
    const target = this.target;
    return target !== null && target.step === step && number >= target.from && number <= target.to;
  }

  /** @param {number} number */
  toggle(number) {
    const step = this.rows.steps.find((known) => known.number === number);
    if (!step) return;
    this.follow(false);
    const open = !this.rows.isOpen(step);
    this.rows.open(number, open);
    // What is closed while its lines fill the view takes their place.
    const head = this.rows.rowOf(number, 0);
    if (!open && head < this.scroller.row) this.scroller.show(head);
    else { this.scroller.render(); this.scroller.settle(); }
    this.moved(false);
  }

  /** @param {boolean} open */
  openAll(open) {
    this.follow(false);
    const place = this.rows.stepAt(this.scroller.row);
    this.rows.openAll(open);
    this.scroller.show(this.rows.starts[Math.max(0, place)] ?? 0);
  }

  switchView() {
    this.follow(false);
    this.setView(!this.rows.bySteps);
    keep("view", this.rows.bySteps ? "steps" : "lines");
    this.scroller.show(0);
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
  setTimes(times) {
    this.times = times;
    keep("times", times);
    this.form();
  }

  /** @param {boolean} following */
  follow(following) {
    this.following = following;
    if (following) {
      const running = this.rows.steps.filter((step) => step.tone === "busy").pop();
      if (this.rows.bySteps && running && !this.rows.isOpen(running)) this.rows.open(running.number, true);
      this.seen = this.rows.lines;
      this.scroller.toEnd();
    }
    this.showFollow();
  }

  /** @param {boolean} byReader */
  moved(byReader) {
    if (byReader) {
      if (!this.scroller.atEnd && this.following) { this.seen = this.rows.lines; this.following = false; }
      else if (this.scroller.atEnd && this.state === "live") this.following = true;
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
    const step = at?.kind === "line" ? this.rows.steps.find((known) => known.number === at.step) : undefined;
    if (!step) return this.sticky.replaceChildren();
    const old = this.sticky.firstElementChild;
    const head = this.head(step, old instanceof HTMLElement ? old : undefined);
    if (head !== old) this.sticky.replaceChildren(head);
  }

  /** @param {KeyboardEvent} event */
  pressed(event) {
    const typing = event.target instanceof HTMLElement && event.target.matches("input, select, textarea, dialog *");
    if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
    const acts = {
      j: () => this.step(1), k: () => this.step(-1), n: () => void this.error(1), p: () => void this.error(-1),
      g: () => { this.follow(false); this.scroller.show(0); }, G: () => this.scroller.toEnd(), End: () => this.follow(this.state === "live"),
      f: () => this.follow(true), s: () => this.switchView(), w: () => this.setWrap(!this.wraps),
      t: () => this.setTimes(TIMES[(TIMES.indexOf(this.times) + 1) % TIMES.length]), "?": () => this.help(),
    };
    const act = acts[/** @type {keyof typeof acts} */ (event.key)];
    if (!act || event.key === "End" && !this.box.contains(this.page.activeElement)) return;
    event.preventDefault();
    act();
  }

  /** @param {number} by */
  step(by) {
    if (!this.rows.bySteps) this.setView(true);
    this.follow(false);
    const here = this.rows.stepAt(this.scroller.row);
    const isOnHead = this.rows.starts[here] === this.scroller.row;
    const place = Math.max(0, Math.min(this.rows.steps.length - 1, by < 0 && !isOnHead ? here : here + by));
    const row = this.rows.starts[place];
    if (row === undefined) return;
    this.scroller.show(row);
    const button = this.scroller.shown.get(this.key(row))?.querySelector("button");
    button?.focus({ preventScroll: true });
  }

  /** @param {number} by */
  async error(by) {
    if (!this.errors || this.state === "live") {
      const query = new URLSearchParams({ q: ERRORS, regex: "1", limit: "500", epoch: String(this.epoch) });
      try {
        const answer = await fetch(`${this.url}/search?${query}`);
        if (!answer.ok) throw new Error(`status ${answer.status}`);
        this.errors = (await answer.json()).hits;
      } catch {
        return this.say("The log could not be searched for errors");
      }
    }
    const errors = this.errors ?? [];
    if (errors.length === 0) return this.say("No line of this log speaks of an error");
    const at = errors.findIndex((/** @type {any} */ hit) => this.isTarget(this.rows.bySteps ? hit.step : null, this.rows.bySteps ? hit.step_line : hit.line));
    const next = at < 0 ? (by > 0 ? 0 : errors.length - 1) : (at + by + errors.length) % errors.length;
    const hit = errors[next];
    this.goTo(this.rows.bySteps ? { step: hit.step, from: hit.step_line } : { step: null, from: hit.line });
    this.say(`Error ${next + 1} of ${errors.length}`);
  }

  help() {
    const dialog = this.page.createElement("dialog");
    dialog.className = "help";
    const title = this.page.createElement("h2");
    title.textContent = "Keys";
    const list = this.page.createElement("dl");
    list.className = "facts";
    for (const [key, what] of KEYS) {
      const term = this.page.createElement("dt");
      const word = this.page.createElement("kbd");
      word.textContent = key;
      term.append(word);
      const text = this.page.createElement("dd");
      text.textContent = what;
      list.append(term, text);
    }
    const close = this.page.createElement("button");
    close.textContent = "Close";
    close.addEventListener("click", () => dialog.close());
    dialog.addEventListener("close", () => dialog.remove());
    dialog.append(title, list, close);
    this.page.body.append(dialog);
    dialog.showModal();
  }

  // Selection and copies.

  /** @param {Node|null|undefined} node */
  rowOf(node) {
    const element = node instanceof Element ? node : node?.parentElement;
    const row = element?.closest("[data-row]");
    return row instanceof HTMLElement && this.box.contains(row) ? row.dataset.row ?? "" : "";
  }

  selected() {
    const selection = this.page.getSelection();
    const ends = selection?.isCollapsed ? [] : [this.rowOf(selection?.anchorNode), this.rowOf(selection?.focusNode)];
    this.scroller.pinned = new Set(ends.filter(Boolean));
    if (this.scroller.pinned.size > 0 && this.following) { this.seen = this.rows.lines; this.following = false; this.showFollow(); }
  }

  /** What is selected beyond the rows in the page comes from the server. @param {ClipboardEvent} event */
  copied(event) {
    const selection = this.page.getSelection();
    const ends = [selection?.anchorNode, selection?.focusNode].map((node) => this.rowOf(node));
    const parse = (/** @type {string} */ key) => /^(\d*):(\d+)$/.exec(key);
    const [one, other] = ends.map(parse);
    if (!one || !other || one[1] !== other[1]) return;
    const [from, to] = [Number(one[2]), Number(other[2])].sort((a, b) => a - b);
    const here = this.layerRows().filter((key) => parse(key)?.[1] === one[1]).length;
    if (to - from < 2 || to - from + 1 <= here && !this.layer().querySelector(".pinned")) return;
    event.preventDefault();
    void this.copyLines(one[1] === "" ? null : Number(one[1]), from, to);
  }

  layer() { return this.scroller.layer; }

  layerRows() { return [...this.scroller.shown.keys()]; }

  /** @param {number|null} step @param {number} from @param {number} to */
  async copyLines(step, from, to) {
    const lines = await this.lines.range(step, from, to);
    const text = lines.map((line) => line?.runs.map((run) => run.text).join("") ?? "").join("\n");
    await navigator.clipboard.writeText(text);
    this.say(`${lines.length.toLocaleString("en")} lines are copied`);
  }

  /** @param {string} text */
  say(text) {
    if (this.status && this.status.textContent !== text) this.status.textContent = text;
  }
}
