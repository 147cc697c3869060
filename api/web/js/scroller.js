// A list of any length of which only the rows in sight are in the page. Browsers end an element's height at about 16.7
// million pixels, so a long list gets a shorter scrollbar: small moves go by pixels, large ones by shares of the list.
// What is in sight is held by a row and the pixels of it that are above the edge; heights are only known where they are.

const MOST_PX = 8_000_000;
const BESIDE = 12;
const SETTLE_MS = 120;

/** @typedef {{ count: () => number, key: (row: number) => string, make: (row: number, old?: HTMLElement) => HTMLElement,
 *   moved: (byReader: boolean) => void }} Source */

export class Scroller {
  /** @param {HTMLElement} box @param {Source} source */
  constructor(box, source) {
    this.box = box;
    this.source = source;
    const page = box.ownerDocument;
    this.sizer = page.createElement("div");
    this.sizer.className = "log-size";
    this.layer = page.createElement("div");
    this.layer.className = "log-rows";
    this.sizer.append(this.layer);
    box.append(this.sizer);
    this.row = 0;
    this.px = 0;
    this.rowPx = 20;
    this.top = 0;
    this.atEnd = false;
    /** @type {Map<string, HTMLElement>} */
    this.shown = new Map();
    /** Rows that hold a selection stay in the page. @type {Set<string>} */
    this.pinned = new Set();
    this.settling = 0;
    this.drawing = 0;
    box.addEventListener("scroll", () => this.scrolled(), { passive: true });
    new ResizeObserver(() => this.draw()).observe(box);
  }

  get height() { return this.box.clientHeight; }

  /** Pixels that the scrollbar stands for. */
  get full() { return Math.min(MOST_PX, Math.max(this.height, this.source.count() * this.rowPx)); }

  get isScaled() { return this.source.count() * this.rowPx > MOST_PX; }

  scrolled() {
    const top = this.box.scrollTop;
    const moved = top - this.top;
    this.top = top;
    if (moved === 0) return;
    const most = this.box.scrollHeight - this.height;
    this.atEnd = false;
    if (top <= 0) {
      [this.row, this.px] = [0, 0];
    } else if (top >= most - 1) {
      this.atEnd = true;
    } else if (Math.abs(moved) < 3 * this.height) {
      this.px += moved;
      this.normalise();
    } else {
      const count = this.source.count();
      const place = top / Math.max(1, most) * Math.max(0, count - this.height / this.rowPx);
      this.row = Math.min(count - 1, Math.floor(place));
      this.px = (place - Math.floor(place)) * this.rowPx;
    }
    this.render();
    this.source.moved(true);
    clearTimeout(this.settling);
    this.settling = setTimeout(() => this.settle(), SETTLE_MS);
  }

  /** @param {number} row */
  heightOf(row) {
    return this.shown.get(this.source.key(row))?.offsetHeight || this.rowPx;
  }

  normalise() {
    const last = this.source.count() - 1;
    while (this.px < 0 && this.row > 0) this.px += this.heightOf(--this.row);
    if (this.px < 0) this.px = 0;
    while (this.row < last && this.px >= this.heightOf(this.row)) this.px -= this.heightOf(this.row++);
  }

  /** The scrollbar goes where the rows are. */
  settle() {
    const most = this.box.scrollHeight - this.height;
    const rest = Math.max(1, this.source.count() - this.height / this.rowPx);
    const wanted = this.atEnd ? most : Math.min(most, (this.row + this.px / this.rowPx) / rest * most);
    if (Math.abs(wanted - this.box.scrollTop) > 2) this.box.scrollTop = wanted;
    this.top = this.box.scrollTop;
    this.place();
  }

  draw() {
    if (this.drawing) return;
    this.drawing = requestAnimationFrame(() => { this.drawing = 0; this.render(); this.settle(); });
  }

  /** Shows a row, with so many pixels above it. @param {number} row @param {number} above */
  show(row, above = 0) {
    this.atEnd = false;
    [this.row, this.px] = [Math.max(0, Math.min(row, this.source.count() - 1)), -above];
    this.render();
    this.normalise();
    this.render();
    this.settle();
    this.source.moved(false);
  }

  toEnd() {
    this.atEnd = true;
    this.render();
    this.settle();
    this.source.moved(false);
  }

  render() {
    const count = this.source.count();
    const size = `${this.full}px`;
    if (this.sizer.style.height !== size) this.sizer.style.height = size;
    const inSight = Math.ceil(this.height / this.rowPx);
    if (this.atEnd) [this.row, this.px] = [Math.max(0, count - inSight), 0];
    this.row = Math.max(0, Math.min(this.row, count - 1));
    const first = Math.max(0, this.row - BESIDE);
    const last = Math.min(count, this.row + inSight + BESIDE + 1);
    /** @type {Map<string, HTMLElement>} */
    const next = new Map();
    let before = null;
    for (let row = last - 1; row >= first; row--) {
      const key = this.source.key(row);
      const old = this.shown.get(key);
      const element = this.source.make(row, old);
      element.classList.remove("pinned");
      next.set(key, element);
      if (element !== old || element.nextElementSibling !== before) this.layer.insertBefore(element, before);
      if (old && old !== element) old.remove();
      before = element;
    }
    for (const [key, element] of this.shown) {
      if (next.has(key)) continue;
      if (this.pinned.has(key)) {
        element.classList.add("pinned");
        next.set(key, element);
      } else {
        element.remove();
      }
    }
    this.shown = next;
    const some = this.layer.querySelector(".row");
    // Wrapped rows are higher; what one line takes is known from the style.
    if (some && !this.box.classList.contains("wrap")) this.rowPx = some.getBoundingClientRect().height || this.rowPx;
    // A short log needs no box of full height.
    const whole = first === 0 && last === count ? `${this.layer.offsetHeight + 2}px` : "";
    if (this.box.style.height !== whole) this.box.style.height = whole;
    if (this.atEnd) this.alignEnd();
    else this.bound();
    this.place();
  }

  /** The last row ends where the box ends. */
  alignEnd() {
    const below = this.layer.offsetHeight - this.offsetOf(this.row);
    this.px = Math.max(0, below - this.height);
    while (this.px > 0 && this.row < this.source.count() - 1 && this.px >= this.heightOf(this.row)) {
      this.px -= this.heightOf(this.row++);
    }
  }

  /** Nothing is shown below the last row, unless all of them have room. */
  bound() {
    if (this.row + Math.ceil(this.height / this.rowPx) + BESIDE < this.source.count()) return;
    const below = this.layer.offsetHeight - this.offsetOf(this.row) - this.px;
    if (below >= this.height) return;
    this.px -= this.height - below;
    this.normalise();
  }

  /** @param {number} row */
  offsetOf(row) {
    return this.shown.get(this.source.key(row))?.offsetTop ?? 0;
  }

  place() {
    if (this.source.count() === 0) return;
    this.layer.style.top = `${this.box.scrollTop - this.px - this.offsetOf(this.row)}px`;
  }
}
