// The overview: traffic over time, and simulated devices.

import { check, equal } from "../harness/scene.mjs";

const reading = (page, name) => page.locator("figure", { hasText: name }).locator(".reading");
const curve = (page, name) => page.locator("figure", { hasText: name }).locator("path.curve");

export const scenarios = [
  {
    name: "the overview shows messages and connections over time, also after a reload",
    async run(scene) {
      const { page, emulator } = scene;
      const variables = await emulator.enroll("dev-1");
      equal((await emulator.device(["provision", "--messages", "40"], variables)).code, 0);
      await scene.open("#/overview");
      // The emulator counted the messages before the page was open.
      const counted = () => scene.until(async () => {
        const traffic = await (await fetch("/api/traffic")).json();
        return traffic.messages.reduce((sum, it) => sum + it, 0) === 40 && Math.max(...traffic.connections) === 1;
      });
      await counted();
      const tile = page.locator(".tile", { hasText: "Messages received" });
      await tile.getByText("40", { exact: true }).waitFor();
      const high = (name) => scene.until((wanted) => {
        const figure = [...document.querySelectorAll("figure")].find((it) => it.innerText.includes(wanted));
        return Number(/between \S+ and (\S+) since/.exec(figure.querySelector("svg").getAttribute("aria-label"))?.[1] ?? 0) > 0;
      }, name);
      await high("Messages per second");
      await high("Open connections");
      await page.reload();
      await high("Messages per second");
      await high("Open connections");
      // The times of the axis are those of this machine.
      const device = emulator.begin(["device", "run"], variables);
      await page.locator(".tile", { hasText: "Devices connected" }).getByText("1 of 1").waitFor();
      await scene.until(() => document.querySelectorAll("figure")[1].querySelector(".reading").innerText === "1");
      await device.stop();
      await page.locator(".tile", { hasText: "Devices connected" }).getByText("0 of 1").waitFor();
      await page.getByRole("list", { name: "Latest events, newest first" }).getByText("dev-1 disconnected from localhost: the client sent DISCONNECT").first().waitFor();
    },
  },
  {
    name: "a simulated device runs, is shown live, answers a method, and stops",
    async run(scene) {
      const { page, emulator } = scene;
      await scene.open("#/overview");
      await page.getByRole("button", { name: "Run a simulated device" }).click();
      await page.getByText("sim-1 starts.").waitFor();
      const list = page.getByRole("list", { name: "Simulated devices" });
      await list.getByText("runs").waitFor();
      // Its numbers arrive and change.
      await reading(page, "temperature").waitFor();
      const first = await reading(page, "humidity").innerText();
      await scene.until((before) => [...document.querySelectorAll("figure")].find((it) => it.innerText.startsWith("humidity"))?.querySelector(".reading").innerText !== before, first);
      await curve(page, "battery").waitFor();
      await page.locator(".tile", { hasText: "Devices connected" }).getByText("1 of 1").waitFor();
      const { properties } = await emulator.hub("GET", "/twins/sim-1");
      equal(properties.reported.simulated, true);
      const answer = await emulator.hub("POST", "/twins/sim-1/methods", { methodName: "ping", payload: null, responseTimeoutInSeconds: 30 });
      equal(answer, { status: 200, payload: { pong: true } });

      // A second one, in the meantime, is another device.
      await page.getByRole("button", { name: "Run a simulated device" }).click();
      await page.getByRole("heading", { name: "sim-2, live" }).waitFor();
      await page.getByRole("button", { name: "Stop sim-2" }).click();
      await page.getByText("sim-2 has stopped.").waitFor();
      await page.getByRole("heading", { name: "sim-1, live" }).waitFor();
      await page.getByRole("link", { name: "Its messages" }).click();
      await page.locator("#detail .messages button").first().waitFor();
      await reading(page, "temperature").waitFor();
      await page.goto(`${emulator.url}/#/overview`);
      await page.getByRole("button", { name: "Stop sim-1" }).click();
      await page.getByText("sim-1 has stopped.").waitFor();
      await page.getByRole("button", { name: "Stop sim-1" }).waitFor({ state: "detached" });
      await page.locator(".tile", { hasText: "Devices connected" }).getByText("0 of 2").waitFor();
      equal((await emulator.request("GET", "/api/simulated")).devices, []);
      // A clean end: the device has sent DISCONNECT.
      const { events } = await emulator.request("GET", "/api/events?format=json&from=0&kind=disconnected&id=sim-1");
      equal(events.map((it) => it.message), ["the client sent DISCONNECT"]);
    },
  },
  {
    name: "a simulated device that cannot register says why",
    async run(scene) {
      const { page, emulator } = scene;
      await emulator.dps("PUT", "/enrollments/sim-1", { registrationId: "sim-1", attestation: { type: "symmetricKey" }, provisioningStatus: "disabled" });
      await scene.open("#/quickstart");
      await page.getByRole("button", { name: "Run a simulated device" }).click();
      const list = page.getByRole("list", { name: "Simulated devices" });
      await list.getByText(/ended: .*disabled/i).waitFor();
      equal(new URL(page.url()).hash, "#/overview");
      await page.getByRole("button", { name: "Dismiss sim-1" }).click();
      await list.waitFor({ state: "hidden" });
    },
  },
  {
    name: "without a device client, the page offers no simulated device",
    async run(scene) {
      const { page } = scene;
      // The command `hubward emulator` always has a client. The Rust tests check the answer of an emulator without one.
      await page.route("**/api/simulated", (route) => route.fulfill({ json: { available: false, max: 10, devices: [] } }));
      for (const section of ["overview", "quickstart"]) {
        const answered = page.waitForResponse("**/api/simulated");
        await scene.open(`#/${section}`);
        await answered;
        await page.locator("#list h1").waitFor();
        check(!(await page.locator("#main").innerText()).toLowerCase().includes("simulated"), `${section} mentions simulated devices`);
      }
    },
  },
];
