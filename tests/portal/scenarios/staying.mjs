// The emulator goes away and comes back; the page says so and goes on.

import { equal } from "../harness/scene.mjs";
import { confirm } from "./enrolling.mjs";

const quiet = /ERR_CONNECTION|ERR_INCOMPLETE|ERR_EMPTY|Failed to load/;

export const scenarios = [
  {
    name: "an emulator that is lost is said to be, and found again when it is started anew",
    async run(scene) {
      const { page, emulator } = scene;
      scene.expected.push(quiet);
      await emulator.hub("PUT", "/devices/first", { deviceId: "first", authentication: { type: "sas" }, status: "enabled" });
      await scene.open("#/devices");
      await page.getByRole("link", { name: /first/ }).waitFor();
      const before = (await emulator.ask("GET", "/api/status")).started;
      await emulator.kill();
      await page.locator("#connection").getByText("emulator lost").waitFor();
      await page.getByRole("alert").getByText("The connection to the emulator is lost").waitFor();
      await emulator.restart();
      await page.getByText("The emulator was started anew.").waitFor();
      await page.locator("#connection").getByText("live").waitFor();
      const after = (await emulator.ask("GET", "/api/status")).started;
      equal(before === after, false);
      // What happens from now on is seen.
      await emulator.hub("PUT", "/devices/second", { deviceId: "second", authentication: { type: "sas" }, status: "enabled" });
      await page.getByRole("link", { name: /second/ }).waitFor();
    },
  },
  {
    name: "a reset asks for its name, throws all away, and the page notices",
    async run(scene) {
      const { page, emulator } = scene;
      await emulator.hub("PUT", "/devices/old", { deviceId: "old", authentication: { type: "sas" }, status: "enabled" });
      await scene.open("#/devices");
      await page.getByRole("link", { name: /old/ }).waitFor();
      const other = await scene.newPage();
      await scene.open("#/connect", other);
      await other.getByRole("button", { name: "Reset…" }).click();
      await confirm(other, "reset", "Throw all away");
      await page.bringToFront();
      await page.getByText("All state was thrown away.").waitFor();
      await page.getByRole("link", { name: /old/ }).waitFor({ state: "detached" });
    },
  },
];
