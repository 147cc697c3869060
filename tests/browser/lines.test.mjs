// Which lines a viewer keeps of those that it has read.

import assert from "node:assert/strict";
import test from "node:test";

import { Lines } from "../../api/web/js/lines.js";

/** Lines of a page. */
const PAGE = 200;
/** Columns of a line that goes on and on. */
const WIDE = 60_000;

const line = (number, step, width) => ({ line: number, step_line: number, step, stream: "stdout", at: "", runs: [], width, clipped: false });

/** Lines of a log whose server has all that is asked for, each of a width. */
function served(t, width) {
  let came = () => {};
  t.mock.method(globalThis, "fetch", async (url) => {
    const asked = new URL(url, "http://log.example").searchParams;
    const step = Number(asked.get("step") ?? 0);
    const [from, count] = [Number(asked.get("from")), Number(asked.get("count"))];
    const lines = Array.from({ length: step ? 1 : count }, (_, at) => line(from + at, step, width(step)));
    return { ok: true, json: async () => ({ state: "live", end: 0, lines }) };
  });
  const lines = new Lines("/log", 1, () => came());
  const read = async (step, number, count) => {
    lines.get(step, number, count);
    await new Promise((done) => {
      came = done;
      lines.serve();
    });
  };
  return { lines, read };
}

for (const [name, grow] of [
  ["is read again", async ({ lines, read }) => {
    lines.touch(7, 1);
    await read(7, 1, 1);
  }],
  ["comes by itself again", async ({ lines }) => lines.add([line(1, 7, WIDE)])],
]) {
  test(`a line that ${name} counts once`, async (t) => {
    const log = served(t, (step) => (step ? WIDE : 10));
    for (let page = 0; page < 20; page += 1) await log.read(null, page * PAGE + 1, 20 * PAGE);
    for (let turn = 0; turn < 300; turn += 1) await grow(log);
    const kept = Array.from({ length: 20 }, (_, page) => log.lines.known(null, page * PAGE + 2)).filter(Boolean);
    assert.equal(kept.length, 20, "pages were forgotten");
  });
}

test("wide lines that are all different push out what was not used for long", async (t) => {
  const log = served(t, () => WIDE);
  for (let page = 0; page < 20; page += 1) await log.read(null, page * PAGE + 1, 20 * PAGE);
  const kept = Array.from({ length: 20 }, (_, page) => log.lines.known(null, page * PAGE + 2)).filter(Boolean);
  assert.equal(kept.length, 4);
});
