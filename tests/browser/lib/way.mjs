// A way from the browser to the site that can be cut, as a network is.

import net from "node:net";

import { site } from "./site.mjs";

/** Its address as `url`; `cut` breaks what is connected and refuses what comes, until `mend`. Closed with the test. */
export async function wayToSite(t) {
  const { hostname, port } = new URL(site.url);
  const open = new Set();
  let isCut = false;
  const server = net.createServer((near) => {
    const far = net.connect(Number(port), hostname);
    for (const end of [near, far]) {
      open.add(end);
      end.on("error", () => {});
      end.on("close", () => {
        open.delete(end);
        near.destroy();
        far.destroy();
      });
    }
    if (isCut) near.destroy();
    near.pipe(far).pipe(near);
  });
  const cut = () => {
    isCut = true;
    for (const end of open) end.destroy();
  };
  t.after(() => {
    cut();
    server.close();
  });
  await new Promise((listens) => { server.listen(0, hostname, () => listens()); });
  return { url: `http://${hostname}:${server.address().port}`, cut, mend: () => { isCut = false; } };
}
