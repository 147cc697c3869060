// What the server tells of a log: asked once, and again whenever it rings because there is more.

const RETRY_MS = 2_000;
/** A log that grows is looked at so often at most; less often where the server takes long to answer. */
const LOOK_MS = 100;
const LOOK_MOST_MS = 2_000;
/** It is waited so many times as long as an answer took. */
const LOOK_SHARE = 8;
/** Its groups so often. */
const GROUPS_MS = 1_000;

/**
 * @typedef {{ step: number, lines: number, first_at: string }} Count
 * What came by itself: lines behind all that there were, numbered from 1.
 * @typedef {{ epoch: number, from?: number, to: number, lines?: import("./lines.js").Line[] }} News
 * @typedef {{ epoch: number, newest: number, state: string, lines: number, end: number, steps: Count[], marks: number,
 *   groups?: { step: number, groups: import("./folds.js").Group[] }[] }} Told
 */

export class Feed {
  /**
   * @param {Document} page @param {string} url the log's address
   * @param {{ told: (told: Told, lines?: import("./lines.js").Line[]) => void, lost: (status: number) => void, broke: () => void }} hears
   */
  constructor(page, url, hears) {
    this.page = page;
    this.url = url;
    this.hears = hears;
    /** The only attempt that is asked for; empty is the newest. */
    this.attempt = "";
    this.epoch = 0;
    this.end = 0;
    this.state = "none";
    /** @type {Told|null} */
    this.last = null;
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
    const { attempt } = this;
    const now = performance.now();
    try {
      const asks = this.lacksGroups && now - this.askedAt >= GROUPS_MS;
      if (asks) this.askedAt = now;
      const query = new URLSearchParams({ ...(asks && { groups: "1" }), ...(attempt && { epoch: attempt }) }).toString();
      const answer = await fetch(`${this.url}/outline${query && `?${query}`}`);
      status = answer.status;
      if (!answer.ok) throw new Error(`status ${status}`);
      const told = await answer.json();
      if (attempt === this.attempt) {
        this.take(told);
        if (this.state === "live" || this.state === "none") this.listen(); else this.hush();
      } else {
        // Another attempt was chosen meanwhile.
        this.isAwaited = true;
      }
    } catch {
      this.hears.lost(status);
      this.retry = setTimeout(() => void this.look(), RETRY_MS);
    }
    setTimeout(() => {
      this.isLooking = false;
      if (this.isAwaited) void this.look();
    }, Math.min(LOOK_MOST_MS, Math.max(LOOK_MS, LOOK_SHARE * (performance.now() - now))));
  }

  /** @param {Told} told */
  take(told) {
    const { last } = this;
    // What came by itself is newer than this answer; a log that is over may have less than was seen.
    if (last && told.epoch === this.epoch && told.end < this.end && told.state === "live") {
      told = { ...told, lines: last.lines, steps: last.steps, end: last.end };
    }
    if (told.groups || told.epoch !== this.epoch) this.marks = told.groups ? told.marks ?? 0 : -1;
    this.lacksGroups = (told.marks ?? 0) > Math.max(0, this.marks);
    this.isAwaited ||= this.lacksGroups;
    this.tell(told);
  }

  /** @param {Told} told @param {import("./lines.js").Line[]} [lines] */
  tell(told, lines) {
    this.hears.told(told, lines);
    [this.epoch, this.end, this.state] = [told.epoch, told.end, told.state];
    this.last = { ...told, groups: undefined };
  }

  /** What rings: lines that are just the next ones are taken as they are. @param {News} news */
  rung(news) {
    const { last } = this;
    if (news.epoch === this.epoch && news.to <= this.end) return;
    if (!last || !news.lines || news.epoch !== this.epoch || news.from !== this.end || this.state !== "live") return void this.look();
    const steps = last.steps.map((count) => ({ ...count }));
    const lines = news.lines.map((line) => {
      let count = steps.find((known) => known.step === line.step);
      if (!count) steps.push(count = { step: line.step, lines: 0, first_at: line.at });
      count.lines += 1;
      return { ...line, line: last.lines + line.line, step_line: count.lines };
    });
    this.tell({ ...last, steps, lines: last.lines + lines.length, end: news.to }, lines);
  }

  listen() {
    if (this.events || this.page.hidden) return;
    const ended = this.ended;
    this.ended = false;
    if (ended) return void (this.retry = setTimeout(() => void this.look(), RETRY_MS));
    const events = this.events = new EventSource(`${this.url}/stream?bell=1&after=${this.epoch}:${this.end}${this.attempt && `&epoch=${this.attempt}`}`);
    const look = () => void this.look();
    const changed = () => { this.hush(); this.page.dispatchEvent(new Event("slipway:changed")); look(); };
    events.addEventListener("message", (event) => this.rung(JSON.parse(event.data)));
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
