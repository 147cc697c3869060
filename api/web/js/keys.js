// Which keys a log has, who gets them, and the help that tells them.

import { t } from "./texts.js";

const IS_MAC = /^(Mac|iP)/.test(navigator.platform);
const KEYS = [
  ["j / k", t("js-keys-steps")], ["Enter", t("js-keys-open")], ["n / p", t("js-keys-errors")], ["/", t("js-keys-search")],
  [IS_MAC ? "⌘F" : "Ctrl+F", t("js-keys-find")],
  ["g / G", t("js-keys-ends")], ["f", t("js-keys-follow")], ["s", t("js-keys-view")], ["w", t("js-keys-wrap")],
  ["t", t("js-keys-times")], ["c", t("js-keys-copy")], ["l", t("js-keys-link")], ["?", t("js-keys-help")],
];

/** True if a key may be meant for a log, and nobody types. @param {KeyboardEvent} event */
export function isFree(event) {
  const isTaken = event.target instanceof Element && event.target.closest("input, select, textarea, dialog");
  return !isTaken && !event.ctrlKey && !event.metaKey && !event.altKey && !event.defaultPrevented;
}

/** True for the key that browsers look through a page with. @param {KeyboardEvent} event */
export function isFind(event) {
  const isPressed = IS_MAC ? event.metaKey && !event.ctrlKey : event.ctrlKey && !event.metaKey;
  const isTaken = event.defaultPrevented || event.target instanceof Element && event.target.closest("dialog");
  return isPressed && !isTaken && !event.altKey && !event.shiftKey && event.key.toLowerCase() === "f";
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
  const title = make("h2", t("js-keys"));
  title.id = "keys-title";
  dialog.setAttribute("aria-labelledby", title.id);
  const close = make("button", t("js-keys-close"));
  close.addEventListener("click", () => dialog.close());
  dialog.addEventListener("close", () => dialog.remove());
  dialog.append(title, list, close);
  page.body.append(dialog);
  dialog.showModal();
}
