// Keeps parts of a page fresh: the page is fetched again and the elements marked data-live are replaced.
// The server renders once for everybody; there is no second template in the browser.

const SLOWEST_MS = 30_000;

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
    const every = fresh.querySelector("main")?.dataset.refreshMs;
    if (every) this.main.dataset.refreshMs = every; else delete this.main.dataset.refreshMs;
    this.page.title = fresh.title;
    for (const part of this.page.querySelectorAll("[data-live]")) {
      const next = fresh.getElementById(part.id);
      // Somebody types or is about to press here: keep it until the next round.
      if (!next || part.contains(this.page.activeElement) || this.told.get(part) === next.innerHTML) continue;
      this.told.set(part, next.innerHTML);
      const wereOpen = Array.from(part.querySelectorAll("details"), (it) => it.open);
      part.replaceChildren(...Array.from(next.childNodes, (node) => this.page.importNode(node, true)));
      // A reader opened them.
      part.querySelectorAll("details").forEach((it, place) => { it.open ||= wereOpen[place] ?? false; });
    }
    this.page.dispatchEvent(new Event("slipway:refreshed"));
  }
}
