// What one scenario uses: an emulator, a browser profile, and a list of the page's problems.

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
    /** Console errors that a scenario expects. The page always requests resources that may not exist. */
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

  /** Opens a window. Records errors, dialogs and requests to other hosts as problems. */
  async newPage() {
    const page = await this.context.newPage();
    page.on("pageerror", (error) => this.problems.push(error.stack));
    page.on("console", (message) => {
      const text = `${message.text()} ${message.location().url}`;
      if (message.type() === "error" && !this.expected.some((it) => it.test(text))) this.problems.push(text);
    });
    if (process.env.PORTAL_FILES) await fromDisk(page, process.env.PORTAL_FILES);
    page.on("dialog", (dialog) => {
      this.problems.push(`an injected script ran: ${dialog.message()}`);
      dialog.dismiss().catch(() => {});
    });
    page.on("request", (request) => {
      if (!request.url().startsWith(`${this.emulator.url}/`)) this.problems.push(`a request to another host: ${request.url()}`);
    });
    return page;
  }

  /** Opens an address of the page, and waits until the page is live. */
  async open(address = "", page = this.page) {
    await page.goto(`${this.emulator.url}/${address}`);
    await page.locator("#connection").getByText("live").waitFor();
  }

  clipboard() {
    return this.page.evaluate(() => navigator.clipboard.readText());
  }

  /** Waits until a function in the page returns true. */
  until(computed, argument) {
    return this.page.waitForFunction(computed, argument);
  }

  /** Returns the serious and critical violations that axe finds. */
  async axe() {
    const require = createRequire(join(this.#options.work, "package.json"));
    this.axeSource ??= readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
    await this.page.evaluate(this.axeSource);
    const { violations } = await this.page.evaluate(() => globalThis.axe.run(document, { resultTypes: ["violations"] }));
    return violations
      .filter((it) => ["serious", "critical"].includes(it.impact))
      .map((it) => `${it.id}: ${it.help}\n  ${it.nodes.map((node) => `${node.target} ${node.failureSummary}`).join("\n  ")}`);
  }

  /** Fails if the page has a problem. */
  check() {
    if (this.problems.length > 0) throw new Error("the page has problems");
  }

  async photograph(path) {
    mkdirSync(dirname(path), { recursive: true });
    // If the scenario failed before it opened the page, there is no page.
    await this.page?.screenshot({ path }).catch(() => {});
  }

  async end() {
    await this.context?.close();
    await this.emulator?.stop();
  }
}

/** Loads the page's files from a folder. Their headers and all other responses come from the emulator. */
export async function fromDisk(page, folder) {
  const ours = (url) => url.pathname === "/" || url.pathname.startsWith("/portal/");
  await page.route(ours, async (route) => {
    const name = new URL(route.request().url()).pathname.replace(/^\/(portal\/)?/, "") || "index.html";
    await route.fulfill({ response: await route.fetch(), body: readFileSync(join(folder, name)) });
  });
}

/** Throws an error that shows both values, if they differ. */
export function equal(actual, expected, what = "") {
  const [one, other] = [JSON.stringify(actual), JSON.stringify(expected)];
  if (one !== other) throw new Error(`${what ? `${what}: ` : ""}${one} is not ${other}`);
}

export function check(condition, what) {
  if (!condition) throw new Error(what);
}
