// The lines of a log that a viewer shows, read from the server by number and kept for a while. Nothing here knows of the page.

export const PAGE = 200;
const MOST_PAGES = 120;
const RETRY_MS = 2_000;

/**
 * @typedef {{ text: string, bold?: boolean, faint?: boolean, italic?: boolean, underline?: boolean, inverse?: boolean,
 *   strike?: boolean, fg?: number|string, bg?: number|string, link?: string }} Run
 * @typedef {{ line: number, step_line?: number, step: number, stream: string, at: string, runs: Run[], width: number,
 *   clipped: boolean }} Line
 * @typedef {{ lines: (Line|undefined)[], whole: boolean, asked: number }} Page
 */

/** What a page of lines is kept under: all lines, or those of a step. @param {number|null} step @param {number} page */
const keyOf = (step, page) => `${step ?? ""}|${page}`;

export class Lines {
  /** @param {string} url the log's address @param {number} epoch @param {() => void} changed called when lines came */
  constructor(url, epoch, changed) {
    this.url = url;
    this.epoch = epoch;
    this.changed = changed;
    /** Least recently used first. @type {Map<string, Page>} */
    this.pages = new Map();
    /** @type {Map<string, Promise<void>>} */
    this.asked = new Map();
    this.failing = false;
  }

  /**
   * A line by its number, from 1, among all or among those of its step; asks for it where it is not here.
   * @param {number|null} step @param {number} number @param {number} count so many there are now
   * @returns {Line|undefined}
   */
  get(step, number, count) {
    const page = Math.floor((number - 1) / PAGE);
    const key = keyOf(step, page);
    const kept = this.pages.get(key);
    if (kept) {
      this.pages.delete(key);
      this.pages.set(key, kept);
    }
    const there = Math.min(count - page * PAGE, PAGE);
    if (!kept || (!kept.whole && kept.asked < there)) void this.ask(step, page, there);
    return kept?.lines[(number - 1) % PAGE];
  }

  /** The same without asking. @param {number|null} step @param {number} number */
  known(step, number) {
    return this.pages.get(keyOf(step, Math.floor((number - 1) / PAGE)))?.lines[(number - 1) % PAGE];
  }

  /** The last line of a live log may go on: its page is read again. @param {number|null} step @param {number} count */
  touch(step, count) {
    const page = Math.floor(Math.max(0, count - 1) / PAGE);
    const kept = this.pages.get(keyOf(step, page));
    if (kept && !kept.whole) kept.asked = Math.min(kept.asked, (count - 1) % PAGE);
  }

  /** All of these lines, wherever they are. @param {number|null} step @param {number} from @param {number} to */
  async range(step, from, to) {
    /** @type {(Line|undefined)[]} */
    const lines = [];
    for (let page = Math.floor((from - 1) / PAGE); page * PAGE < to; page++) {
      const key = keyOf(step, page);
      if (!this.pages.has(key)) await this.ask(step, page, PAGE);
      const kept = this.pages.get(key)?.lines ?? [];
      const first = page * PAGE + 1;
      lines.push(...Array.from({ length: PAGE }, (_, at) => kept[at])
        .filter((_, at) => first + at >= from && first + at <= to));
    }
    return lines;
  }

  /** @param {number|null} step @param {number} page @param {number} there */
  ask(step, page, there) {
    const key = keyOf(step, page);
    const asked = this.asked.get(key);
    if (asked) return asked;
    const asking = this.read(step, page, there).finally(() => this.asked.delete(key));
    this.asked.set(key, asking);
    return asking;
  }

  /** @param {number|null} step @param {number} page @param {number} there */
  async read(step, page, there) {
    const query = new URLSearchParams({
      runs: "1", epoch: String(this.epoch), from: String(page * PAGE + 1), count: String(PAGE),
    });
    if (step !== null) query.set("step", String(step));
    try {
      const answer = await fetch(`${this.url}/lines?${query}`);
      if (!answer.ok) throw new Error(`status ${answer.status}`);
      const body = await answer.json();
      /** @type {(Line|undefined)[]} */
      const lines = [];
      for (const line of body.lines) lines[((step === null ? line.line : line.step_line) - 1) % PAGE] = line;
      const whole = body.state !== "live" || lines.length >= PAGE && body.total >= (page + 1) * PAGE + 1;
      this.pages.delete(keyOf(step, page));
      // An answer may end early, where its lines are long: what is missing is asked for once more at its time.
      this.pages.set(keyOf(step, page), { lines, whole, asked: Math.max(there, lines.length) });
      for (const old of this.pages.keys()) {
        if (this.pages.size <= MOST_PAGES) break;
        this.pages.delete(old);
      }
      this.failing = false;
      this.changed();
    } catch {
      this.failing = true;
      this.changed();
      await new Promise((again) => { setTimeout(again, RETRY_MS); });
    }
  }
}
