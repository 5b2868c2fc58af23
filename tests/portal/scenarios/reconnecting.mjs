// Tests a page that is hidden, and a page whose emulator stops and restarts. The page must recover.

import { equal } from "../harness/scene.mjs";
import { confirm } from "./enrolling.mjs";

const quiet = /ERR_CONNECTION|ERR_INCOMPLETE|ERR_EMPTY|Failed to load/;

const identity = (deviceId) => ({ deviceId, authentication: { type: "sas" }, status: "enabled" });

/** Simulates that the window is hidden or shown again. */
const hide = (page, hidden) =>
  page.evaluate((now) => {
    Object.defineProperty(document, "hidden", { configurable: true, get: () => now });
    document.dispatchEvent(new Event("visibilitychange"));
  }, hidden);

export const scenarios = [
  {
    name: "a page that is shown again includes the changes of the time when it was hidden",
    async run(scene) {
      const { page, emulator } = scene;
      await scene.open();
      await page.getByRole("button", { name: "Create dev-1" }).waitFor();
      const [devices, enrollments] = [await scene.newPage(), await scene.newPage()];
      await scene.open("#/devices", devices);
      await devices.getByText("No device has registered yet.").first().waitFor();
      await scene.open("#/enrollments", enrollments);
      const all = [page, devices, enrollments];
      for (const it of all) await hide(it, true);

      const variables = await emulator.enroll("dev-1");
      for (const it of all) await hide(it, false);
      await page.getByText("Waiting for dev-1 to register…").waitFor();
      await enrollments.getByRole("link", { name: /dev-1/ }).waitFor();

      for (const it of all) await hide(it, true);
      equal((await emulator.device(["provision"], variables)).code, 0);
      for (const it of all) await hide(it, false);
      await page.getByText("dev-1 is registered at localhost.").waitFor();
      await devices.getByRole("link", { name: /dev-1/ }).waitFor();

      for (const it of all) await hide(it, true);
      await emulator.request("POST", "/api/reset");
      for (const it of all) await hide(it, false);
      await page.getByRole("button", { name: "Create dev-1" }).waitFor();
      await devices.getByRole("link", { name: /dev-1/ }).waitFor({ state: "detached" });
      await enrollments.getByRole("link", { name: /dev-1/ }).waitFor({ state: "detached" });
    },
  },
  {
    name: "a page that missed more events than the emulator keeps shows the current state",
    async run(scene) {
      const { page, emulator } = scene;
      await scene.open("#/devices");
      await page.getByText("No device has registered yet.").first().waitFor();
      await hide(page, true);
      await emulator.hub("PUT", "/devices/a-first", identity("a-first"));
      // The emulator keeps the latest 2,500 events of each kind. So it discards the oldest updates, but keeps the event
      // for the creation of the device.
      const many = Array.from({ length: 100 }, (_, at) => ({ id: `d${at}`, importMode: "createOrUpdate", status: "enabled" }));
      for (let round = 0; round < 27; round += 1) await emulator.hub("POST", "/devices", many);
      await hide(page, false);
      await page.getByText("The page missed some events.").waitFor();
      await page.getByRole("link", { name: /a-first/ }).waitFor();
      await page.getByText("100 of 101 devices").waitFor();
    },
  },
  {
    name: "the page shows that the emulator is lost, and reconnects after a restart",
    async run(scene) {
      const { page, emulator } = scene;
      scene.expected.push(quiet);
      await emulator.hub("PUT", "/devices/first", identity("first"));
      await scene.open("#/devices");
      await page.getByRole("link", { name: /first/ }).waitFor();
      const before = (await emulator.request("GET", "/api/status")).started;
      await emulator.kill();
      await page.locator("#connection").getByText("emulator lost").waitFor();
      await page.getByRole("alert").getByText("The connection to the emulator is lost").waitFor();
      await emulator.restart();
      await page.getByText("The emulator was restarted.").waitFor();
      await page.locator("#connection").getByText("live").waitFor();
      const after = (await emulator.request("GET", "/api/status")).started;
      equal(before === after, false);
      // The page shows new events.
      await emulator.hub("PUT", "/devices/second", identity("second"));
      await page.getByRole("link", { name: /second/ }).waitFor();
    },
  },
  {
    name: "a reset requires its name and deletes all state, and other pages notice it",
    async run(scene) {
      const { page, emulator } = scene;
      await emulator.hub("PUT", "/devices/old", identity("old"));
      await scene.open("#/devices");
      await page.getByRole("link", { name: /old/ }).waitFor();
      const other = await scene.newPage();
      await scene.open("#/connect", other);
      await other.getByRole("button", { name: "Reset…" }).click();
      await confirm(other, "reset", "Delete everything");
      await page.bringToFront();
      await page.getByText("All state was deleted.").waitFor();
      await page.getByRole("link", { name: /old/ }).waitFor({ state: "detached" });
    },
  },
];
