// Buttons that copy a text next to them. Without scripts the text can still be selected.

/** @param {Document} page */
export function startCopyButtons(page) {
  if (!navigator.clipboard) return;
  for (const code of page.querySelectorAll("[data-copy]")) {
    const button = page.createElement("button");
    button.type = "button";
    button.className = "small";
    button.textContent = "Copy";
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(code.textContent ?? "");
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = "Copy"; }, 2000);
    });
    code.after(button);
  }
}
