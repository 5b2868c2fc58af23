// Starts Debian's Chromium, without background network traffic.

import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

/** Starts the browser; `modules` is the folder that contains node_modules. */
export async function launch(modules) {
  const { chromium } = createRequire(join(modules, "package.json"))("playwright-core");
  const executablePath = process.env.CHROMIUM ?? ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find(existsSync);
  if (!executablePath) throw new Error("Chromium is not installed: run apt-get install chromium, or set CHROMIUM to its path");
  return chromium.launch({
    executablePath,
    headless: true,
    args: [
      "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
      "--disable-component-update", "--disable-sync",
    ],
  });
}
