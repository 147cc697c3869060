// Which keys a log has, who gets them, and the help that tells them.

const KEYS = [
  ["j / k", "next or previous step"], ["Enter", "open or close the step on top"], ["n / p", "next or previous error"],
  ["/", "search; Enter and Shift+Enter for the next and the previous place"], ["g / G", "first or last line"],
  ["f", "follow the end"], ["s", "steps or all lines"], ["w", "wrap long lines"],
  ["t", "times: off, clock, since the start, since the line before"], ["?", "this help"],
];

/** True if a key may be meant for a log, and nobody types. @param {KeyboardEvent} event */
export function isFree(event) {
  const isTaken = event.target instanceof Element && event.target.closest("input, select, textarea, dialog");
  return !isTaken && !event.ctrlKey && !event.metaKey && !event.altKey && !event.defaultPrevented;
}

/** Of several logs in a page one gets the keys: where the focus is, or else the first that is in sight. @param {Element} part */
export function isMeant(part) {
  const page = part.ownerDocument;
  const sections = [...page.querySelectorAll("[data-log]")].map((log) => log.closest("section") ?? log);
  const meant = sections.find((section) => section.contains(page.activeElement))
    ?? sections.find((section) => section.getBoundingClientRect().bottom > 0) ?? sections[0];
  return meant?.contains(part) ?? false;
}

/** @param {Document} page */
export function showHelp(page) {
  if (page.querySelector("dialog.help")) return;
  const make = (/** @type {string} */ name, /** @type {string} */ text) => {
    const element = page.createElement(name);
    element.textContent = text;
    return element;
  };
  const dialog = page.createElement("dialog");
  dialog.className = "help";
  const list = page.createElement("dl");
  list.className = "facts";
  for (const [key, what] of KEYS) {
    const term = page.createElement("dt");
    term.append(make("kbd", key));
    list.append(term, make("dd", what));
  }
  const title = make("h2", "Keys");
  title.id = "keys-title";
  dialog.setAttribute("aria-labelledby", title.id);
  const close = make("button", "Close");
  close.addEventListener("click", () => dialog.close());
  dialog.addEventListener("close", () => dialog.remove());
  dialog.append(title, list, close);
  page.body.append(dialog);
  dialog.showModal();
}
