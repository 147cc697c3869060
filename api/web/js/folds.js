// Which lines of a step are hidden because the groups that they are in are closed. Only numbers: the server finds the groups,
// and lines keep their numbers whatever is hidden.

/**
 * @typedef {{ line: number, last: number|null, level: number, open: boolean, faint: boolean, took_ms: number|null }} Group
 * The lines from one to another, and so many that are hidden before them.
 * @typedef {{ from: number, to: number, before: number }} Range
 */

export class Folds {
  constructor() {
    /** By the lines of their titles. @type {Group[]} */
    this.groups = [];
    /** By the line of its title. @type {Map<number, boolean>} */
    this.opened = new Map();
    /** A reader chose, or something was chosen for what failed. */
    this.isChosen = false;
    /** Apart and in their order. @type {Range[]} */
    this.hidden = [];
    this.lines = 0;
    /** Lines that are not hidden. */
    this.shown = 0;
  }

  /**
   * What is seen once stays as it is: a group that grows is open, and not closed under its reader's eyes when it ends.
   * @param {Group[]} groups @param {{ isRunning: boolean, held: { from: number, to: number }|null }} step
   */
  set(groups, { isRunning, held }) {
    this.groups = groups;
    for (const group of groups) {
      if (this.opened.has(group.line)) continue;
      const holds = held !== null && hides(group, held.from, held.to);
      this.opened.set(group.line, group.open || holds || (isRunning && group.last === null));
    }
  }

  /** @param {number} lines @param {boolean} hasFailed */
  lay(lines, hasFailed) {
    this.lines = lines;
    const last = this.groups.at(-1);
    if (hasFailed && last && !this.isChosen && !this.groups.some((group) => this.isOpen(group))) {
      this.isChosen = true;
      this.reveal(last.line);
      this.opened.set(last.line, true);
    }
    this.hidden = [];
    let [end, before] = [0, 0];
    for (const group of this.groups) {
      const to = Math.min(group.last ?? lines, lines);
      if (group.line < end || to <= group.line || this.isOpen(group)) continue;
      this.hidden.push({ from: group.line + 1, to, before });
      before += to - group.line;
      end = to + 1;
    }
    this.shown = lines - before;
  }

  /** @param {Group} group */
  isOpen(group) {
    return this.opened.get(group.line) ?? true;
  }

  /** @param {number} line @param {boolean} open */
  choose(line, open) {
    this.isChosen = true;
    this.opened.set(line, open);
  }

  /** @param {boolean} open */
  chooseAll(open) {
    this.isChosen = true;
    for (const { line } of this.groups) this.opened.set(line, open);
  }

  /** Opens the groups that lines are in. True if one was closed. @param {number} from @param {number} [to] */
  reveal(from, to = from) {
    const closed = this.groups.filter((group) => hides(group, from, to) && !this.isOpen(group));
    for (const group of closed) this.choose(group.line, true);
    return closed.length > 0;
  }

  /** The group whose title a line is. @param {number} line */
  at(line) {
    const at = this.groups[behind(this.groups, (group) => group.line <= line) - 1];
    return at?.line === line ? at : undefined;
  }

  /** The line at a place among those that are shown, from 1. @param {number} place */
  lineAt(place) {
    const range = this.hidden[behind(this.hidden, ({ from, before }) => from - 1 - before < place) - 1];
    return range ? place + range.before + range.to - range.from + 1 : place;
  }

  /** The place of a line among those that are shown; of its group's title where it is hidden. @param {number} line */
  placeOf(line) {
    const range = this.hidden[behind(this.hidden, ({ from }) => from <= line) - 1];
    if (!range) return line;
    return line <= range.to ? range.from - 1 - range.before : line - range.before - (range.to - range.from + 1);
  }

  /** The last line that is shown without a gap behind a line that is shown. @param {number} line */
  stretch(line) {
    const next = this.hidden[behind(this.hidden, ({ from }) => from <= line)];
    return next ? next.from - 1 : this.lines;
  }
}

/** True if one of the lines is in the group; its title is not. @param {Group} group @param {number} from @param {number} to */
function hides(group, from, to) {
  return to > group.line && from <= (group.last ?? Infinity);
}

/** How many from the front are so; all that are stand in front. @template T @param {T[]} sorted @param {(one: T) => boolean} isSo */
export function behind(sorted, isSo) {
  let [low, high] = [0, sorted.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (isSo(sorted[middle])) low = middle + 1; else high = middle;
  }
  return low;
}
