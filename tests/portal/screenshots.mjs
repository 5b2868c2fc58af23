// Takes screenshots of the portal in two widths and two colour schemes.
//
//     node tests/portal/screenshots.mjs HUBWARD MODULES FOLDER [NAME]
//
// MODULES is the folder in which run.mjs installs the packages: `portal` in the target directory.

import { mkdirSync } from "node:fs";
import { join } from "node:path";

import { launch } from "./harness/browser.mjs";
import { Emulator } from "./harness/emulator.mjs";
import { fromDisk } from "./harness/scene.mjs";

const [binary, modules, folder, only] = process.argv.slice(2);
mkdirSync(folder, { recursive: true });

const browser = await launch(modules);
const emulator = await Emulator.start(binary);
const WIDTHS = [[1400, 860], [400, 780]];

async function take(name, path, prepare) {
  if (only && !name.includes(only)) return;
  for (const [width, height] of WIDTHS) {
    for (const colorScheme of ["light", "dark"]) {
      const context = await browser.newContext({ viewport: { width, height }, colorScheme });
      const page = await context.newPage();
      page.setDefaultTimeout(60_000);
      page.on("pageerror", (error) => console.log(name, "page error:", error.stack));
      page.on("console", (message) => message.type() === "error" && console.log(name, message.text()));
      if (process.env.PORTAL_FILES) await fromDisk(page, process.env.PORTAL_FILES);
      await page.goto(`${emulator.url}/#/${path}`);
      try {
        await page.locator("#connection").getByText("live").waitFor();
        await prepare?.(page);
      } catch (error) {
        console.log(name, width, colorScheme, error.message);
      }
      await page.screenshot({ path: join(folder, `${name}-${width}-${colorScheme}.png`) });
      await context.close();
    }
  }
}

await take("1-empty", "", (page) => page.getByRole("button", { name: "Create dev-1" }).waitFor());
await take("2-dialog", "enrollments", async (page) => {
  await page.getByRole("button", { name: "New enrollment…" }).click();
  await page.getByLabel("Registration id").fill("pump-7");
  await page.getByText("Hubs, twin, policies").click();
});
const variables = await emulator.enroll("dev-1");
await take("3-waiting", "quickstart", async (page) => {
  await page.getByText("Waiting for dev-1").waitFor();
  await page.getByRole("button", { name: "Create dev-1" }).click();
});
await emulator.device(["provision"], { ...variables, PROVISIONING_SYMMETRIC_KEY: Buffer.alloc(32, 7).toString("base64") });
await take("4-refused", "quickstart", (page) => page.getByText("dev-1 refused").waitFor());
await emulator.device(["provision", "--messages", "10"], variables);
for (const [id, body] of [["pump-1", '{"pressure":2.41,"unit":"bar"}'], ["pump-2", '{"pressure":1.08}'], ["boiler-hall-3.north", "plain"]]) {
  const other = await emulator.enroll(id);
  await emulator.device(["device", "send", body, "--property", "line=7"], other).then((it) => it.code && console.log(it));
}
const device = emulator.begin(["device", "run", "--interval", "200ms", "--method", "ping=200"], variables);
await device.line((it) => it.event === "acknowledged" || it.event === "sent" || JSON.stringify(it).includes("message")).catch(console.log);
await take("5-green", "quickstart", (page) => page.getByText("is registered at").waitFor());
await take("6-device", "devices/localhost/dev-1", (page) => page.getByText("Connection string").waitFor());
await take("7-telemetry", "telemetry", async (page) => {
  await page.locator(".messages button.row").nth(2).click();
});
await take("8-device-telemetry", "devices/localhost/dev-1/telemetry", async (page) => {
  await page.locator(".messages button.row").nth(1).waitFor();
  await page.getByRole("button", { name: "Pause" }).click();
  await page.locator(".messages button.row").nth(1).click();
});
await emulator.hub("PATCH", "/twins/dev-1", { tags: { site: "a" }, properties: { desired: { interval: 30, led: { on: true } } } });
await take("9-twin", "devices/localhost/dev-1/twin", async (page) => {
  await page.getByLabel("Desired properties as JSON").fill('{\n  "interval": 30,\n  "led": { "on": true,, }\n}');
});
await take("a-act", "devices/localhost/dev-1/act", async (page) => {
  await page.getByRole("button", { name: "Invoke" }).click();
  await page.getByText("answered 200").waitFor();
});
await take("b-faults", "faults", async (page) => {
  await page.getByRole("button", { name: "Telemetry: connection closes" }).click();
  await page.getByRole("button", { name: "Add fault" }).click();
  await page.getByText("A fault happened").first().waitFor();
});
await take("c-activity", "activity", (page) => page.locator(".events button.row").nth(1).click());
await take("d-connect", "connect", (page) => page.getByText("iothubowner").first().waitFor());
await take("e-enrollment", "enrollments/dev-1", (page) => page.getByText("Lines to paste").waitFor());
await take("f-delete", "enrollments/dev-1", (page) => page.getByRole("button", { name: "Delete…" }).click());
await device.stop();
await take("g-query", "query", async (page) => {
  await page.getByRole("button", { name: "all devices" }).click();
  await page.locator("tbody tr").first().waitFor();
});
await take("h-unknown", "nonsense", (page) => page.getByText("This address has no page").waitFor());
for (const id of ["sim-1", "sim-2"]) await emulator.request("POST", "/api/simulated", { registrationId: id });
const points = (name, number) => (page) => page.waitForFunction(([wanted, most]) => {
  const figure = [...document.querySelectorAll("figure")].find((it) => it.innerText.startsWith(wanted));
  return (figure?.querySelector("path.curve")?.getAttribute("d").match(/[ML]/g).length ?? 0) >= most;
}, [name, number], { timeout: 120_000 });
await take("i-overview", "overview", points("temperature", 45));
await take("j-plot", "devices/localhost/sim-1/telemetry", points("temperature", 60));
await browser.close();
await emulator.stop();
process.exit(0);
