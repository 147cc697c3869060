// Selections that reach beyond the rows in the page: what holds their ends stays in the page, and what is copied comes from
// the server where it must.

import { textOf } from "./lines.js";
import { t } from "./texts.js";

/** More lines are a download. */
const MOST_LINES = 200_000;

/** @typedef {{ step: number|null, from: number, to: number }} Place */
/** @typedef {{ row: number, cut: number }} End a row and so many characters of it that are before the end */

export class Copying {
  /**
   * @param {HTMLElement} box
   * @param {{ rows: import("./rows.js").Rows, scroller: import("./scroller.js").Scroller,
   *   lines: import("./lines.js").Lines, target: Place|null, part: (name: string) => HTMLElement|null,
   *   say: (text: string) => void, selecting: () => void }} view
   */
  constructor(box, view) {
    this.page = box.ownerDocument;
    this.box = box;
    this.view = view;
    this.lines = this.button(() => void this.copyLines());
    this.link = this.button(() => void this.copyLink());
    this.link.textContent = t("js-copying-link");
    view.part("help")?.before(this.lines, this.link);
    this.page.addEventListener("selectionchange", () => this.selected());
    this.page.addEventListener("copy", (event) => this.copied(event));
  }

  /** @param {() => void} act */
  button(act) {
    const button = this.page.createElement("button");
    button.type = "button";
    button.className = "small";
    button.addEventListener("click", act);
    return button;
  }

  /** What there is to copy now. */
  form() {
    const { target, rows } = this.view;
    this.lines.textContent = target ? t("js-copying-lines") : t("js-copying-step");
    this.lines.hidden = !navigator.clipboard || !target && !rows.bySteps;
    this.link.hidden = !navigator.clipboard || !target;
  }

  /** The lines that the address names, or else those of the step on top. */
  async copyLines() {
    const { target, rows, scroller } = this.view;
    const step = rows.bySteps ? rows.steps[rows.stepAt(scroller.row)] : undefined;
    const place = target ?? (step ? { step: step.number, from: 1, to: step.lines } : null);
    const to = Math.min(place?.to ?? 0, rows.linesOf(place?.step ?? null));
    if (!place || !navigator.clipboard || to < place.from) return;
    const count = to - place.from + 1;
    if (count > MOST_LINES) return this.view.say(t("js-copying-too-many", { count: MOST_LINES }));
    await this.write(this.view.lines.texts(place.step, place.from, to).then((texts) => texts.join("\n")), count);
  }

  async copyLink() {
    if (!this.view.target || !navigator.clipboard) return;
    // The same lines of another attempt are others.
    const link = new URL(location.href);
    link.searchParams.set("attempt", String(this.view.lines.epoch));
    await navigator.clipboard.writeText(link.href).then(
      () => this.view.say(t("js-copying-link-done")), () => this.view.say(t("js-copying-failed")),
    );
  }

  /** @param {Node|null|undefined} node */
  rowOf(node) {
    const element = node instanceof Element ? node : node?.parentElement;
    const row = element?.closest("[data-row]");
    return row instanceof HTMLElement && this.view.scroller.layer.contains(row) ? row : null;
  }

  selected() {
    const selection = this.page.getSelection();
    const ends = selection && !selection.isCollapsed ? [selection.anchorNode, selection.focusNode] : [];
    const keys = ends.map((node) => this.rowOf(node)?.dataset.row ?? "").filter(Boolean);
    // A click alone may become the beginning of a selection.
    const first = this.rowOf(selection?.anchorNode)?.dataset.row;
    this.view.scroller.pinned = new Set(first ? [first, ...keys] : keys);
    if (keys.length > 0) this.view.selecting();
  }

  /** @param {Node|null} node @param {number} offset @returns {End|null} */
  end(node, offset) {
    const element = this.rowOf(node);
    const text = element?.querySelector(".text");
    if (!element || !node) return null;
    const row = this.view.rows.rowOfKey(element.dataset.row ?? "");
    if (!text) return { row, cut: 0 };
    const before = this.page.createRange();
    before.selectNodeContents(text);
    if (before.comparePoint(node, offset) < 0) return { row, cut: 0 };
    if (before.comparePoint(node, offset) === 0) before.setEnd(node, offset);
    return { row, cut: before.toString().length };
  }

  /** @param {ClipboardEvent} event */
  copied(event) {
    const selection = this.page.getSelection();
    if (!selection || selection.isCollapsed || event.target instanceof HTMLInputElement) return;
    const ends = [this.end(selection.anchorNode, selection.anchorOffset), this.end(selection.focusNode, selection.focusOffset)]
      .filter((end) => end !== null)
      .sort((one, other) => one.row - other.row);
    const [first, last] = ends;
    if (!last || first.row < 0 || first.row === last.row) return;
    if (last.row - first.row >= MOST_LINES) {
      event.preventDefault();
      return this.view.say(t("js-copying-too-many", { count: MOST_LINES }));
    }
    const here = this.here(first, last);
    if (here !== null) {
      event.preventDefault();
      event.clipboardData?.setData("text/plain", here);
      return;
    }
    // Without https browsers let no more be copied than what is in the page.
    if (!navigator.clipboard) return this.view.say(t("js-copying-loaded"));
    event.preventDefault();
    void this.fetched(first, last);
  }

  /** The text, if all lines are here. @param {End} first @param {End} last */
  here(first, last) {
    const texts = [];
    for (let row = first.row; row <= last.row; row++) {
      const at = this.view.rows.at(row);
      const line = at?.kind === "line" ? this.view.lines.known(at.step, at.number) : undefined;
      if (at?.kind === "line" && line === undefined) return null;
      texts.push(at?.kind === "step" ? at.step.name : line ? textOf(line) : "");
    }
    return trimmed(texts, first, last);
  }

  /** @param {End} first @param {End} last */
  async fetched(first, last) {
    await this.write(this.texts(first, last).then((texts) => trimmed(texts, first, last)), last.row - first.row + 1);
  }

  /** @param {Promise<string>} text @param {number} count so many lines */
  async write(text, count) {
    this.view.say(t("js-copying-going"));
    try {
      // The browser asks for the permission now, while the keys are pressed, and waits for the text.
      const item = new ClipboardItem({ "text/plain": text.then((all) => new Blob([all], { type: "text/plain" })) });
      await navigator.clipboard.write([item]);
      this.view.say(t("js-copying-done", { count }));
    } catch {
      this.view.say(t("js-copying-failed"));
    }
  }

  /** @param {End} first @param {End} last */
  async texts(first, last) {
    /** @type {string[]} */
    const texts = [];
    for (let row = first.row; row <= last.row;) {
      const at = this.view.rows.at(row);
      if (at?.kind !== "line") {
        texts.push(at?.step.name ?? "");
        row += 1;
        continue;
      }
      const to = Math.min(this.view.rows.stretch(at), at.number + last.row - row);
      const lines = await this.view.lines.texts(at.step, at.number, to);
      for (const line of lines) texts.push(line);
      row += to - at.number + 1;
    }
    return texts;
  }
}

/** @param {string[]} texts @param {End} first @param {End} last */
function trimmed(texts, first, last) {
  const end = texts.length - 1;
  return texts.map((text, at) => at === 0 ? text.slice(first.cut) : at === end ? text.slice(0, last.cut) : text).join("\n");
}
