// The words of the scripts in the page's language, from the block of data that the page brings along.

/** @typedef {string | { arg: string } | { on: string, cases: Record<string, Text>, else: Text }} Part */
/** @typedef {string | Part[]} Text */

const language = document.documentElement.lang || "en";
const plurals = new Intl.PluralRules(language);

/** @type {Record<string, Text>} */
const texts = JSON.parse(document.getElementById("texts")?.textContent ?? "{}");

/** The text with this key; numbers choose plurals. @param {string} key @param {Record<string, string | number>} [args] */
export function t(key, args = {}) {
  return written(texts[key] ?? key, args);
}

/** A number as the page's readers write it. @param {number} value */
export function number(value) {
  return value.toLocaleString(language);
}

/** @param {Text} text @param {Record<string, string | number>} args @returns {string} */
function written(text, args) {
  if (typeof text === "string") return text;
  return text.map((part) => {
    if (typeof part === "string") return part;
    if ("arg" in part) {
      const value = args[part.arg] ?? "";
      return typeof value === "number" ? number(value) : value;
    }
    const value = args[part.on] ?? "";
    const plural = typeof value === "number" ? part.cases[plurals.select(value)] : undefined;
    return written(part.cases[String(value)] ?? plural ?? part.else, args);
  }).join("");
}
