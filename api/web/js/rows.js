// Which rows a viewer has: all lines in their order, or steps with the lines of those that are open. Only numbers; the lines
// themselves are read when they are seen.

import { Folds, behind } from "./folds.js";

/** How steps look that ended. */
const ENDED = ["good", "bad", "ours", "still"];

/**
 * @typedef {{ number: number, name: string, tone: string, word: string, took: string, moved: number|null, total: number|null,
 *   lines: number }} Step
 * @typedef {import("./folds.js").Group} Group
 * @typedef {{ kind: "line", step: number|null, number: number, group?: Group, isOpen?: boolean, count?: number }} LineRow
 * @typedef {LineRow | { kind: "step", step: Step }} Row
 */

export class Rows {
  constructor() {
    this.bySteps = true;
    this.lines = 0;
    /** @type {Step[]} */
    this.steps = [];
    /** What people chose, by step. @type {Map<number, boolean>} */
    this.chosen = new Map();
    /** The groups of lines, by step. @type {Map<number, Folds>} */
    this.folds = new Map();
    /** The groups that the server told last. @type {{ step: number, groups: Group[] }[]} */
    this.groups = [];
    /** Lines that stay in sight. @type {{ step: number|null, from: number, to: number }|null} */
    this.held = null;
    /** The first row of each step. @type {number[]} */
    this.starts = [];
    this.count = 0;
  }

  /** Another log. */
  clear() {
    this.chosen.clear();
    this.folds.clear();
    this.groups = [];
  }

  /** @param {Step[]} steps @param {number} lines */
  set(steps, lines) {
    this.steps = steps;
    this.lines = lines;
    for (const { step, groups } of this.groups) {
      const folds = this.folds.get(step) ?? new Folds();
      this.folds.set(step, folds);
      const held = this.held?.step === step ? this.held : null;
      // A log may tell of a step before the page does.
      folds.set(groups, { isRunning: !ENDED.includes(this.step(step)?.tone ?? ""), held });
    }
    this.groups = [];
    this.lay();
  }

  lay() {
    this.starts = [];
    let at = 0;
    for (const step of this.steps) {
      const folds = this.folds.get(step.number);
      folds?.lay(step.lines, step.tone === "bad");
      this.starts.push(at);
      at += 1 + (this.isOpen(step) ? folds?.shown ?? step.lines : 0);
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

  /** @param {number} step @param {number} line @param {boolean} open */
  openGroup(step, line, open) {
    this.folds.get(step)?.choose(line, open);
    this.lay();
  }

  /** @param {boolean} open */
  openAll(open) {
    for (const step of this.steps) this.chosen.set(step.number, open);
    for (const folds of this.folds.values()) folds.chooseAll(open);
    this.lay();
  }

  /** The place of the step that has this row. @param {number} row */
  stepAt(row) {
    return behind(this.starts, (start) => start <= row) - 1;
  }

  /** @param {number} row @returns {Row|undefined} */
  at(row) {
    if (row < 0 || row >= this.count) return undefined;
    if (!this.bySteps) return { kind: "line", step: null, number: row + 1 };
    const place = this.stepAt(row);
    const step = this.steps[place];
    const at = row - this.starts[place];
    if (at === 0) return { kind: "step", step };
    const folds = this.folds.get(step.number);
    if (!folds) return { kind: "line", step: step.number, number: at };
    const number = folds.lineAt(at);
    const group = folds.at(number);
    if (!group) return { kind: "line", step: step.number, number };
    const count = Math.min(group.last ?? step.lines, step.lines) - number;
    return { kind: "line", step: step.number, number, group, isOpen: folds.isOpen(group), count };
  }

  /** The last line of those that follow a row's line in the rows without a gap. @param {LineRow} at */
  stretch({ step, number }) {
    const folds = step === null ? undefined : this.folds.get(step);
    return folds ? folds.stretch(number) : this.linesOf(step);
  }

  /** What a row is known by, however many rows come before it. @param {number} row */
  keyOf(row) {
    const at = this.at(row);
    if (!at) return "";
    return at.kind === "step" ? `s${at.step.number}` : `${at.step ?? ""}:${at.number}`;
  }

  /** Where the row of a key is now; the head of its step or group where that is closed. @param {string} key */
  rowOfKey(key) {
    const [, head, of, number] = /^(?:s(\d+)|(\d*):(\d+))$/.exec(key) ?? [];
    if (this.bySteps !== (head !== undefined || Boolean(of))) return -1;
    if (!this.bySteps) return number && Number(number) <= this.lines ? Number(number) - 1 : -1;
    return this.placed(Number(head ?? of), Number(number ?? 0));
  }

  /** @param {number|null} number */
  step(number) {
    return this.steps.find((step) => step.number === number);
  }

  /** So many lines a step has, or all. @param {number|null} step */
  linesOf(step) {
    return step === null ? this.lines : this.step(step)?.lines ?? 0;
  }

  /**
   * The row of a line of a step, or of all; opens its step and the groups of the lines up to another.
   * @param {number|null} step @param {number} number @param {number} [to]
   */
  rowOf(step, number, to = number) {
    if (!this.bySteps) return number - 1;
    const known = this.step(step);
    if (!known) return -1;
    if (number > 0 && !this.isOpen(known)) this.open(known.number, true);
    if (this.folds.get(known.number)?.reveal(number, to)) this.lay();
    return this.placed(known.number, number);
  }

  /** The row of a line as things are; 0 is the step's head. @param {number} number @param {number} line */
  placed(number, line) {
    const place = this.steps.findIndex((known) => known.number === number);
    if (place < 0) return -1;
    const step = this.steps[place];
    const at = Math.min(line, step.lines);
    return this.starts[place] + (this.isOpen(step) ? this.folds.get(number)?.placeOf(at) ?? at : 0);
  }
}
