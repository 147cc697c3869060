// What a reader chose, kept in this browser where it lets us.

/** @param {string} name @param {string} fallback */
export function kept(name, fallback) {
  try { return localStorage.getItem(`slipway.log.${name}`) ?? fallback; } catch { return fallback; }
}

/** @param {string} name @param {string} value */
export function keep(name, value) {
  try { localStorage.setItem(`slipway.log.${name}`, value); } catch { /* private windows may refuse */ }
}
