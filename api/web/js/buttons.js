// Small buttons that stand for what keys do too: a sign that is seen, and a name that is told.

/** @param {Document} page @param {string} sign @param {string} name @param {() => void} act */
export function pressed(page, sign, name, act) {
  const button = page.createElement("button");
  button.type = "button";
  button.className = "small";
  button.textContent = sign;
  button.title = name;
  button.setAttribute("aria-label", name);
  button.addEventListener("click", act);
  return button;
}
