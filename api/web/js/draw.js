// How a line of a log looks. Texts come from strangers: they are only ever text.

import { t } from "./texts.js";

/** @typedef {import("./lines.js").Line} Line */
/** @typedef {import("./lines.js").Run} Run */
/** @typedef {import("./rows.js").LineRow} LineRow */

const STYLES = /** @type {const} */ (["bold", "faint", "italic", "underline", "strike"]);
/** What stands before the title of a group; the server finds groups, and what is none is shown as it is. */
const MARK = /^(?:::group::|--- |\+\+\+ |~~~ )/;
/** GitHub's annotations: a word, what it is about, and a message. */
const NOTE = /^::(error|warning|notice)(?: (.*?))?::/;
/** What their makers write for characters that would end them. */
const CODES = /%(?:25|0D|0A|3A|2C)/gi;
/** Lines of a message stand behind each other. */
const LINE_END = "↵";
const LAST_HEADING = 6;
/** What took less is not worth a word. */
const LEAST_MS = 100;

export class Draw {
  /** @param {Document} page */
  constructor(page) {
    this.page = page;
    /** @type {string} off, clock, utc, start or gap */
    this.times = "off";
    /** When the log began. */
    this.began = "";
    /** Whose lines: the same lines of another attempt are others. */
    this.epoch = 0;
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
   * @param {LineRow} at
   * @param {{ line: Line|null|undefined, before: Line|null|undefined, marked: boolean, old: HTMLElement|undefined }} what
   */
  line(at, { line, before, marked, old }) {
    const element = old ?? this.page.createElement("div");
    element.classList.toggle("target", marked);
    const look = JSON.stringify([this.epoch, this.times, this.times === "gap" && before?.at, at.group, at.isOpen, at.count]);
    const drawn = this.drawn.get(element);
    if (drawn && drawn.line === line && drawn.look === look) return element;
    this.drawn.set(element, { line, look });
    element.dataset.row = `${at.step ?? ""}:${at.number}`;
    const words = line?.runs.map((run) => run.text).join("") ?? "";
    const note = NOTE.exec(words);
    const isTitle = at.group ? at.group.last !== at.group.line : false;
    const text = isTitle ? this.title(at, line, element.querySelector("h4, h5, h6")) : this.piece("span", "text", "");
    if (!isTitle) text.append(...this.runs(line, at.group ? MARK.exec(words)?.[0] : note?.[0]));
    if (note) this.decode(text);
    if (line?.clipped) text.append(this.piece("em", "quiet", t("js-log-clipped")));
    if (line === null) text.append(this.piece("em", "quiet", t("js-log-lost-line")));
    element.className = [
      "row", line === undefined ? "missing" : line?.stream ?? "meta", marked ? "target" : "", note ? note[1] : "",
      at.group || MARK.test(words) ? "group" : "", at.group?.faint ? "faint" : "", words === "::endgroup::" ? "end" : "",
    ].filter(Boolean).join(" ");
    // The title stays where it is: it may have the focus.
    for (const other of [...element.childNodes]) if (other !== text) other.remove();
    if (!element.contains(text)) element.append(text);
    const of = at.step === null && line ? [this.piece("span", "of quiet", line.step > 0 ? `#${line.step}` : "")] : [];
    text.before(this.link(at), ...this.time(line, before), ...of, ...(note ? this.note(note) : []));
    if (isTitle) text.after(this.about(at));
    return element;
  }

  /** The runs of a line; what is taken from its front is there for who copies it, and not shown. @param {Line|null|undefined} line @param {string} [front] */
  runs(line, front = "") {
    if (!line) return [];
    let left = front.length;
    const rest = line.runs.map((run) => {
      const cut = Math.min(left, run.text.length);
      left -= cut;
      return { ...run, text: run.text.slice(cut) };
    });
    return [...(front ? [this.piece("span", "gone", front)] : []), ...rest.filter((run) => run.text).map((run) => this.run(run))];
  }

  /** @param {LineRow} at @param {Line|null|undefined} line @param {Element|null} old */
  title({ group, isOpen }, line, old) {
    const level = group?.level ?? 0;
    const title = old instanceof HTMLElement ? old : this.page.createElement(`h${Math.min(LAST_HEADING, 4 + level)}`);
    title.className = "text";
    title.style.paddingLeft = level > 0 ? `${level * 2}ch` : "";
    const button = title.querySelector("button") ?? this.page.createElement("button");
    button.type = "button";
    button.className = "group";
    button.setAttribute("aria-expanded", String(isOpen));
    const words = line?.runs.map((run) => run.text).join("") ?? "";
    const front = MARK.exec(words)?.[0] ?? "";
    // A link inside of a button is none.
    const shown = line ? this.runs({ ...line, runs: line.runs.map((run) => ({ ...run, link: undefined })) }, front) : [];
    button.replaceChildren(...shown, ...(words.slice(front.length).trim() ? [] : [t("js-log-group")]));
    if (!title.contains(button)) title.replaceChildren(button);
    for (const other of [...title.childNodes]) if (other !== button) other.remove();
    return title;
  }

  /** How long a group is and how long it took. @param {LineRow} at */
  about({ group, count = 0 }) {
    const lines = count > 0 ? t("js-log-lines", { count }) : "";
    const took = (group?.took_ms ?? 0) >= LEAST_MS ? span(group?.took_ms ?? 0) : "";
    return this.piece("span", "quiet about", [lines, took].filter(Boolean).join(" · "));
  }

  /** What an annotation is, in words, and where. @param {RegExpExecArray} note */
  note([, kind, about]) {
    const told = Object.fromEntries((about ?? "").split(",").map((pair) => pair.trim().split("=", 2)));
    const place = [told.file, told.line].filter(Boolean).map((word) => word.replace(CODES, decoded)).join(":");
    const words = { error: t("js-log-error"), warning: t("js-log-warning"), notice: t("js-log-notice") }[kind] ?? kind;
    return [this.piece("strong", `note ${kind}`, words), ...(place ? [this.piece("span", "quiet place", place)] : [])];
  }

  /** Shows the characters that are meant; who copies gets what was written. @param {HTMLElement} text */
  decode(text) {
    const walker = this.page.createTreeWalker(text, NodeFilter.SHOW_TEXT);
    const nodes = [];
    while (walker.nextNode()) if (walker.currentNode.parentElement?.className !== "gone") nodes.push(walker.currentNode);
    for (const node of nodes) {
      const written = node.textContent ?? "";
      const parts = [];
      let from = 0;
      for (const { 0: code, index } of written.matchAll(CODES)) {
        const part = this.piece("span", "code", code);
        part.dataset.shown = decoded(code);
        parts.push(written.slice(from, index), part);
        from = index + code.length;
      }
      if (parts.length > 0 && node instanceof Text) node.replaceWith(...parts, written.slice(from));
    }
  }

  /** @param {LineRow} at */
  link({ step, number: line }) {
    const link = this.page.createElement("a");
    link.className = "no";
    link.href = `?attempt=${this.epoch}#${step === null ? "" : `s${step}:`}L${line}`;
    link.dataset.no = String(line);
    link.setAttribute("aria-label", t("js-log-line", { line }));
    return link;
  }

  /** @param {Run} run */
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
    time.dateTime = time.title = line.at;
    if (this.times === "start") time.dataset.time = this.began ? secs(this.began) : "";
    else if (this.times === "gap") time.dataset.time = before ? `+${secs(before.at)}` : "";
    else if (this.times === "utc") time.dataset.time = `${new Date(line.at).toISOString().slice(11, 19)}Z`;
    else time.dataset.time = new Date(line.at).toLocaleTimeString("en-GB", { hour12: false });
    return [time];
  }
}

/** @param {string} code */
function decoded(code) {
  const character = decodeURIComponent(code);
  return character === "\n" ? LINE_END : character === "\r" ? "" : character;
}

/** How long something took. @param {number} millis */
function span(millis) {
  const secs = millis / 1000;
  if (secs < 60) return t("js-log-secs", { secs: secs.toFixed(1) });
  return t("js-log-mins", { mins: Math.floor(secs / 60), secs: Math.floor(secs % 60) });
}

/** What is known of a log, in words. @param {string} state @param {number} count */
export function stateWords(state, count) {
  switch (state) {
    case "live": return t("js-log-live", { count });
    case "none": return t("js-log-waiting");
    case "cut": return t("js-log-cut", { count });
    case "damaged": return t("js-log-damaged", { count });
    default: return count > 0 ? t("js-log-lines", { count }) : t("js-log-empty");
  }
}
