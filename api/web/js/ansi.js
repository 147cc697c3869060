// Terminal colours as runs of { text, classes }. Only the 16 colours and the plain styles are kept; every
// other escape sequence is dropped. Nothing here makes HTML.

// CSI sequences, OSC sequences, and two-byte escapes.
const ESCAPE = /\x1b(?:\[([0-9;:?<=>]*)[ -/]*([@-~])|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[ -/]+[0-~]|[0-Z\\^_])/g;

/** @typedef {{ color: string, styles: Set<string> }} Style */

/** @returns {Style} */
export function plainStyle() {
  return { color: "", styles: new Set() };
}

/**
 * Splits one line into runs and moves `style` on to where the line ends.
 * @param {string} line @param {Style} style
 * @returns {{ text: string, classes: string }[]}
 */
export function ansiRuns(line, style) {
  const runs = [];
  let from = 0;
  const take = (/** @type {number} */ to) => {
    const text = line.slice(from, to).replace(/[\x00-\x08\x0b-\x1f\x7f]/g, "");
    if (text) runs.push({ text, classes: [style.color, ...style.styles].filter(Boolean).join(" ") });
  };
  for (const found of line.matchAll(ESCAPE)) {
    take(found.index);
    from = found.index + found[0].length;
    if (found[2] === "m") applyCodes(found[1] ?? "", style);
  }
  take(line.length);
  return runs;
}

/** What a terminal would show after carriage returns: the text behind the last one. @param {string} line */
export function afterReturns(line) {
  const text = line.endsWith("\r") ? line.slice(0, -1) : line;
  return text.slice(text.lastIndexOf("\r") + 1);
}

/** @param {string} codes @param {Style} style */
function applyCodes(codes, style) {
  const numbers = codes.split(/[;:]/).map(Number);
  for (let at = 0; at < numbers.length; at++) {
    const code = numbers[at];
    if (code === 0) { style.color = ""; style.styles.clear(); }
    else if (code === 1) style.styles.add("a-bold");
    else if (code === 2) style.styles.add("a-faint");
    else if (code === 3) style.styles.add("a-italic");
    else if (code === 4) style.styles.add("a-underline");
    else if (code === 22) { style.styles.delete("a-bold"); style.styles.delete("a-faint"); }
    else if (code === 23) style.styles.delete("a-italic");
    else if (code === 24) style.styles.delete("a-underline");
    else if (code >= 30 && code <= 37) style.color = `a-${code}`;
    else if (code >= 90 && code <= 97) style.color = `a-${code - 60}`;
    else if (code === 39) style.color = "";
    // 38 and 48 are followed by a colour of 256 or of 24 bits, which must not be read as styles.
    else if (code === 38 || code === 48) at += numbers[at + 1] === 5 ? 2 : 4;
  }
}
