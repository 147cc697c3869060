// What slipway-browser-site has set up, and the pages that are looked at.

if (!process.env.SLIPWAY_SITE) {
  throw new Error("SLIPWAY_SITE is not set; run tests/scripts/browser.sh, which starts a Slipway to look at");
}

export const site = JSON.parse(process.env.SLIPWAY_SITE);

const { builds, projects } = site;

/** The main pages by name: where each is, words that it must show, and if it has a log. */
export const PAGES = {
  home: { path: "/", shows: ["acme/harbour", "acme/quay"] },
  project: { path: `/projects/${projects.harbour}`, shows: ["acme/harbour", "Build the harbour", "Webhook"] },
  "build-succeeded": { path: `/builds/${builds.succeeded}`, shows: ["Build the harbour", "Succeeded", "RUN make check"], log: true },
  "build-failed": { path: `/builds/${builds.failed}`, shows: ["Rig it", "Failed", "RUN make rig", "Last lines"], log: true },
  "build-running": { path: `/builds/${builds.running}`, shows: ["Dredge it", "Running", "RUN make dredge"], log: true },
  "build-queued": { path: `/builds/${builds.queued}`, shows: ["Wait for the tide"] },
  "build-long": { path: `/builds/${builds.long}`, shows: ["Tell everything", "Succeeded"], log: true },
  queues: { path: "/queues", shows: ["Queued", "Running"] },
  builders: { path: "/builders", shows: ["Pool", "Drain"] },
  deliveries: { path: "/deliveries", shows: ["push", "ping", "acme/harbour"] },
  login: { path: "/login", shows: ["API token"], stranger: true },
};
