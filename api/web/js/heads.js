// How the head of a step looks: what BuildKit's name says, how it stands, and how far its transfers are.

import { number, t } from "./texts.js";

/** @typedef {import("./rows.js").Step} Step */

const UNITS = ["B", "kB", "MB", "GB", "TB"];

/**
 * The parts of a name such as `[linux/arm64 build 2/4] RUN make`.
 * @param {string} name
 */
export function partsOf(name) {
  const [, inside, text] = /^\[([^\]]+)\] (.*)$/s.exec(name) ?? [];
  if (inside === undefined || text === undefined) return { platform: "", stage: "", place: "", word: "", text: name };
  const words = inside.split(" ");
  const isPlatform = /^(?!\d+\/\d+$)[a-z0-9]+(\/[a-z0-9_]+){1,2}$/.test(words[0]);
  const platform = isPlatform ? words.shift() ?? "" : "";
  const place = /^\d+\/\d+$/.test(words.at(-1) ?? "") ? words.pop() ?? "" : "";
  const [, word = "", rest = text] = /^([A-Z]{2,12}) (.*)$/s.exec(text) ?? [];
  return { platform, stage: words.join(" "), place, word, text: rest };
}

/** Bytes in the unit of as many or more. @param {number} bytes @param {number} [most] */
function sized(bytes, most = bytes) {
  const unit = Math.min(UNITS.length - 1, Math.max(0, Math.floor(Math.log10(Math.max(1, most)) / 3)));
  const size = bytes / 1000 ** unit;
  return { size: unit === 0 ? number(bytes) : size.toFixed(1), unit: UNITS[unit] };
}

/** How much of a step's transfers is done, in words. @param {Step} step */
export function movedWords({ moved, total, tone }) {
  if (moved === null) return "";
  if (total !== null && total > moved && tone === "busy") {
    const all = sized(total);
    return t("js-log-moved", { done: sized(moved, total).size, total: `${all.size} ${all.unit}` });
  }
  const { size, unit } = sized(moved);
  return `${size} ${unit}`;
}

export class Heads {
  /** @param {import("./draw.js").Draw} draw */
  constructor(draw) {
    this.page = draw.page;
    this.piece = draw.piece.bind(draw);
  }

  /** @param {Step} step @param {boolean} open @param {HTMLElement|undefined} old */
  head(step, open, old) {
    const stamp = JSON.stringify([step, open]);
    if (old?.dataset.stamp === stamp) return old;
    const head = old ?? this.page.createElement("h3");
    head.className = "step-head";
    head.dataset.stamp = stamp;
    head.dataset.row = `s${step.number}`;
    // The button stays: it may have the focus.
    const button = head.querySelector("button") ?? this.page.createElement("button");
    button.type = "button";
    button.className = "step";
    button.title = step.name;
    button.dataset.step = String(step.number);
    button.setAttribute("aria-expanded", String(open));
    button.replaceChildren(
      this.piece("span", "number", step.number > 0 ? `#${step.number}` : ""), this.name(step.name),
      ...this.moved(step), ...(step.word ? [this.piece("span", `state ${step.tone}`, step.word)] : []),
      this.piece("span", "quiet took", step.took),
      this.piece("span", "quiet lines", step.lines === 0 ? "" : t("js-log-lines", { count: step.lines })),
    );
    if (!head.contains(button)) head.replaceChildren(button);
    return head;
  }

  /** @param {string} name */
  name(name) {
    const { platform, stage, place, word, text } = partsOf(name);
    const element = this.piece("span", "name", "");
    // What is read aloud has spaces between its words.
    const parts = [
      ...(platform ? [this.piece("span", "platform", platform)] : []), ...(stage ? [this.piece("span", "stage", stage)] : []),
      ...(place ? [this.piece("span", "place", place)] : []), ...(word ? [this.piece("strong", "word", word)] : []),
    ];
    for (const part of parts) element.append(part, " ");
    element.append(text);
    return element;
  }

  /** @param {Step} step */
  moved(step) {
    const words = movedWords(step);
    if (!words) return [];
    const element = this.piece("span", "quiet moved", words);
    if (step.tone === "busy" && step.moved !== null && step.total) {
      const bar = this.page.createElement("progress");
      [bar.max, bar.value] = [step.total, Math.min(step.moved, step.total)];
      // The words say it.
      bar.setAttribute("aria-hidden", "true");
      element.prepend(bar, " ");
    }
    return [element];
  }
}
