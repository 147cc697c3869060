// What the server tells of a log: asked once, and again whenever it rings because there is more.

const RETRY_MS = 2_000;
/** A log that grows is looked at so often at most. */
const LOOK_MS = 200;
/** Its groups so often. */
const GROUPS_MS = 1_000;

/**
 * @typedef {{ step: number, lines: number, first_at: string }} Count
 * @typedef {{ epoch: number, newest: number, state: string, lines: number, end: number, steps: Count[], marks: number,
 *   groups?: { step: number, groups: import("./folds.js").Group[] }[] }} Told
 */

export class Feed {
  /**
   * @param {Document} page @param {string} url the log's address
   * @param {{ told: (told: Told) => void, lost: (status: number) => void, broke: () => void }} hears
   */
  constructor(page, url, hears) {
    this.page = page;
    this.url = url;
    this.hears = hears;
    this.epoch = 0;
    this.end = 0;
    this.state = "none";
    /** Marks of the groups that are known, and when they were asked for. */
    this.marks = -1;
    this.askedAt = -GROUPS_MS;
    this.lacksGroups = true;
    /** @type {EventSource|null} */
    this.events = null;
    this.isLooking = false;
    this.isAwaited = false;
    this.retry = 0;
    this.ended = false;
    page.addEventListener("visibilitychange", () => { if (page.hidden) this.hush(); else void this.look(); });
  }

  async look() {
    if (this.isLooking) { this.isAwaited = true; return; }
    this.isLooking = true;
    this.isAwaited = false;
    clearTimeout(this.retry);
    let status = 0;
    try {
      const now = performance.now();
      const asks = this.lacksGroups && now - this.askedAt >= GROUPS_MS;
      if (asks) this.askedAt = now;
      const answer = await fetch(`${this.url}/outline${asks ? "?groups=1" : ""}`);
      status = answer.status;
      if (!answer.ok) throw new Error(`status ${status}`);
      this.take(await answer.json());
      if (this.state === "live" || this.state === "none") this.listen(); else this.hush();
    } catch {
      this.hears.lost(status);
      this.retry = setTimeout(() => void this.look(), RETRY_MS);
    }
    setTimeout(() => {
      this.isLooking = false;
      if (this.isAwaited) void this.look();
    }, LOOK_MS);
  }

  /** @param {Told} told */
  take(told) {
    if (told.epoch === this.epoch && told.end < this.end) return;
    if (told.groups || told.epoch !== this.epoch) this.marks = told.groups ? told.marks ?? 0 : -1;
    this.lacksGroups = (told.marks ?? 0) > Math.max(0, this.marks);
    this.isAwaited ||= this.lacksGroups;
    this.hears.told(told);
    [this.epoch, this.end, this.state] = [told.epoch, told.end, told.state];
  }

  listen() {
    if (this.events || this.page.hidden) return;
    const ended = this.ended;
    this.ended = false;
    if (ended) return void (this.retry = setTimeout(() => void this.look(), RETRY_MS));
    const events = this.events = new EventSource(`${this.url}/stream?bell=1&after=${this.epoch}:${this.end}`);
    const look = () => void this.look();
    const changed = () => { this.hush(); this.page.dispatchEvent(new Event("slipway:changed")); look(); };
    events.addEventListener("message", look);
    // After a break: what came meanwhile, and what the status says.
    events.addEventListener("open", look);
    events.addEventListener("attempt", changed);
    // One that ended without its end may stay so for long.
    events.addEventListener("end", () => { this.ended = true; changed(); });
    events.addEventListener("error", () => {
      if (this.state === "live") this.hears.broke();
      if (events.readyState !== EventSource.CLOSED) return;
      this.hush();
      clearTimeout(this.retry);
      this.retry = setTimeout(look, RETRY_MS);
    });
  }

  hush() {
    this.events?.close();
    this.events = null;
  }
}
