// Tests the portal in a real browser, against a real emulator and real devices.
//
//     node tests/portal/run.mjs --hubward target/debug/hubward [--only TEXT] [--list]
//
// Installs the pinned packages, unless an earlier run has installed them. Then runs each scenario with its own emulator
// and its own browser profile. Exits with 0 only if every scenario passes.
//
// To work on the page, set PORTAL_FILES=FOLDER. The browser then loads the files of the page from this folder, and not
// from the program.

import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { accessSync, constants, copyFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

import { launch } from "./harness/browser.mjs";
import { Scene } from "./harness/scene.mjs";
import * as accessibility from "./scenarios/accessibility.mjs";
import * as certificates from "./scenarios/certificates.mjs";
import * as deviceActions from "./scenarios/device_actions.mjs";
import * as enrolling from "./scenarios/enrolling.mjs";
import * as faults from "./scenarios/faults.mjs";
import * as overview from "./scenarios/overview.mjs";
import * as plotting from "./scenarios/plotting.mjs";
import * as querying from "./scenarios/querying.mjs";
import * as reconnecting from "./scenarios/reconnecting.mjs";
import * as watching from "./scenarios/watching.mjs";

/** Time limit of a scenario in milliseconds, for a slow machine. No scenario sleeps. */
const LIMIT = 120_000;

const here = dirname(fileURLToPath(import.meta.url));
const options = parse(process.argv.slice(2));
const all = [enrolling, certificates, overview, watching, plotting, deviceActions, querying, faults, accessibility, reconnecting].flatMap((it) => it.scenarios);
const chosen = all.filter((it) => !options.only || it.name.includes(options.only));

if (options.list) {
  for (const it of chosen) console.log(it.name);
  process.exit(0);
}
if (chosen.length === 0) fail(`no scenario has ${options.only} in its name`);
install(options.work);

const browser = await launch(options.work);
console.log(`portal: Chromium ${browser.version()} against ${options.hubward}`);
const results = [];
for (const scenario of chosen) {
  const begun = performance.now();
  const problem = await attempt(scenario);
  const took = `${((performance.now() - begun) / 1000).toFixed(1)} s`;
  results.push({ scenario, problem });
  console.log(`${problem ? "FAILED" : "ok    "}  ${scenario.name}  (${took})`);
  if (problem) console.log(problem.stack.replace(/^/gm, "        "));
}
await browser.close();
const failed = results.filter((it) => it.problem);
console.log(`${results.length - failed.length} passed, ${failed.length} failed`);
process.exit(failed.length === 0 ? 0 : 1);

/** Runs one scenario. Returns the error, or null. */
async function attempt(scenario) {
  const scene = new Scene(browser, options);
  let limit;
  const late = new Promise((_, reject) => {
    limit = setTimeout(() => reject(new Error(`still running after ${LIMIT / 1000} s`)), LIMIT);
  });
  try {
    await Promise.race([scene.begin(scenario).then(() => scenario.run(scene)), late]);
    scene.check();
    return null;
  } catch (error) {
    await scene.photograph(join(options.work, "failed", `${scenario.name.replace(/\W+/g, "-")}.png`));
    if (scene.problems.length > 0) error.stack += `\nproblems of the page: ${scene.problems.join("\n")}`;
    return error;
  } finally {
    clearTimeout(limit);
    await scene.end();
  }
}

/** Installs the pinned packages, unless a stamp file says that they are installed. */
function install(work) {
  const files = ["package.json", "package-lock.json", ".npmrc"];
  const digest = createHash("sha256").update(process.version);
  for (const file of files) digest.update(readFileSync(join(here, file)));
  const stamp = digest.digest("hex");
  try {
    if (readFileSync(join(work, "stamp"), "utf8") === stamp) return;
  } catch { /* The stamp file does not exist yet. */ }
  console.log("portal: installing playwright-core and axe-core");
  rmSync(join(work, "node_modules"), { recursive: true, force: true });
  mkdirSync(work, { recursive: true });
  for (const file of files) copyFileSync(join(here, file), join(work, file));
  const npm = spawnSync("npm", ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"], {
    cwd: work, encoding: "utf8", shell: process.platform === "win32",
  });
  if (npm.status !== 0) fail(`npm ci failed:\n${npm.stdout ?? ""}${npm.stderr ?? npm.error}`);
  writeFileSync(join(work, "stamp"), stamp);
}

function parse(words) {
  const read = { only: null, list: false, hubward: null, work: null };
  while (words.length > 0) {
    const word = words.shift();
    if (word === "--list") read.list = true;
    else if (["--only", "--hubward", "--work"].includes(word) && words.length > 0) read[word.slice(2)] = words.shift();
    else fail("usage: run.mjs --hubward PROGRAM [--work FOLDER] [--only TEXT] [--list]");
  }
  const root = resolve(here, "../..");
  read.work = resolve(read.work ?? join(process.env.CARGO_TARGET_DIR ?? join(root, "target"), "portal"));
  if (!read.list) {
    if (!read.hubward) fail("--hubward is needed");
    read.hubward = resolve(read.hubward);
    try {
      accessSync(read.hubward, constants.X_OK);
    } catch {
      fail(`${read.hubward} is not a program`);
    }
  }
  return read;
}

function fail(why) {
  console.error(`portal: ${why}`);
  process.exit(2);
}
