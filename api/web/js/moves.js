// How a reader moves through a log by keys: from step to step, from error to error, to its ends.

import { Errors } from "./errors.js";
import { isFree, isMeant, showHelp } from "./keys.js";
import { t } from "./texts.js";

export class Moves {
  /** @param {import("./logview.js").LogView} view */
  constructor(view) {
    this.view = view;
    this.errors = new Errors(view.url, 0);
    view.page.addEventListener("keydown", (event) => this.pressed(event));
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

  /** @param {number} by */
  step(by) {
    const { view } = this;
    const { rows, scroller } = view;
    if (!rows.bySteps) view.setView(true);
    view.follow(false);
    // Near the end the step on top does not change any more: the focus tells where the reader is.
    const focused = view.page.activeElement?.closest("button.step");
    const here = focused instanceof HTMLElement && view.box.contains(focused)
      ? rows.steps.findIndex((step) => step.number === Number(focused.dataset.step)) : rows.stepAt(scroller.row);
    const isOnHead = rows.starts[here] >= scroller.row;
    const isFirst = !focused && scroller.row === 0 && by > 0;
    const place = isFirst ? 0 : Math.max(0, Math.min(rows.steps.length - 1, by < 0 && !isOnHead ? here : here + by));
    const row = rows.starts[place];
    if (row === undefined) return;
    scroller.show(row);
    view.focusHead(rows.steps[place].number);
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
