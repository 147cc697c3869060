// The lines of a log that a viewer shows, read from the server by number and kept for a while. Nothing here knows of the page.

const PAGE = 200;
const MOST_PAGES = 120;
/** Characters that are kept at most, about. */
const MOST_WIDTH = 8_000_000;
/** Characters that a line counts for beside its text. */
const ROW_WIDTH = 100;
/** Pages that are asked for at the same time. */
const AT_ONCE = 4;
const RETRY_MS = 2_000;
/** Lines of an answer when many are wanted; the server gives no more at once. */
const MANY = 5_000;

/**
 * @typedef {{ text: string, bold?: boolean, faint?: boolean, italic?: boolean, underline?: boolean, inverse?: boolean,
 *   strike?: boolean, fg?: number|string, bg?: number|string, link?: string }} Run
 * @typedef {{ line: number, step_line?: number, step: number, stream: string, at: string, runs: Run[], width: number,
 *   clipped: boolean }} Line
 * @typedef {{ state: string, end: number, lines: Line[] }} Answer
 * A line that the server cannot give any more is `null`; from `stale` on, lines are to be read again.
 * @typedef {{ lines: (Line|null|undefined)[], stale: number, width: number, isAsked: boolean }} Page
 * @typedef {{ step: number|null, page: number, count: number }} Wish
 */

/** What a page of lines is kept under: all lines, or those of a step. @param {number|null} step @param {number} page */
const keyOf = (step, page) => `${step ?? ""}|${page}`;

/** @param {Line} line */
export const textOf = (line) => line.runs.map((run) => run.text).join("");

export class Lines {
  /**
   * @param {string} url the log's address @param {number} epoch
   * @param {(status: number|null) => void} came called when lines came, with nothing, or failed to, with the status or 0
   */
  constructor(url, epoch, came) {
    this.url = url;
    this.epoch = epoch;
    this.came = came;
    /** Least recently used first. @type {Map<string, Page>} */
    this.pages = new Map();
    /** What is missing of what is seen, since the last `serve`. @type {Map<string, Wish>} */
    this.wishes = new Map();
    this.asking = 0;
    this.isResting = false;
    /** How far the log is known to go. */
    this.end = 0;
  }

  /**
   * A line by its number, from 1, among all or among those of its step; wishes for it where it is not here.
   * @param {number|null} step @param {number} number @param {number} count so many there are now
   */
  get(step, number, count) {
    const page = Math.floor((number - 1) / PAGE);
    const at = (number - 1) % PAGE;
    const key = keyOf(step, page);
    const kept = this.pages.get(key);
    if (kept) {
      this.pages.delete(key);
      this.pages.set(key, kept);
    }
    if (number <= count && (!kept || kept.lines[at] === undefined || at >= kept.stale)) {
      this.wishes.set(key, { step, page, count: Math.min(count - page * PAGE, PAGE) });
    }
    return kept?.lines[at];
  }

  /** The same without a wish. @param {number|null} step @param {number} number */
  known(step, number) {
    return this.pages.get(keyOf(step, Math.floor((number - 1) / PAGE)))?.lines[(number - 1) % PAGE];
  }

  /** The last line of a live log may go on: it is read again. @param {number|null} step @param {number} count */
  touch(step, count) {
    const last = Math.max(1, count) - 1;
    const kept = this.pages.get(keyOf(step, Math.floor(last / PAGE)));
    if (kept) kept.stale = Math.min(kept.stale, last % PAGE);
  }

  /** Lines behind all others, which came by themselves. @param {Line[]} lines */
  add(lines) {
    for (const line of lines) {
      this.keep(null, line.line, line);
      this.keep(line.step, line.step_line ?? 0, line);
    }
    this.drop();
  }

  /** @param {number|null} step @param {number} number @param {Line} line */
  keep(step, number, line) {
    const key = keyOf(step, Math.floor((number - 1) / PAGE));
    const kept = this.pages.get(key) ?? { lines: [], stale: Infinity, width: 0, isAsked: false };
    this.pages.set(key, kept);
    place(kept, (number - 1) % PAGE, line);
  }

  /** Asks for what was wished for since the last time; what was passed by meanwhile is forgotten. */
  serve() {
    const wishes = [...this.wishes.values()];
    this.wishes.clear();
    for (const wish of wishes) {
      if (this.isResting || this.asking >= AT_ONCE) break;
      if (!this.pages.get(keyOf(wish.step, wish.page))?.isAsked) void this.ask(wish);
    }
  }

  /** @param {Wish} wish */
  async ask({ step, page, count }) {
    const key = keyOf(step, page);
    const kept = this.pages.get(key) ?? { lines: [], stale: Infinity, width: 0, isAsked: false };
    this.pages.set(key, kept);
    const missing = Array.from({ length: count }, (_, at) => at).find((at) => kept.lines[at] === undefined || at >= kept.stale);
    if (missing === undefined) return;
    const { stale } = kept;
    const { end } = this;
    kept.stale = Infinity;
    kept.isAsked = true;
    this.asking += 1;
    try {
      const answer = await this.read(step, page * PAGE + 1 + missing, PAGE - missing);
      const isLate = answer.lines.length === 0 && isBehind(answer, end);
      if (!isLate) this.put(kept, answer.lines, { step, missing, count });
      // The last line of one who is behind may be cut.
      const isCut = !isLate && isBehind(answer, end);
      if (isCut) kept.stale = Math.min(kept.stale, missing + answer.lines.length - 1);
      this.drop();
      if (isLate || isCut) this.rest(null); else this.came(null);
    } catch (error) {
      kept.stale = Math.min(kept.stale, stale);
      this.rest(error instanceof Refused ? error.status : 0);
    } finally {
      kept.isAsked = false;
      this.asking -= 1;
    }
  }

  /** @param {Page} kept @param {Line[]} lines @param {{ step: number|null, missing: number, count: number }} asked */
  put(kept, lines, { step, missing, count }) {
    let end = missing;
    for (const line of lines) {
      const at = ((step === null ? line.line : line.step_line ?? 0) - 1) % PAGE;
      // What is left out in the middle is lost; an answer that ends early is asked to go on.
      for (; end < at; end++) kept.lines[end] ??= null;
      place(kept, at, line);
      end = at + 1;
    }
    if (lines.length === 0) for (; end < count; end++) kept.lines[end] ??= null;
  }

  /** Forgets what was not used for long. */
  drop() {
    let width = 0;
    for (const kept of this.pages.values()) width += kept.width;
    for (const [key, kept] of this.pages) {
      if (this.pages.size <= MOST_PAGES && (width <= MOST_WIDTH || this.pages.size <= AT_ONCE)) break;
      if (kept.isAsked) continue;
      this.pages.delete(key);
      width -= kept.width;
    }
  }

  /** Nothing is asked for a while. @param {number|null} status */
  rest(status) {
    if (this.isResting) return;
    this.isResting = true;
    this.came(status);
    setTimeout(() => { this.isResting = false; this.came(null); }, RETRY_MS);
  }

  /** @param {number|null} step @param {number} from @param {number} count @returns {Promise<Answer>} */
  async read(step, from, count) {
    const query = new URLSearchParams({ runs: "1", epoch: String(this.epoch), from: String(from), count: String(count) });
    if (step !== null) query.set("step", String(step));
    const answer = await fetch(`${this.url}/lines?${query}`);
    if (!answer.ok) throw new Refused(answer.status);
    return answer.json();
  }

  /** The texts of many lines, which are not kept. @param {number|null} step @param {number} from @param {number} to */
  async texts(step, from, to) {
    /** @type {string[]} */
    const texts = [];
    const { end } = this;
    for (let next = from; next <= to;) {
      const answer = await this.read(step, next, Math.min(MANY, to - next + 1));
      const { lines } = answer;
      if (lines.length === 0 && isBehind(answer, end)) throw new Error("the end of the log is not there yet");
      for (const line of lines) {
        const number = step === null ? line.line : line.step_line ?? 0;
        for (; next < number; next++) texts.push("");
        if (next <= to) texts.push(textOf(line));
        next = number + 1;
      }
      if (lines.length === 0) for (; next <= to; next++) texts.push("");
    }
    return texts;
  }
}

/** Puts a line in the place of what was there. @param {Page} kept @param {number} at @param {Line} line */
function place(kept, at, line) {
  const old = kept.lines[at];
  if (old) kept.width -= old.width + ROW_WIDTH;
  kept.lines[at] = line;
  kept.width += line.width + ROW_WIDTH;
}

/** True if a service knows less than what was told before; what it lacks is sent to it again. @param {Answer} answer @param {number} end */
const isBehind = (answer, end) => answer.state === "live" && answer.end < end;

class Refused extends Error {
  /** @param {number} status */
  constructor(status) {
    super(`status ${status}`);
    this.status = status;
  }
}
