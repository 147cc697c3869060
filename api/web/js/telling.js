// Tells what happens to a build to who listens to its page: steps that fail, and its end, each once. It stands where no refresh
// replaces it: what is replaced is not read aloud.

import { t } from "./texts.js";

/** @param {Document} page */
export function startTelling(page) {
  const main = page.querySelector("main");
  // What is over does not change.
  if (main instanceof HTMLElement && !isOver(page) && page.querySelector("[data-log]")) new Telling(page, main);
}

/** @param {Document} page */
const isOver = (page) => page.querySelector("#summary [data-ended]") !== null;

class Telling {
  /** @param {Document} page @param {HTMLElement} main */
  constructor(page, main) {
    this.page = page;
    this.place = page.createElement("p");
    this.place.className = "unseen";
    this.place.setAttribute("role", "status");
    main.append(this.place);
    this.failed = new Set(this.failures().keys());
    this.hasEnded = false;
    page.addEventListener("slipway:refreshed", () => this.look());
  }

  /** What is said of each step that failed. */
  failures() {
    /** @type {Map<string, string>} */
    const failures = new Map();
    for (const row of this.page.querySelectorAll("[data-steps-of] [data-step][data-tone=bad]")) {
      if (!(row instanceof HTMLElement)) continue;
      const { step = "", name = "" } = row.dataset;
      failures.set(`${row.closest("[data-steps-of]")?.id} ${step}`, t("js-telling-step", { step, name }));
    }
    return failures;
  }

  look() {
    const failures = this.failures();
    const news = [...failures].filter(([key]) => !this.failed.has(key)).map(([, words]) => words);
    // A step of a further attempt may fail again.
    this.failed = new Set(failures.keys());
    if (!this.hasEnded && isOver(this.page)) {
      this.hasEnded = true;
      news.push(t("js-telling-end", { state: this.page.querySelector("#summary .state")?.textContent ?? "" }));
    }
    if (news.length > 0) this.place.textContent = news.join(" ");
  }
}
