// Buttons that copy a text next to them. Without scripts the text can still be selected.

import { t } from "./texts.js";

/** @param {Document} page */
export function startCopyButtons(page) {
  if (!navigator.clipboard) return;
  addButtons(page);
  page.addEventListener("slipway:refreshed", () => addButtons(page));
}

/** @param {Document} page */
function addButtons(page) {
  for (const code of page.querySelectorAll("[data-copy]")) {
    if (code.nextElementSibling instanceof HTMLButtonElement) continue;
    const button = page.createElement("button");
    button.type = "button";
    button.className = "small";
    button.textContent = t("js-copy");
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(code.textContent ?? "");
      button.textContent = t("js-copied");
      setTimeout(() => { button.textContent = t("js-copy"); }, 2000);
    });
    code.after(button);
  }
}
