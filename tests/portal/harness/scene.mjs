// One scenario's world: an emulator, a browser profile, and whatever the page has complained about.

import { mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";

import { Emulator } from "./emulator.mjs";

export class Scene {
  #browser;
  #options;

  constructor(browser, options) {
    this.#browser = browser;
    this.#options = options;
    this.problems = [];
    /** Refused requests that a scenario means to cause; what is not there is always asked for. */
    this.expected = [/404 \(Not Found\).*\/(dps|hubs)\//];
  }

  get hubward() {
    return this.#options.hubward;
  }

  async begin({ width = 1400, height = 900, colorScheme = "light", reducedMotion = "no-preference", emulator = ["--dev-keys"] }) {
    this.emulator = await Emulator.start(this.#options.hubward, emulator);
    this.context = await this.#browser.newContext({ viewport: { width, height }, colorScheme, reducedMotion });
    this.context.setDefaultTimeout(30_000);
    await this.context.grantPermissions(["clipboard-read", "clipboard-write"], { origin: this.emulator.url });
    this.page = await this.newPage();
  }

  /** A window; what it should not do is a problem. */
  async newPage() {
    const page = await this.context.newPage();
    page.on("pageerror", (error) => this.problems.push(error.stack));
    page.on("console", (message) => {
      const text = `${message.text()} ${message.location().url}`;
      if (message.type() === "error" && !this.expected.some((it) => it.test(text))) this.problems.push(text);
    });
    if (process.env.PORTAL_FILES) await fromDisk(page, process.env.PORTAL_FILES);
    page.on("dialog", (dialog) => {
      this.problems.push(`a script has run: ${dialog.message()}`);
      dialog.dismiss().catch(() => {});
    });
    page.on("request", (request) => {
      if (!request.url().startsWith(`${this.emulator.url}/`)) this.problems.push(`it asks elsewhere: ${request.url()}`);
    });
    return page;
  }

  /** Opens an address of the page, and waits until it is live. */
  async open(address = "", page = this.page) {
    await page.goto(`${this.emulator.url}/${address}`);
    await page.locator("#connection").getByText("live").waitFor();
  }

  clipboard() {
    return this.page.evaluate(() => navigator.clipboard.readText());
  }

  /** Waits until what the page computes is so. */
  until(computed, argument) {
    return this.page.waitForFunction(computed, argument);
  }

  /** What axe finds that is serious. */
  async axe() {
    const require = createRequire(join(this.#options.work, "package.json"));
    this.axeSource ??= readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
    await this.page.evaluate(this.axeSource);
    const { violations } = await this.page.evaluate(() => globalThis.axe.run(document, { resultTypes: ["violations"] }));
    return violations
      .filter((it) => ["serious", "critical"].includes(it.impact))
      .map((it) => `${it.id}: ${it.help}\n  ${it.nodes.map((node) => `${node.target} ${node.failureSummary}`).join("\n  ")}`);
  }

  /** Fails if the page has complained. */
  check() {
    if (this.problems.length > 0) throw new Error("the page has complained");
  }

  async photograph(path) {
    mkdirSync(dirname(path), { recursive: true });
    // Where nothing has begun there is nothing to see.
    await this.page?.screenshot({ path }).catch(() => {});
  }

  async end() {
    await this.context?.close();
    await this.emulator?.stop();
  }
}

/** The page's files from a folder; all else, also their headers, from the emulator. */
export async function fromDisk(page, folder) {
  const ours = (url) => url.pathname === "/" || url.pathname.startsWith("/portal/");
  await page.route(ours, async (route) => {
    const name = new URL(route.request().url()).pathname.replace(/^\/(portal\/)?/, "") || "index.html";
    await route.fulfill({ response: await route.fetch(), body: readFileSync(join(folder, name)) });
  });
}

/** Compares, and says what differs. */
export function equal(actual, expected, what = "") {
  const [one, other] = [JSON.stringify(actual), JSON.stringify(expected)];
  if (one !== other) throw new Error(`${what ? `${what}: ` : ""}${one} is not ${other}`);
}

export function check(condition, what) {
  if (!condition) throw new Error(what);
}
