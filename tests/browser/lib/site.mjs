// What slipway-browser-site has set up, and the pages that are looked at.

if (!process.env.SLIPWAY_SITE) {
  throw new Error("SLIPWAY_SITE is not set; run tests/scripts/browser.sh, which starts a Slipway to look at");
}

export const site = JSON.parse(process.env.SLIPWAY_SITE);

const { builds, projects } = site;

/**
 * The pages by name: where each is, words that it must show, and if it has a log. `link` leads on from there to the page
 * that is meant; `stranger` is not signed in, and `newcomer` has nothing yet. A `status` is another one than 200.
 */
export const PAGES = {
  home: { path: "/", shows: ["acme/harbour", "acme/quay"] },
  project: { path: `/projects/${projects.harbour}`, shows: ["acme/harbour", "Build the harbour", "Webhook"] },
  "build-succeeded": { path: `/builds/${builds.succeeded}`, shows: ["Build the harbour", "Succeeded", "RUN make check"], log: true },
  "build-failed": { path: `/builds/${builds.failed}`, shows: ["Rig it", "Failed", "RUN make rig", "Last lines"], log: true },
  "build-running": { path: `/builds/${builds.running}`, shows: ["Dredge it", "Running", "RUN make dredge"], log: true },
  "build-queued": { path: `/builds/${builds.queued}`, shows: ["Wait for the tide"] },
  "build-warned": { path: `/builds/${builds.warned}`, shows: ["docker/Dockerfile:14", "6 warnings", "left out"], log: true },
  "build-long": { path: `/builds/${builds.long}`, shows: ["Tell everything", "Succeeded"], log: true },
  queues: { path: "/queues", shows: ["Queued", "Running"] },
  builders: { path: "/builders", shows: ["Pool", "Drain"] },
  deliveries: { path: "/deliveries", shows: ["push", "ping", "acme/harbour"] },
  delivery: { path: `/deliveries?project=${projects.harbour}`, link: "td a[href^='/deliveries/']", shows: ["acme/harbour"] },
  "github-apps": { path: "/github-apps", shows: ["GitHub"] },
  "first-run": { path: "/", shows: ["No project yet"], newcomer: true },
  missing: { path: "/projects/018f0000-0000-7000-8000-000000000000", shows: ["Not Found"], status: 404 },
  login: { path: "/login", shows: ["API token"], stranger: true },
};

/** Goes to a page of those; the answer to the path. */
export async function visit(page, { path, link }) {
  const answer = await page.goto(path);
  if (link) {
    await page.locator(link).first().click();
    await page.waitForURL((url) => url.href !== answer.url());
  }
  return answer;
}
