// Enrollments: the quickstart, the lines to copy, groups, and deleting.

import { spawn, spawnSync } from "node:child_process";
import { dirname } from "node:path";

import { check, equal } from "../harness/scene.mjs";

const MASK = "••••••••";

export const scenarios = [
  {
    name: "the empty page is the quickstart: it shows the lines to paste and turns green by itself",
    async run(scene) {
      const { page, emulator } = scene;
      await scene.open();
      await page.getByText("Local, not Azure.").waitFor();
      equal(new URL(page.url()).hash, "#/quickstart");
      await page.getByRole("button", { name: "Create dev-1" }).click();
      await page.getByText("Waiting for dev-1 to register…").waitFor();
      const shown = await page.getByRole("tabpanel").innerText();
      check(shown.includes(`PROVISIONING_SYMMETRIC_KEY='${MASK}`), `the key is masked: ${shown}`);
      await page.getByRole("tab", { name: "bash" }).click();
      await page.getByRole("button", { name: "Copy", exact: true }).click();
      await page.getByText("Copied the lines for bash").waitFor();
      const lines = await scene.clipboard();
      check(!lines.includes("•"), "the copied lines contain the key");

      // Runs the copied lines in a shell, as a user does.
      const done = await shell(scene, `${lines}\nhubward provision --transport mqtt --messages 10`);
      equal(done.status, 0, done.stderr);
      await page.getByText("dev-1 is registered at localhost.").waitFor();
      check(await page.locator(".progress").evaluate((it) => it.classList.contains("green")), "the progress is green");
      equal(await page.locator("ol.steps > li.done").count(), 3);

      await page.getByRole("link", { name: "See dev-1" }).click();
      await page.getByText("Connection string").waitFor();
      const identity = await emulator.hub("GET", "/devices/dev-1");
      equal(identity.status, "enabled");
      await page.locator("dl.facts").getByText("Enabled").waitFor();

      await page.getByRole("button", { name: "Delete device…" }).click();
      await confirm(page, "dev-1", "Delete");
      await page.getByText("No device has registered yet.").waitFor();
      await page.goto(`${emulator.url}/#/enrollments/dev-1`);
      await page.getByRole("button", { name: "Delete…" }).click();
      await confirm(page, "dev-1", "Delete");
      await page.getByText("dev-1 is deleted").waitFor();
      equal((await emulator.request("GET", "/api/status")).dps.enrollments, 0);
      equal((await emulator.request("GET", "/api/status")).dps.registrations, 0);
      equal((await emulator.request("GET", "/api/status")).hubs[0].devices, 0);
    },
  },
  {
    name: "the page shows the reason of a refusal, and the right key registers",
    async run(scene) {
      const { page, emulator } = scene;
      await scene.open();
      await page.getByRole("button", { name: "Create dev-1" }).click();
      await page.getByRole("button", { name: "Copy", exact: true }).click();
      await page.getByText("Copied the lines").waitFor();
      const lines = await scene.clipboard();
      const wrong = lines.replace(/(SYMMETRIC_KEY=')[^']+/, `$1${Buffer.alloc(32, 1).toString("base64")}`);
      const refused = await shell(scene, `${wrong}\nhubward provision`);
      equal(refused.status, 5, refused.stderr);
      await page.getByText(/^dev-1 refused: .*signature.*, 401002$/).waitFor();
      await page.getByText("Waiting for dev-1 to register…").waitFor();
      // The user opens the page later. It still shows the refusal.
      const later = await scene.newPage();
      await scene.open("", later);
      await later.getByText(/^dev-1 refused: /).waitFor();
      equal((await shell(scene, `${lines}\nhubward provision`)).status, 0);
      await page.getByText("dev-1 is registered at localhost.").waitFor();
      await page.getByText(/^dev-1 refused/).waitFor({ state: "detached" });
      await later.getByText("dev-1 is registered at localhost.").waitFor();
      equal((await emulator.hub("GET", "/devices/dev-1")).deviceId, "dev-1");
    },
  },
  {
    name: "an emulator that has created dev-1 shows the lines for it at once",
    emulator: [],
    async run(scene) {
      await scene.open();
      await scene.page.getByText("Waiting for dev-1 to register…").waitFor();
      await scene.page.getByText("dev-1 is enrolled already").waitFor();
      await scene.page.getByRole("button", { name: "Copy", exact: true }).waitFor();
    },
  },
  {
    name: "the lines of every language set the same variables",
    async run(scene) {
      const { page, emulator } = scene;
      const expected = await emulator.enroll("it-1");
      const four = Object.entries(expected).filter(([name]) => name.startsWith("PROVISIONING_"));
      await scene.open("#/enrollments/it-1");
      const copied = {};
      for (const language of ["bash", "PowerShell", "cmd", "Python", "Node", "Rust"]) {
        await page.getByRole("tab", { name: language }).click();
        await page.getByRole("button", { name: "Copy", exact: true }).click();
        await page.getByText(`Copied the lines for ${language}`).waitFor();
        copied[language] = await scene.clipboard();
        for (const [name, value] of four) check(copied[language].includes(name) && copied[language].includes(value), `${language} has ${name}`);
        const noted = await page.getByText("Microsoft's SDKs cannot use this emulator: their ports are always 8883 and 443, not").count();
        equal(noted, language === "Rust" ? 0 : 1, `${language}: a note about the ports`);
      }
      const show = four.map(([name]) => name);
      const bash = spawnSync("bash", ["-c", `${copied.bash}\n${[...Object.keys(expected)].map((it) => `printf '%s\\n' "$${it}"`).join("\n")}`], { encoding: "utf8" });
      equal(bash.stdout.trim().split("\n"), Object.values(expected));
      const python = spawnSync("python3", ["-c", `${copied.Python}\nfor it in ${JSON.stringify([...show, "SSL_CERT_FILE"])}: print(os.environ[it])`], { encoding: "utf8" });
      equal(python.stdout.trim().split("\n"), [...four.map(([, value]) => value), expected.HUBWARD_CA_FILE], python.stderr);
      const node = spawnSync(process.execPath, ["-e", `${copied.Node}\nfor (const it of ${JSON.stringify(show)}) console.log(process.env[it]);`], { encoding: "utf8" });
      equal(node.stdout.trim().split("\n"), four.map(([, value]) => value), node.stderr);
      check(copied.PowerShell.includes(`$env:PROVISIONING_HOST = 'localhost'`), copied.PowerShell);
      check(copied.cmd.includes(`set "PROVISIONING_HOST=localhost"`), copied.cmd);
      check(copied.Rust.includes(`("PROVISIONING_HOST", "localhost"),`), copied.Rust);

      const panel = page.getByRole("tabpanel");
      const key = expected.PROVISIONING_SYMMETRIC_KEY;
      check(!(await page.locator("body").innerText()).includes(key), "the page does not show the key");
      await page.getByRole("button", { name: "Reveal key" }).click();
      await panel.getByText(key).waitFor();
      await page.getByRole("button", { name: "Hide key" }).click();
      check(!(await panel.innerText()).includes(key), "the page masks the key again");
    },
  },
  {
    name: "the dialog creates an enrollment with an initial twin, which the device receives",
    async run(scene) {
      const { page, emulator } = scene;
      await scene.open("#/enrollments");
      await page.getByRole("button", { name: "New enrollment…" }).click();
      const dialog = page.getByRole("dialog", { name: "New enrollment" });
      await dialog.getByLabel("Registration id").fill("pump-7");
      await dialog.getByText("Hubs, twin, policies").click();
      await dialog.getByLabel("Device id").fill("pump-seven");
      const twin = dialog.getByLabel("Initial twin");
      await twin.fill('{\n  "tags": { "site": "a" },\n  "properties" { }\n}');
      await dialog.getByText(/a colon is missing before “\{”, line 3, column 16/).waitFor();
      await dialog.getByRole("button", { name: "Create" }).click();
      equal((await emulator.request("GET", "/api/status")).dps.enrollments, 0, "the page sends no invalid twin");
      await twin.fill('{ "tags": { "site": "a" }, "properties": { "desired": { "interval": 30 } } }');
      await dialog.getByRole("button", { name: "Create" }).click();
      await dialog.getByText("is created, with generated keys.").waitFor();
      await dialog.getByRole("button", { name: "Copy", exact: true }).click();
      await page.getByText("Copied the lines").waitFor();
      equal((await shell(scene, `${await scene.clipboard()}\nhubward provision`)).status, 0);
      await dialog.getByRole("button", { name: "Done" }).click();
      await page.getByRole("link", { name: "pump-7" }).click();
      await page.getByRole("link", { name: "localhost / pump-seven" }).click();
      await page.getByRole("heading", { name: "pump-seven" }).waitFor();
      const made = await emulator.hub("GET", "/twins/pump-seven");
      equal([made.tags, made.properties.desired.interval], [{ site: "a" }, 30]);

      // If the user creates the same enrollment again, the dialog shows an error.
      scene.expected.push(/409.*pump-7/);
      await page.goto(`${emulator.url}/#/enrollments`);
      await page.getByRole("button", { name: "New enrollment…" }).click();
      await dialog.getByLabel("Registration id").fill("pump-7");
      await dialog.getByRole("button", { name: "Create" }).click();
      await dialog.getByRole("alert").getByText("pump-7 already exists.").waitFor();
    },
  },
  {
    name: "the lines of a group contain the derived key of a device, which registers with it",
    async run(scene) {
      const { page, emulator } = scene;
      await scene.open("#/enrollments");
      await page.getByRole("button", { name: "New enrollment…" }).click();
      const dialog = page.getByRole("dialog", { name: "New enrollment" });
      await dialog.getByLabel("Many devices").check();
      await dialog.getByLabel("Name of the group").fill("line-7");
      await dialog.getByRole("button", { name: "Create" }).click();
      await dialog.getByLabel("Registration id of the device").fill("robot-12");
      await dialog.getByText("PROVISIONING_REGISTRATION_ID='robot-12'").waitFor();
      await dialog.getByRole("button", { name: "Copy", exact: true }).click();
      await page.getByText("with the key of robot-12").waitFor();
      const done = await shell(scene, `${await scene.clipboard()}\nhubward provision`);
      equal(done.status, 0, done.stderr);
      await dialog.getByRole("button", { name: "Show enrollment" }).click();
      await page.getByRole("link", { name: /robot-12/ }).waitFor();
      equal(new URL(page.url()).hash, "#/enrollments/groups/line-7");
      equal((await emulator.hub("GET", "/devices/robot-12")).deviceId, "robot-12");
    },
  },
  {
    name: "deletion requires the name, and a disabled enrollment refuses its device",
    async run(scene) {
      const { page, emulator } = scene;
      const variables = await emulator.enroll("dev-9");
      await scene.open("#/enrollments/dev-9");
      await page.getByRole("button", { name: "Disable" }).click();
      await page.getByText("disabled: DPS refuses its devices").waitFor();
      check((await emulator.device(["provision"], variables)).code !== 0, "DPS refuses the device");
      await page.getByRole("button", { name: "Enable" }).click();
      await page.getByRole("button", { name: "Disable" }).waitFor();

      await page.getByRole("button", { name: "Delete…" }).click();
      const dialog = page.getByRole("dialog", { name: "Delete dev-9" });
      const button = dialog.getByRole("button", { name: "Delete", exact: true });
      for (const typed of ["", "dev-", "DEV-9", "dev-99"]) {
        await dialog.getByRole("textbox").fill(typed);
        check(await button.isDisabled(), `“${typed}” is not the name`);
      }
      await dialog.getByRole("textbox").press("Enter");
      await page.keyboard.press("Escape");
      await dialog.waitFor({ state: "detached" });
      equal((await emulator.dps("GET", "/enrollments/dev-9")).registrationId, "dev-9");
      await page.getByRole("button", { name: "Delete…" }).click();
      await confirm(page, "dev-9", "Delete");
      await page.getByText("No enrollment yet").or(page.getByText("dev-9 is deleted")).first().waitFor();
      equal((await emulator.request("GET", "/api/status")).dps.enrollments, 0);
    },
  },
  {
    name: "Create dev-1 is also offered after a plain start",
    emulator: [],
    async run(scene) {
      const { page, emulator } = scene;
      await scene.open();
      await page.getByText("dev-1 is enrolled already").waitFor();
      await page.getByRole("button", { name: "Create dev-1" }).click();
      await page.getByText("An individual enrollment with generated keys.").waitFor();
      check(!(await page.getByRole("button", { name: "Create dev-1" }).isVisible()), "the step is done");
      await page.getByText("Waiting for dev-1 to register…").waitFor();
      // The lines have the name and the key of the enrollment that the start made.
      await page.getByRole("button", { name: "Copy", exact: true }).click();
      await page.getByText("Copied the lines").waitFor();
      const { symmetricKey } = await emulator.dps("POST", "/enrollments/dev-1/attestationmechanism");
      const copied = await scene.clipboard();
      check(copied.includes(`PROVISIONING_SYMMETRIC_KEY='${symmetricKey.primaryKey}'`), "the key is that of the enrollment");
      // The name of DPS is the one that `hubward emulator env` prints, on every page.
      const env = await emulator.device(["emulator", "env", "--shell", "sh", "--data-dir", `${emulator.folder}/data`]);
      const [, host] = /PROVISIONING_HOST='([^']+)'/.exec(env.out) ?? [];
      check(copied.includes(`PROVISIONING_HOST='${host}'`), `${host} in ${copied}`);
      await page.reload();
      await page.getByText("An individual enrollment with generated keys.").waitFor();
      await page.goto(`${emulator.url}/#/connect`);
      const shown = page.locator("dt", { hasText: /^DPS$/ }).locator("+ dd").locator("code").first();
      equal(await shown.innerText(), host);
      // In another window the button is offered again, until the device registers.
      const other = await scene.newPage();
      await scene.open("#/quickstart", other);
      await other.getByRole("button", { name: "Create dev-1" }).waitFor();
      equal((await emulator.device(["provision"], { ...emulator.variables("dev-1", symmetricKey.primaryKey) })).code, 0);
      await other.getByText("dev-1 is registered at localhost.").waitFor();
    },
  },
];

/** Confirms a deletion by typing the name. */
export async function confirm(page, name, verb) {
  const dialog = page.getByRole("dialog");
  await dialog.getByRole("textbox").fill(name);
  await dialog.getByRole("button", { name: verb, exact: true }).click();
  await dialog.waitFor({ state: "detached" });
}

/** Runs lines in bash, with `hubward` on the PATH. */
async function shell(scene, lines) {
  const child = spawn("bash", ["-c", lines], {
    env: { PATH: `${dirname(scene.hubward)}:${process.env.PATH}`, HOME: scene.emulator.folder },
    cwd: scene.emulator.folder,
  });
  const output = { stdout: "", stderr: "" };
  for (const name of ["stdout", "stderr"]) child[name].on("data", (data) => { output[name] += data; });
  const status = await new Promise((resolve) => child.on("close", resolve));
  return { status, ...output };
}
