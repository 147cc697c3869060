// A list of any length of which only the rows in sight are in the page. Browsers end an element's height at about 16.7
// million pixels, so a long list gets a shorter scrollbar: near both ends a pixel of it is a pixel of the list, between
// them it is a share of the list. What is in sight is held by a row and the pixels of it that are above the edge; heights
// are only known where rows are drawn. Wheel, fingers and keys move by pixels, the scrollbar moves by its place.

const MOST_PX = 8_000_000;
/** Heights of the box at both ends of a long list where the scrollbar is exact. */
const EDGE = 20;
/** Rows that are drawn above and below what is in sight. */
const BESIDE = 16;
const SETTLE_MS = 120;

/**
 * @typedef {{ count: () => number, key: (row: number) => string, rowOf: (key: string) => number,
 *   make: (row: number, old?: HTMLElement) => HTMLElement, drawn: (first: number, end: number) => void,
 *   moved: (byReader: boolean) => void }} Source
 */

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
    /** The least height of a row, and what rows are high on average. */
    this.rowPx = 20;
    this.meanPx = 20;
    this.top = 0;
    this.atEnd = false;
    /** Rows that are drawn: the first, and the one after the last. */
    this.first = 0;
    this.end = 0;
    /** Pixels of the whole list, without those that fit into the box. */
    this.span = 0;
    /** @type {Map<string, HTMLElement>} */
    this.shown = new Map();
    /** Rows that hold a selection stay in the page. @type {Set<string>} */
    this.pinned = new Set();
    this.byPixels = false;
    this.isPressed = false;
    this.settling = 0;
    this.drawing = 0;
    this.listen();
  }

  listen() {
    const passive = { passive: true };
    this.box.addEventListener("scroll", () => this.scrolled(), passive);
    this.box.addEventListener("wheel", (event) => this.reach(event.deltaY < 0), passive);
    this.box.addEventListener("touchmove", () => this.reach(false), passive);
    this.box.addEventListener("keydown", (event) => this.reach(event.key === "PageUp" || event.key === "ArrowUp"));
    this.box.addEventListener("pointerdown", (event) => {
      const edge = this.box.getBoundingClientRect().left + this.box.clientLeft + this.box.clientWidth;
      this.isPressed = event.pointerType === "mouse";
      this.byPixels = event.clientX < edge;
    });
    const released = () => { if (this.isPressed) { this.isPressed = false; this.rest(); } };
    addEventListener("pointerup", released);
    addEventListener("pointercancel", released);
    new ResizeObserver(() => this.draw()).observe(this.box);
  }

  get height() { return this.box.clientHeight; }

  get most() { return this.box.scrollHeight - this.box.clientHeight; }

  /** Somebody moves by pixels from now on. @param {boolean} up */
  reach(up) {
    this.byPixels = true;
    if (up && this.atEnd && this.box.scrollTop > 0) {
      this.atEnd = false;
      this.source.moved(true);
    }
    this.rest();
  }

  /** The scrollbar is set right when nobody moves it any more. */
  rest() {
    clearTimeout(this.settling);
    this.settling = setTimeout(() => {
      this.settling = 0;
      if (this.isPressed) return;
      this.byPixels = false;
      // A move that was not told yet counts.
      if (this.box.scrollTop !== this.top) this.scrolled();
      else this.settle();
    }, SETTLE_MS);
  }

  scrolled() {
    const top = this.box.scrollTop;
    const moved = top - this.top;
    this.top = top;
    if (moved === 0) return;
    const isAtEdge = top <= 0 || top >= this.most - 1;
    this.atEnd = false;
    if (this.byPixels && Math.abs(moved) < 3 * this.height) {
      this.px += moved;
      this.render();
      this.atEnd = moved > 0 && this.distances().below < 1;
      // The scrollbar ends where the list goes on, or the other way round.
      if (isAtEdge) this.settle();
    } else {
      this.atEnd = top > 0 && top >= this.most - 1;
      if (!this.atEnd) this.goToShare(top);
      this.render();
    }
    this.source.moved(true);
    this.rest();
  }

  /** Where the scrollbar's place lies in the list. @param {number} top */
  goToShare(top) {
    const most = Math.max(1, this.most);
    const edge = Math.min(EDGE * this.height, most / 4);
    const span = Math.max(this.span, most);
    let above = span * top / most;
    if (span > MOST_PX) {
      if (top <= edge) above = top;
      else if (most - top <= edge) above = span - (most - top);
      else above = edge + (top - edge) / (most - 2 * edge) * (span - 2 * edge);
    }
    const count = this.source.count();
    const place = above < span / 2 ? above / this.meanPx : count - (span - above + this.height) / this.meanPx;
    this.row = Math.max(0, Math.min(count - 1, Math.floor(place)));
    this.px = Math.max(0, place - this.row) * this.meanPx;
  }

  /** Pixels of the list above and below what is in sight; exact where its ends are drawn. */
  distances() {
    const count = this.source.count();
    const here = this.offsetOf(this.row) + this.px;
    const above = this.first === 0 ? here : this.row * this.meanPx + this.px;
    const below = this.end === count ? this.layer.getBoundingClientRect().height - here - this.height
      : (count - this.row) * this.meanPx - this.px - this.height;
    return { above: Math.max(0, above), below: Math.max(0, below) };
  }

  /** The scrollbar goes where the rows are. */
  settle() {
    const { above, below } = this.distances();
    this.span = above + below;
    const most = Math.min(MOST_PX, this.span);
    const edge = Math.min(EDGE * this.height, most / 4);
    const size = `${most + this.height}px`;
    if (this.sizer.style.height !== size) this.sizer.style.height = size;
    let wanted = above;
    if (this.atEnd) wanted = most;
    else if (this.span > MOST_PX && below <= edge) wanted = most - below;
    else if (this.span > MOST_PX && above > edge) wanted = edge + (above - edge) / (this.span - 2 * edge) * (most - 2 * edge);
    if (Math.abs(wanted - this.box.scrollTop) >= 1) this.box.scrollTop = wanted;
    this.top = this.box.scrollTop;
    this.place();
  }

  draw() {
    if (this.drawing) return;
    this.drawing = requestAnimationFrame(() => {
      this.drawing = 0;
      // What the reader did first counts.
      if (this.box.scrollTop !== this.top) this.scrolled();
      this.render();
      if (this.atEnd || !this.settling && !this.isPressed) this.settle();
    });
  }

  /** Draws all rows anew, because all look different. */
  redraw() {
    this.shown.forEach((element) => element.remove());
    this.shown.clear();
    this.meanPx = this.rowPx;
    this.render();
    this.settle();
  }

  /** Rows come or go; what is in sight stays. @param {() => void} change */
  keep(change) {
    const key = this.source.key(this.row);
    change();
    if (this.atEnd) return;
    const row = this.source.rowOf(key);
    if (row >= 0) this.row = row;
  }

  /** Shows a row, with so many pixels above it. @param {number} row @param {number} above */
  show(row, above = 0) {
    this.atEnd = false;
    [this.row, this.px] = [Math.max(0, Math.min(row, this.source.count() - 1)), -above];
    this.render();
    this.settle();
    this.source.moved(false);
  }

  /** Shows a row at a share of the box's height, which may only now become what it is. @param {number} row @param {number} share */
  showAt(row, share) {
    this.show(row);
    this.show(row, this.height * share);
  }

  toEnd() {
    this.atEnd = true;
    this.render();
    this.settle();
    this.source.moved(false);
  }

  render() {
    const count = this.source.count();
    if (this.atEnd) [this.row, this.px] = [Math.max(0, count - this.inSight), 0];
    this.row = Math.max(0, Math.min(this.row, count - 1));
    this.drawRows();
    this.measure();
    // A short log needs no box of full height.
    const around = this.box.offsetHeight - this.box.clientHeight;
    const isWhole = this.first === 0 && this.end === count;
    const whole = isWhole ? `${Math.ceil(this.layer.getBoundingClientRect().height) + around}px` : "";
    if (this.box.style.height !== whole) this.box.style.height = whole;
    if (this.atEnd) this.alignEnd();
    this.normalise();
    this.bound();
    this.place();
    this.source.drawn(this.first, this.end);
  }

  get inSight() { return Math.ceil(this.height / this.rowPx); }

  /** Puts the rows around the first one in sight into the page, and takes away the others. The rows of the page are always
   * in their order and none is moved: that would end a selection or lose the focus. */
  drawRows() {
    const count = this.source.count();
    this.first = Math.max(0, this.row - BESIDE);
    this.end = Math.min(count, this.row + this.inSight + BESIDE + 1);
    /** @type {{ row: number, key: string, element: HTMLElement }[]} */
    const next = [];
    for (let row = this.first; row < this.end; row++) {
      const key = this.source.key(row);
      const element = this.source.make(row, this.shown.get(key));
      element.classList.remove("pinned");
      next.push({ row, key, element });
    }
    const stay = new Map(next.map(({ key, element }) => [key, element]));
    for (const [key, element] of this.shown) {
      if (stay.has(key)) continue;
      const row = this.pinned.has(key) ? this.source.rowOf(key) : -1;
      if (row >= 0) {
        element.classList.add("pinned");
        next.push({ row, key, element });
      } else {
        if (element.contains(this.box.ownerDocument.activeElement)) this.box.focus({ preventScroll: true });
        element.remove();
      }
    }
    next.sort((one, other) => one.row - other.row);
    let at = this.layer.firstElementChild;
    for (const { element } of next) {
      if (element === at) at = at.nextElementSibling;
      else this.layer.insertBefore(element, at);
    }
    this.shown = new Map(next.map(({ key, element }) => [key, element]));
  }

  measure() {
    const rows = this.end - this.first;
    if (rows === 0) return;
    const some = this.layer.querySelector(".row:not(.pinned)");
    // Wrapped rows are higher; what one line takes is known from the style.
    if (some) this.rowPx = parseFloat(getComputedStyle(some).minHeight) || this.rowPx;
    const mean = this.layer.getBoundingClientRect().height / rows;
    const wraps = this.box.classList.contains("wrap");
    this.meanPx = wraps ? Math.max(this.rowPx, this.meanPx * 0.95 + mean * 0.05) : this.rowPx;
  }

  /** @param {number} row */
  heightOf(row) {
    if (row < this.first || row >= this.end) this.drawRows();
    return this.shown.get(this.source.key(row))?.getBoundingClientRect().height || this.rowPx;
  }

  /** @param {number} row */
  offsetOf(row) {
    const element = this.shown.get(this.source.key(row));
    return element ? element.getBoundingClientRect().top - this.layer.getBoundingClientRect().top : 0;
  }

  /** The row in sight is the one at the edge. */
  normalise() {
    const last = this.source.count() - 1;
    const before = this.row;
    while (this.px < 0 && this.row > 0) {
      this.row -= 1;
      this.px += this.heightOf(this.row);
    }
    if (this.px < 0) this.px = 0;
    for (let height; this.row < last && this.px >= (height = this.heightOf(this.row));) {
      this.px -= height;
      this.row += 1;
    }
    if (this.row !== before) this.drawRows();
  }

  /** The last row ends where the box ends. */
  alignEnd() {
    this.px = Math.max(0, this.layer.getBoundingClientRect().height - this.offsetOf(this.row) - this.height);
  }

  /** Nothing is shown below the last row, unless all of them have room. */
  bound() {
    if (this.end < this.source.count()) return;
    const below = this.layer.getBoundingClientRect().height - this.offsetOf(this.row) - this.px - this.height;
    if (below >= 0) return;
    this.px += below;
    this.normalise();
  }

  place() {
    if (this.source.count() === 0) return;
    this.layer.style.top = `${this.box.scrollTop - this.px - this.offsetOf(this.row)}px`;
  }
}
