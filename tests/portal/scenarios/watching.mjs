// Live views of devices and telemetry.

import { readFileSync } from "node:fs";

import { check, equal } from "../harness/scene.mjs";

export const scenarios = [
  {
    name: "the page updates a device's state: registered, connected, not connected, disabled",
    async run(scene) {
      const { page, emulator } = scene;
      const variables = await emulator.enroll("dev-1");
      await scene.open("#/devices");
      await page.getByText("No device has registered yet.").waitFor();
      const device = emulator.begin(["device", "run"], variables);
      const row = page.getByRole("link", { name: /dev-1/ });
      await row.getByText("connected", { exact: true }).waitFor();
      await row.click();
      await page.getByRole("heading", { name: "dev-1" }).waitFor();
      await page.getByRole("button", { name: "Disable" }).click();
      await page.getByText("no: the hub refuses it").waitFor();
      await row.getByText("disabled").waitFor();
      equal((await emulator.hub("GET", "/devices/dev-1")).status, "disabled");
      await page.getByRole("button", { name: "Enable" }).click();
      await row.getByText(/connected/).waitFor();
      await device.stop();
      await row.getByText("not connected").waitFor();
      check(!(await row.innerText()).includes("never"), "the page shows the last activity");
      // The page lists the device's events in order.
      await page.locator(".tab-body .events").getByText("The device connected to localhost", { exact: true }).first().waitFor();
    },
  },
  {
    name: "the page loads thousands of devices page by page, and the hub searches them",
    async run(scene) {
      const { page, emulator } = scene;
      const total = 1200;
      for (let at = 0; at < total; at += 100) {
        const ids = Array.from({ length: 100 }, (_, it) => `d-${String(at + it).padStart(4, "0")}`);
        await emulator.hub("POST", "/devices", ids.map((id) => ({ id, importMode: "create", status: "enabled", authentication: { type: "sas" } })));
      }
      await scene.open("#/devices");
      const rows = page.getByRole("list", { name: "Devices" }).getByRole("link");
      await page.getByText("100 of 1,200 devices").waitFor();
      equal(await rows.count(), 100);
      const shown = (number) => scene.until((wanted) => document.querySelectorAll("ul.devices a").length === wanted, number);
      for (const expected of [200, 300, 400, 500]) {
        await page.getByRole("button", { name: "Load more" }).click();
        await shown(expected);
      }
      // The page shows at most 500 devices at a time. "Next page" shows the devices that follow.
      await page.getByRole("button", { name: "Next page" }).click();
      await rows.first().getByText("d-0500").waitFor();
      equal(await rows.count(), 100);
      await page.getByRole("button", { name: "From the start" }).click();
      await rows.first().getByText("d-0000").waitFor();
      await page.keyboard.press("/");
      await page.keyboard.type("d-119");
      await shown(10);
      await page.keyboard.type("'");
      await page.getByText("No device matches the search.").waitFor();
    },
  },
  {
    name: "telemetry is shown, and can be paused, filtered, opened and exported",
    async run(scene) {
      const { page, emulator } = scene;
      const variables = await emulator.enroll("dev-1");
      const send = (...bodies) => emulator.device(["device", "send", ...bodies, "--property", "line=7"], variables).then((it) => equal(it.code, 0, it.err));
      await send("before");
      await scene.open("#/telemetry");
      const rows = page.getByRole("list", { name: "Messages, newest first" });
      await rows.getByText("before").waitFor();
      await send('{"speed":12.5}');
      await rows.getByText('{"speed":12.5}').click();
      const detail = page.locator("#detail");
      await detail.getByLabel("Body").getByText('"speed": 12.5').waitFor();
      await detail.getByText("line", { exact: true }).waitFor();
      await detail.getByText("iothub-connection-device-id").waitFor();

      await page.getByRole("button", { name: "Pause" }).click();
      await send("while paused");
      await page.getByText("paused, 1 new message").waitFor();
      equal(await rows.getByText("while paused").count(), 0);
      await page.getByRole("button", { name: "Resume" }).click();
      await rows.getByText("while paused").waitFor();
      equal(await rows.locator("li").first().innerText().then((it) => it.includes("while paused")), true, "the newest is first");

      await page.getByLabel("Filter messages").fill("SPEED");
      await scene.until(() => document.querySelectorAll(".messages > li").length === 1);
      await page.getByLabel("Filter messages").fill("");

      const [download] = await Promise.all([page.waitForEvent("download"), page.getByRole("link", { name: "Export JSON lines" }).click()]);
      const lines = readFileSync(await download.path(), "utf8").trim().split("\n").map((it) => JSON.parse(it));
      equal(lines.map((it) => it.body), ["before", '{"speed":12.5}', "while paused"]);
      check(download.suggestedFilename().endsWith(".jsonl"), download.suggestedFilename());

      // The page of a device shows only the telemetry of this device.
      await emulator.device(["device", "send", "of another"], await emulator.enroll("dev-2"));
      await page.goto(`${emulator.url}/#/devices/localhost/dev-2/telemetry`);
      await page.locator("#detail .messages button").first().click();
      await page.locator("#detail .message").getByLabel("Body").getByText("of another").waitFor();
      equal(await page.locator("#detail .messages > li").count(), 1);
    },
  },
  {
    name: "the page shows at most 500 messages",
    async run(scene) {
      const { page, emulator } = scene;
      const variables = await emulator.enroll("dev-1");
      await scene.open("#/telemetry");
      const done = await emulator.device(["provision", "--messages", "700"], variables);
      equal(done.code, 0, done.err);
      await page.getByText("500 messages shown of 700").waitFor();
      equal(await page.locator(".messages > li").count(), 500);
    },
  },
];
