// The lines of a log that speak of an error or are annotated with a warning, as the server's search finds them.

const PATTERN = "\\b(error|fatal|panic|failed|failure|exception)\\b|^::warning\\b";
const LIMIT = 500;

/** @typedef {{ line: number, step: number, step_line: number }} Hit */

export class Errors {
  /** @param {string} url the log's address @param {number} epoch */
  constructor(url, epoch) {
    this.url = url;
    this.epoch = epoch;
    /** @type {Hit[]} */
    this.hits = [];
    /** Lines that were looked through. */
    this.seen = 0;
    /** How far the log went when it was asked last. */
    this.end = -1;
  }

  /** Reads on where the log goes on; throws where the server does not answer. @param {number} end @param {number} lines */
  async read(end, lines) {
    if (this.end === end || this.hits.length >= LIMIT) return;
    // The last line may have been cut when it was looked at.
    const after = Math.max(0, Math.min(this.seen, lines) - 1);
    const query = new URLSearchParams({
      q: PATTERN, regex: "1", limit: String(LIMIT), after: String(after), epoch: String(this.epoch),
    });
    const answer = await fetch(`${this.url}/search?${query}`);
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    const found = await answer.json();
    this.hits = [...this.hits.filter((hit) => hit.line <= after), ...found.hits];
    [this.end, this.seen] = [end, lines];
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
