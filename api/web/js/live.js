// Keeps parts of a page fresh: the page is fetched again and the elements marked data-live are replaced.
// The server renders once for everybody; there is no second template in the browser.

const SLOWEST_MS = 30_000;
/** What takes the focus by keyboard. */
const STOPS = "a[href], button, input, select, textarea, summary, [tabindex]";
/** What somebody fills in or is about to send. */
const FILLED_IN = "input, select, textarea, form button";

/** @param {Document} page */
export function startLiveParts(page) {
  const main = page.querySelector("main[data-refresh-ms]");
  if (main instanceof HTMLElement) new LiveParts(page, main).schedule();
}

class LiveParts {
  /** @param {Document} page @param {HTMLElement} main */
  constructor(page, main) {
    this.page = page;
    this.main = main;
    this.failures = 0;
    this.timer = 0;
    /** What the server said of each part; what scripts and readers changed in it since is no news. @type {WeakMap<Element, string>} */
    this.told = new WeakMap();
    for (const part of this.page.querySelectorAll("[data-live]")) this.told.set(part, part.innerHTML);
    this.page.addEventListener("visibilitychange", () => { if (!this.page.hidden) this.now(); });
    // The log knows first that something ended.
    this.page.addEventListener("slipway:changed", () => this.now());
  }

  now() {
    clearTimeout(this.timer);
    if (this.main.dataset.refreshMs) void this.refresh();
  }

  schedule() {
    const every = Number(this.main.dataset.refreshMs);
    if (!every) return;
    const wait = Math.min(SLOWEST_MS, every * 2 ** this.failures);
    clearTimeout(this.timer);
    this.timer = setTimeout(() => { if (!this.page.hidden) void this.refresh(); }, wait);
  }

  async refresh() {
    try {
      const answer = await fetch(location.href, { headers: { accept: "text/html" }, redirect: "error" });
      if (!answer.ok) throw new Error(`status ${answer.status}`);
      this.replace(new DOMParser().parseFromString(await answer.text(), "text/html"));
      this.failures = 0;
    } catch {
      this.failures = Math.min(this.failures + 1, 5);
    }
    this.schedule();
  }

  /** @param {Document} fresh */
  replace(fresh) {
    const focused = this.page.activeElement;
    const isFilledIn = focused?.matches(FILLED_IN) ?? false;
    if (fresh.documentElement.lang !== this.page.documentElement.lang) {
      // Chosen in another tab: half a page in each language helps nobody, a form half filled in is not thrown away.
      if (!isFilledIn) location.reload();
      return;
    }
    const { theme } = fresh.documentElement.dataset;
    if (theme) this.page.documentElement.dataset.theme = theme; else delete this.page.documentElement.dataset.theme;
    let isLate = false;
    let refocus = () => {};
    this.page.title = fresh.title;
    for (const part of this.page.querySelectorAll("[data-live]")) {
      const next = fresh.getElementById(part.id);
      if (!next || this.told.get(part) === next.innerHTML) continue;
      const hasFocus = part.contains(focused);
      // Somebody types or presses here: keep it until the next round.
      if (hasFocus && isFilledIn || part.matches(":active")) {
        isLate = true;
        continue;
      }
      this.told.set(part, next.innerHTML);
      if (hasFocus && focused) refocus = this.refocusing(part, focused);
      const wereOpen = Array.from(part.querySelectorAll("details"), (it) => it.open);
      part.replaceChildren(...Array.from(next.childNodes, (node) => this.page.importNode(node, true)));
      // A reader opened them.
      part.querySelectorAll("details").forEach((it, place) => { it.open ||= wereOpen[place] ?? false; });
    }
    const every = fresh.querySelector("main")?.dataset.refreshMs;
    if (every) this.main.dataset.refreshMs = every; else if (!isLate) delete this.main.dataset.refreshMs;
    this.page.dispatchEvent(new Event("slipway:refreshed"));
    // Scripts have added their buttons again.
    refocus();
  }

  /** Gives the focus to what stands where it was; never to what sends a form. @param {Element} part @param {Element} focused */
  refocusing(part, focused) {
    const place = [...part.querySelectorAll(STOPS)].indexOf(focused);
    return () => {
      const stop = part.querySelectorAll(STOPS)[place];
      const isLike = stop?.localName === focused.localName && !stop.matches(FILLED_IN);
      if (isLike && (stop instanceof HTMLElement || stop instanceof SVGElement)) stop.focus({ preventScroll: true });
    };
  }
}
