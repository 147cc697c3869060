// Which rows a viewer has: all lines in their order, or steps with the lines of those that are open. Only numbers; the lines
// themselves are read when they are seen.

/**
 * @typedef {{ number: number, name: string, tone: string, word: string, took: string, lines: number }} Step
 * @typedef {{ kind: "line", step: number|null, number: number } | { kind: "step", step: Step }} Row
 */

export class Rows {
  constructor() {
    this.bySteps = true;
    this.lines = 0;
    /** @type {Step[]} */
    this.steps = [];
    /** What people chose, by step. @type {Map<number, boolean>} */
    this.chosen = new Map();
    /** The first row of each step. @type {number[]} */
    this.starts = [];
    this.count = 0;
  }

  /** @param {Step[]} steps @param {number} lines */
  set(steps, lines) {
    this.steps = steps;
    this.lines = lines;
    this.lay();
  }

  lay() {
    this.starts = [];
    let at = 0;
    for (const step of this.steps) {
      this.starts.push(at);
      at += 1 + (this.isOpen(step) ? step.lines : 0);
    }
    this.count = this.bySteps ? at : this.lines;
  }

  /** What failed or runs is open, all else is closed, unless somebody chose. @param {Step} step */
  isOpen(step) {
    return this.chosen.get(step.number) ?? (step.tone === "bad" || step.tone === "ours" || step.tone === "busy");
  }

  /** @param {number} number @param {boolean} open */
  open(number, open) {
    this.chosen.set(number, open);
    this.lay();
  }

  /** @param {boolean} open */
  openAll(open) {
    for (const step of this.steps) this.chosen.set(step.number, open);
    this.lay();
  }

  /** The place of the step that has this row. @param {number} row */
  stepAt(row) {
    let [low, high] = [0, this.starts.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.starts[middle] <= row) low = middle + 1; else high = middle;
    }
    return low - 1;
  }

  /** @param {number} row @returns {Row|undefined} */
  at(row) {
    if (row < 0 || row >= this.count) return undefined;
    if (!this.bySteps) return { kind: "line", step: null, number: row + 1 };
    const place = this.stepAt(row);
    const step = this.steps[place];
    const number = row - this.starts[place];
    return number === 0 ? { kind: "step", step } : { kind: "line", step: step.number, number };
  }

  /** What a row is known by, however many rows come before it. @param {number} row */
  keyOf(row) {
    const at = this.at(row);
    if (!at) return "";
    return at.kind === "step" ? `s${at.step.number}` : `${at.step ?? ""}:${at.number}`;
  }

  /** Where the row of a key is now; the head of its step where that is closed. @param {string} key */
  rowOfKey(key) {
    const [, head, of, number] = /^(?:s(\d+)|(\d*):(\d+))$/.exec(key) ?? [];
    if (this.bySteps !== (head !== undefined || Boolean(of))) return -1;
    if (!this.bySteps) return number && Number(number) <= this.lines ? Number(number) - 1 : -1;
    const place = this.steps.findIndex((known) => known.number === Number(head ?? of));
    if (place < 0) return -1;
    const step = this.steps[place];
    return this.starts[place] + (this.isOpen(step) ? Math.min(Number(number ?? 0), step.lines) : 0);
  }

  /** @param {number|null} number */
  step(number) {
    return this.steps.find((step) => step.number === number);
  }

  /** So many lines a step has, or all. @param {number|null} step */
  linesOf(step) {
    return step === null ? this.lines : this.step(step)?.lines ?? 0;
  }

  /** The row of a line of a step, or of all; opens its step. @param {number|null} step @param {number} number */
  rowOf(step, number) {
    if (!this.bySteps) return number - 1;
    const place = this.steps.findIndex((known) => known.number === step);
    if (place < 0) return -1;
    if (number > 0 && !this.isOpen(this.steps[place])) this.open(this.steps[place].number, true);
    return this.starts[place] + Math.min(number, this.steps[place].lines);
  }
}
