// How a reader moves through a log by keys: from step to step, from error to error, to its ends.

import { Errors } from "./errors.js";
import { pressed } from "./buttons.js";
import { isFree, isMeant, showHelp } from "./keys.js";
import { t } from "./texts.js";

export class Moves {
  /** @param {import("./logview.js").LogView} view */
  constructor(view) {
    this.view = view;
    this.errors = new Errors(view.url, 0);
    /** Where buttons went last: a place among the steps, and the row on top there. */
    this.reached = { place: -1, row: -1 };
    view.page.addEventListener("keydown", (event) => this.pressed(event));
  }

  /** What keys do, as buttons. */
  bar() {
    const { page } = this.view;
    const group = (/** @type {string} */ name, /** @type {[string, string, () => void][]} */ acts) => {
      const element = page.createElement("span");
      element.className = "moves";
      element.setAttribute("role", "group");
      element.setAttribute("aria-label", name);
      element.append(name, ...acts.map(([sign, what, act]) => pressed(page, sign, what, act)));
      return element;
    };
    this.view.part("view")?.before(
      group(t("js-moves-steps"), [
        ["↑", t("js-moves-step-before"), () => this.turn(-1)], ["↓", t("js-moves-step-after"), () => this.turn(1)],
      ]),
      group(t("js-moves-errors"), [
        ["↑", t("js-moves-error-before"), () => void this.error(-1)], ["↓", t("js-moves-error-after"), () => void this.error(1)],
      ]),
      group(t("js-moves-ends"), [["⤒", t("js-moves-first"), () => this.top()], ["⤓", t("js-moves-last"), () => this.bottom()]]),
    );
  }

  /** The log of another attempt. @param {number} epoch */
  begin(epoch) {
    this.errors = new Errors(this.view.url, epoch);
  }

  /** @param {KeyboardEvent} event */
  pressed(event) {
    const { view } = this;
    const { page, box, rows } = view;
    if (!isFree(event) || !isMeant(box)) return;
    const isHere = box.contains(page.activeElement);
    const isBare = page.activeElement === box || page.activeElement === page.body;
    const acts = {
      j: () => this.step(1), k: () => this.step(-1), n: () => void this.error(1), p: () => void this.error(-1),
      g: () => this.top(), G: () => this.bottom(), f: () => view.follow(view.feed.state === "live"), s: () => view.switchView(),
      c: () => void view.copying.copyLines(), l: () => void view.copying.copyLink(),
      w: () => view.setWrap(!view.wraps), t: () => view.nextTimes(), "?": () => showHelp(page),
      ...(isHere ? { Home: () => this.top(), End: () => this.bottom() } : {}),
      ...(isBare && rows.bySteps && rows.count > 0 ? { Enter: () => view.toggle(rows.steps[rows.stepAt(view.scroller.row)].number) } : {}),
    };
    const act = acts[/** @type {keyof typeof acts} */ (event.key)];
    if (!act) return;
    event.preventDefault();
    act();
  }

  top() {
    this.view.follow(false);
    this.view.scroller.show(0);
  }

  bottom() {
    if (this.view.feed.state === "live") this.view.follow(true); else this.view.scroller.toEnd();
  }

  /** A button keeps the focus, to be pressed again. @param {number} by */
  turn(by) {
    const { view } = this;
    const step = this.step(by, false);
    if (step) view.say(t("js-moves-at-step", { step: step.number, name: step.name }));
  }

  /** @param {number} by @param {boolean} [takesFocus] */
  step(by, takesFocus = true) {
    const { view } = this;
    const { rows, scroller } = view;
    if (!rows.bySteps) view.setView(true);
    view.follow(false);
    // Near the end the step on top does not change any more: the focus tells where the reader is.
    const focused = view.page.activeElement?.closest("button.step");
    const isReached = !takesFocus && this.reached.row === scroller.row && this.reached.place < rows.steps.length;
    const here = focused instanceof HTMLElement && view.box.contains(focused)
      ? rows.steps.findIndex((step) => step.number === Number(focused.dataset.step))
      : isReached ? this.reached.place : rows.stepAt(scroller.row);
    const isOnHead = rows.starts[here] >= scroller.row;
    const isFirst = !focused && !isReached && scroller.row === 0 && by > 0;
    const place = isFirst ? 0 : Math.max(0, Math.min(rows.steps.length - 1, by < 0 && !isOnHead ? here : here + by));
    const row = rows.starts[place];
    if (row === undefined) return undefined;
    scroller.show(row);
    this.reached = { place, row: scroller.row };
    if (takesFocus) view.focusHead(rows.steps[place].number);
    return rows.steps[place];
  }

  /** @param {number} by */
  async error(by) {
    const { view, errors } = this;
    const { rows } = view;
    try {
      await errors.read(view.feed.end, rows.lines);
    } catch {
      return view.say(t("js-log-errors-unread"));
    }
    const ends = rows.steps.filter((step) => step.tone === "bad" && step.lines > 0)
      .map(({ number, lines }) => ({ line: 0, step: number, step_line: lines }));
    const isFine = view.target && (view.target.step === null) !== rows.bySteps;
    const at = rows.at(view.scroller.row);
    const step = !at ? null : at.kind === "step" ? at.step.number : at.step;
    const top = { step, number: at?.kind === "line" ? at.number - 1 : 0 };
    const here = isFine && view.target ? { step: view.target.step, number: view.target.from } : top;
    const { number, count, hit } = errors.next(by, here, ends);
    if (!hit) return view.say(t("js-log-no-errors"));
    view.goTo(rows.bySteps ? { step: hit.step, from: hit.step_line } : { step: null, from: hit.line });
    view.say(t(errors.isFull ? "js-log-error-of-more" : "js-log-error-of", { number, count }));
  }
}
