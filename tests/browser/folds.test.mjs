// Which lines of a step are rows while groups are closed, against lists of all of them.

import assert from "node:assert/strict";
import test from "node:test";

import { Folds } from "../../api/web/js/folds.js";
import { Rows } from "../../api/web/js/rows.js";

/** Numbers that look random and are the same each time. */
function dice(seed) {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    return (state >>> 8) % below;
  };
}

/** Groups inside of each other or apart, among so many lines. */
function groupsOf(roll, lines, from = 1, to = lines, level = 0) {
  const groups = [];
  for (let line = from + roll(4); line <= to && level < 4; line += 1 + roll(5)) {
    const last = Math.min(to, line + roll(9));
    const isLast = level === 0 && roll(8) === 0;
    groups.push({ line, last: isLast ? null : last, level, open: roll(2) === 0, faint: false, took_ms: null });
    groups.push(...groupsOf(roll, lines, line + 1, isLast ? lines : last, level + 1));
    if (isLast) break;
    line = last;
  }
  return groups;
}

test("each line that is shown has its row, each that is hidden that of its group", () => {
  for (let seed = 1; seed <= 300; seed++) {
    const roll = dice(seed);
    const lines = roll(60);
    const groups = groupsOf(roll, lines);
    const folds = new Folds();
    folds.set(groups, { isRunning: false, held: null });
    folds.lay(lines, false);
    const closed = groups.filter((group) => !folds.isOpen(group));
    const hides = (group, line) => line > group.line && line <= (group.last ?? lines);
    const shown = Array.from({ length: lines }, (_, at) => at + 1).filter((line) => !closed.some((group) => hides(group, line)));
    assert.equal(folds.shown, shown.length, `seed ${seed}`);
    shown.forEach((line, at) => {
      assert.equal(folds.lineAt(at + 1), line, `seed ${seed}`);
      assert.equal(folds.placeOf(line), at + 1, `seed ${seed}`);
      let end = line;
      while (shown.includes(end + 1)) end += 1;
      assert.equal(folds.stretch(line), end, `seed ${seed}`);
    });
    for (let line = 1; line <= lines; line++) {
      const outermost = closed.find((group) => hides(group, line));
      if (outermost) assert.equal(folds.placeOf(line), shown.indexOf(outermost.line) + 1, `seed ${seed}, line ${line}`);
      assert.equal(folds.at(line), groups.find((group) => group.line === line));
    }
    if (lines > 0) {
      const line = 1 + roll(lines);
      folds.reveal(line);
      folds.lay(lines, false);
      assert.equal(folds.lineAt(folds.placeOf(line)), line, "what is revealed is shown");
    }
  }
});

const step = (number, tone, lines) => ({ number, name: "", tone, word: "", took: "", moved: null, total: null, lines });
const group = (line, last, open = false) => ({ line, last, level: 0, open, faint: false, took_ms: null });

test("what grows is open and stays so; what failed has its last group open", () => {
  const rows = new Rows();
  rows.groups = [{ step: 1, groups: [group(1, 3), group(4, null)] }];
  rows.set([step(1, "busy", 6)], 6);
  assert.deepEqual([1, 2, 3, 4].map((row) => rows.at(row)?.number), [1, 4, 5, 6]);
  rows.groups = [{ step: 1, groups: [group(1, 3), group(4, 7), group(8, 9)] }];
  rows.set([step(1, "good", 10)], 10);
  rows.open(1, true);
  assert.deepEqual([1, 2, 3, 4, 5, 6, 7].map((row) => rows.at(row)?.number), [1, 4, 5, 6, 7, 8, 10]);
  const failed = new Rows();
  failed.groups = [{ step: 1, groups: [group(1, 3), group(4, null)] }];
  failed.set([step(1, "bad", 6)], 6);
  assert.deepEqual([1, 2, 3, 4].map((row) => failed.at(row)?.number), [1, 4, 5, 6]);
  const chosen = new Rows();
  chosen.groups = [{ step: 1, groups: [group(1, 3, true), group(4, null)] }];
  chosen.set([step(1, "bad", 6)], 6);
  assert.deepEqual([1, 2, 3, 4].map((row) => chosen.at(row)?.number), [1, 2, 3, 4]);
  assert.equal(chosen.count, 5);
});

test("a named line opens its groups, and a hidden row is that of its group", () => {
  const rows = new Rows();
  rows.groups = [{ step: 5, groups: [group(2, 9), { ...group(4, 6), level: 1 }] }];
  rows.set([step(5, "bad", 12)], 12);
  rows.openGroup(5, 2, false);
  assert.equal(rows.rowOfKey("5:5"), 2);
  assert.equal(rows.rowOfKey("5:10"), 3);
  assert.equal(rows.rowOf(5, 5), 5);
  assert.deepEqual(rows.at(4), { kind: "line", step: 5, number: 4, group: { ...group(4, 6), level: 1 }, isOpen: true, count: 2 });
});

test("lines from one to another open the groups among them and around them, and no other", () => {
  const rows = new Rows();
  rows.groups = [{ step: 5, groups: [group(1, 4), group(5, 12), { ...group(7, 8), level: 1 }, group(14, 15), group(20, 22), group(24, 26)] }];
  rows.set([step(5, "good", 30)], 30);
  rows.rowOf(5, 10, 20);
  const folds = rows.folds.get(5);
  assert.deepEqual(folds.groups.filter((one) => folds.isOpen(one)).map(({ line }) => line), [5, 14]);
  rows.rowOf(5, 6, 21);
  assert.deepEqual(folds.groups.filter((one) => folds.isOpen(one)).map(({ line }) => line), [5, 7, 14, 20]);
});

test("what is held is open when its group is told of later", () => {
  const rows = new Rows();
  rows.held = { step: 5, from: 2, to: 10 };
  rows.groups = [{ step: 5, groups: [group(1, 2), group(4, 6), group(11, 12)] }];
  rows.set([step(5, "good", 30)], 30);
  const folds = rows.folds.get(5);
  assert.deepEqual(folds.groups.map((one) => folds.isOpen(one)), [true, true, false]);
});

test("all are closed again, and so are their groups", () => {
  const rows = new Rows();
  rows.groups = [{ step: 1, groups: [group(1, 3), group(4, 6, true)] }];
  rows.set([step(1, "bad", 6)], 6);
  rows.openAll(true);
  assert.equal(rows.count, 7);
  rows.openAll(false);
  assert.equal(rows.count, 1);
  rows.open(1, true);
  assert.equal(rows.count, 3);
});
