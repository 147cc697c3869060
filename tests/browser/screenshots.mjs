// Pictures of the main pages in both themes and both languages, on a desk and on a phone, in the folder that is named.

import { mkdirSync } from "node:fs";
import path from "node:path";

import { keptBy, launch, readerOf, showsLog } from "./lib/browser.mjs";
import { PAGES, site, visit } from "./lib/site.mjs";

const LOCALES = ["en", "zh-CN"];
const WIDTHS = [1280, 360];
const HEIGHT = 900;

const folder = path.resolve(process.argv[2] ?? "screenshots");
mkdirSync(folder, { recursive: true });
const browser = await launch();
try {
  const kept = await keptBy(browser);
  for (const [name, which] of Object.entries(PAGES)) {
    const storageState = kept[readerOf(which)];
    for (const [locale, width] of LOCALES.flatMap((locale) => WIDTHS.map((width) => [locale, width]))) {
      const viewport = { width, height: HEIGHT };
      const context = await browser.newContext({ baseURL: site.url, storageState, viewport, locale, reducedMotion: "reduce" });
      const page = await context.newPage();
      await visit(page, which);
      if (which.log) await showsLog(page);
      for (const colorScheme of ["light", "dark"]) {
        await page.emulateMedia({ colorScheme });
        await page.screenshot({ path: path.join(folder, `${name}-${locale}-${colorScheme}-${width}.png`), fullPage: true });
      }
      await context.close();
    }
  }
} finally {
  await browser.close();
}
console.log(`the pictures are in ${folder}`);
