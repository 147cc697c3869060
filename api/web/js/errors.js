// The lines of a log that speak of an error or are annotated with a warning, as the server's search finds them.

const ERRORS = "\\b(error|fatal|panic|failed|failure|exception)\\b";
const WARNINGS = "^::warning\\b";
/** So many at once, as many as the server tells. */
const PAGE = 500;
/** Nobody goes from one to the next for longer than this. */
const MOST = 5_000;

/** @typedef {{ line: number, step: number, step_line: number }} Hit */

export class Errors {
  /** @param {string} url the log's address @param {number} epoch */
  constructor(url, epoch) {
    this.url = url;
    this.epoch = epoch;
    /** @type {Hit[]} */
    this.hits = [];
    /** There are more than are read. */
    this.isFull = false;
    /** Lines that were looked through. */
    this.seen = 0;
    /** How far the log went when it was asked last. */
    this.end = -1;
    /** What reads now. @type {Promise<void>|null} */
    this.reading = null;
  }

  /** Reads on where the log goes on; throws where the server does not answer. @param {number} end @param {number} lines */
  async read(end, lines) {
    this.reading ??= this.readOn(end, lines).finally(() => { this.reading = null; });
    await this.reading;
  }

  /** @param {number} end @param {number} lines */
  async readOn(end, lines) {
    if (this.end === end || this.isFull) return;
    // The last line may have been cut when it was looked at.
    const seen = Math.max(0, Math.min(this.seen, lines) - 1);
    const hits = this.hits.filter((hit) => hit.line <= seen);
    /** @type {number|null} */
    let after = seen;
    while (after !== null && hits.length < MOST) {
      const found = await this.ask({ q: `${ERRORS}|${WARNINGS}`, limit: String(PAGE), after: String(after) });
      hits.push(...found.hits);
      after = found.next ?? null;
    }
    this.hits = hits.slice(0, MOST);
    this.isFull = after !== null || hits.length > MOST;
    [this.end, this.seen] = [end, lines];
  }

  /** The first line of a step that speaks of an error. @param {number} step @param {AbortSignal} [signal] */
  async firstOf(step, signal) {
    const { hits } = await this.ask({ q: ERRORS, limit: "1", step: String(step) }, signal);
    return hits.find((hit) => hit.step === step);
  }

  /** @param {Record<string, string>} what @param {AbortSignal} [signal] @returns {Promise<{ hits: Hit[], next: number|null }>} */
  async ask(what, signal) {
    // How many there are in all is not asked: that would look through the rest of the log for every page.
    const query = new URLSearchParams({ ...what, regex: "1", first: "1", epoch: String(this.epoch) });
    const answer = await fetch(`${this.url}/search?${query}`, { signal });
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    return answer.json();
  }

  /**
   * The next one after a place, or the one before it, round and round: its number from 1, of how many, and where it is.
   * @param {number} by @param {{ step: number|null, number: number }} here @param {Hit[]} ends where steps failed
   */
  next(by, here, ends) {
    const isAll = here.step === null;
    const place = (/** @type {Hit} */ hit) => isAll ? [0, hit.line] : [hit.step, hit.step_line];
    const from = [here.step ?? 0, here.number];
    const order = (/** @type {number[]} */ one, /** @type {number[]} */ other) => one[0] - other[0] || one[1] - other[1];
    const further = isAll ? [] : ends.filter((end) => !this.hits.some((hit) => order(place(hit), place(end)) === 0));
    const sorted = [...this.hits, ...further].sort((one, other) => order(place(one), place(other)));
    const after = sorted.findIndex((hit) => by > 0 ? order(place(hit), from) > 0 : order(place(hit), from) >= 0);
    const count = sorted.length;
    const at = by > 0 ? (after < 0 ? 0 : after) : (after < 0 ? count : after) - 1;
    const number = (at + count) % count;
    return { number: number + 1, count, hit: sorted[number] };
  }
}
