// How rows of a log look: a line of it, or the head of a step. Texts come from strangers: they are only ever text.

/** @typedef {import("./lines.js").Line} Line */

const STYLES = /** @type {const} */ (["bold", "faint", "italic", "underline", "strike"]);

export class Draw {
  /** @param {Document} page */
  constructor(page) {
    this.page = page;
    /** @type {string} off, clock, start or gap */
    this.times = "off";
    /** When the log began. */
    this.began = "";
    /** What a row was drawn from. @type {WeakMap<HTMLElement, { line: Line|null|undefined, look: string }>} */
    this.drawn = new WeakMap();
  }

  /** @param {string} name @param {string} kind @param {string} text */
  piece(name, kind, text) {
    const element = this.page.createElement(name);
    element.className = kind;
    element.textContent = text;
    return element;
  }

  /**
   * A line; `null` is one that is lost, and nothing one that is not here yet.
   * @param {{ step: number|null, number: number }} at
   * @param {{ line: Line|null|undefined, before: Line|null|undefined, marked: boolean, old: HTMLElement|undefined }} what
   */
  line(at, { line, before, marked, old }) {
    const element = old ?? this.page.createElement("div");
    element.classList.toggle("target", marked);
    const look = this.times === "gap" ? `gap ${before?.at}` : this.times;
    const drawn = this.drawn.get(element);
    if (drawn && drawn.line === line && drawn.look === look) return element;
    this.drawn.set(element, { line, look });
    element.dataset.row = `${at.step ?? ""}:${at.number}`;
    const text = this.page.createElement("span");
    text.className = "text";
    if (line) text.append(...line.runs.map((run) => this.run(run)));
    const words = text.textContent ?? "";
    element.className = [
      "row", line === undefined ? "missing" : line?.stream ?? "meta", marked ? "target" : "",
      /^::error\b/.test(words) ? "stderr" : "", /^(?:::group::|---|\+\+\+|~~~) ?/.test(words) ? "group" : "",
    ].filter(Boolean).join(" ");
    if (line?.clipped) text.append(this.piece("em", "quiet", "… this line is longer than what is shown; the plain log has all of it"));
    if (line === null) text.append(this.piece("em", "quiet", "this line is lost"));
    element.replaceChildren(this.link(at), ...this.time(line, before), text);
    return element;
  }

  /** @param {{ step: number|null, number: number }} at */
  link({ step, number }) {
    const link = this.page.createElement("a");
    link.className = "no";
    link.href = step === null ? `#L${number}` : `#s${step}:L${number}`;
    link.dataset.no = String(number);
    link.setAttribute("aria-label", `Line ${number}`);
    return link;
  }

  /** @param {import("./lines.js").Run} run */
  run(run) {
    const { fg, bg } = run.inverse ? { fg: run.bg ?? "back", bg: run.fg ?? "text" } : run;
    const classes = STYLES.filter((style) => run[style]).map((style) => `a-${style}`);
    const isExact = (/** @type {unknown} */ colour) => typeof colour === "string" && /^#[0-9a-f]{6}$/i.test(colour);
    const isNamed = (/** @type {unknown} */ colour) => /^(\d+|text|back)$/.test(String(colour));
    if (isNamed(fg)) classes.push(`f-${fg}`);
    if (isNamed(bg)) classes.push(`b-${bg}`);
    const link = run.link && /^https?:\/\//i.test(run.link) ? run.link : "";
    if (classes.length === 0 && !isExact(fg) && !isExact(bg) && !link) return this.page.createTextNode(run.text);
    const part = this.piece(link ? "a" : "span", classes.join(" "), run.text);
    if (isExact(fg)) part.style.color = String(fg);
    if (isExact(bg)) part.style.backgroundColor = String(bg);
    if (part instanceof HTMLAnchorElement) {
      part.href = link;
      part.rel = "noopener noreferrer nofollow";
      part.target = "_blank";
    }
    return part;
  }

  /** @param {Line|null|undefined} line @param {Line|null|undefined} before */
  time(line, before) {
    if (this.times === "off") return [];
    const time = this.page.createElement("time");
    if (!line) return [time];
    const secs = (/** @type {string} */ from) => `${Math.max(0, (Date.parse(line.at) - Date.parse(from)) / 1000).toFixed(1)}s`;
    time.dateTime = line.at;
    if (this.times === "start") time.dataset.time = this.began ? secs(this.began) : "";
    else if (this.times === "gap") time.dataset.time = before ? `+${secs(before.at)}` : "";
    else time.dataset.time = new Date(line.at).toLocaleTimeString("en-GB", { hour12: false });
    return [time];
  }

  /** @param {import("./rows.js").Step} step @param {boolean} open @param {HTMLElement|undefined} old */
  head(step, open, old) {
    const stamp = JSON.stringify([step, open]);
    if (old?.dataset.stamp === stamp) return old;
    const head = old ?? this.page.createElement("h3");
    head.className = "step-head";
    head.dataset.stamp = stamp;
    head.dataset.row = `s${step.number}`;
    // The button stays: it may have the focus.
    const button = head.querySelector("button") ?? this.page.createElement("button");
    button.type = "button";
    button.className = "step";
    button.dataset.step = String(step.number);
    button.setAttribute("aria-expanded", String(open));
    const lines = step.lines === 0 ? "" : step.lines === 1 ? "1 line" : `${step.lines.toLocaleString("en")} lines`;
    button.replaceChildren(
      this.piece("span", "number", step.number > 0 ? `#${step.number}` : ""), this.piece("span", "name", step.name),
      ...(step.word ? [this.piece("span", `state ${step.tone}`, step.word)] : []),
      this.piece("span", "quiet took", step.took), this.piece("span", "quiet lines", lines),
    );
    if (!head.contains(button)) head.replaceChildren(button);
    return head;
  }
}

/** What is known of a log, in words. @param {string} state @param {number} count */
export function stateWords(state, count) {
  const lines = count === 1 ? "1 line" : `${count.toLocaleString("en")} lines`;
  switch (state) {
    case "live": return `Live, ${lines}`;
    case "none": return "Waiting for a builder…";
    case "cut": return `${lines}; the end is missing: its builder could not hand it in`;
    case "damaged": return `${lines}; a part of what was stored is damaged`;
    default: return count > 0 ? lines : "Nothing was logged";
  }
}
