// Scripting faults and observing their effects.

import { check, equal } from "../harness/scene.mjs";

export const scenarios = [
  {
    name: "a scripted fault happens once and is shown, and faults can be cleared",
    async run(scene) {
      const { page, emulator } = scene;
      const variables = await emulator.enroll("dev-1");
      await scene.open("#/faults");
      await page.getByText("No scripted faults.").waitFor();
      await page.getByLabel("For").fill("dev-1");
      await page.getByLabel("When").selectOption("DpsRegister");
      await page.getByLabel("What", { exact: true }).selectOption("Status");
      await page.getByLabel("Status", { exact: true }).fill("403");
      await page.getByLabel("Code", { exact: true }).fill("403000");
      await page.getByRole("button", { name: "Add fault" }).click();
      const waiting = page.getByRole("list", { name: "Scripted faults" });
      await waiting.getByText("the device registers at DPS: the service answers 403, 403000").waitFor();
      await waiting.getByText("for dev-1, 1 time left").waitFor();
      await page.locator("#facts").getByText("1 scripted fault").waitFor();

      // Only one device has the fault. Another device still works.
      equal((await emulator.device(["provision"], await emulator.enroll("dev-2"))).code, 0);
      await waiting.getByText("for dev-1, 1 time left").waitFor();
      const refused = await emulator.device(["provision"], variables);
      check(refused.code !== 0 && refused.err.includes("403"), refused.err);
      await page.getByText("No scripted faults.").waitFor();
      await page.getByRole("list", { name: "Events of faults" }).getByText("A fault happened to dev-1: when the device registers at DPS, the service answers with an error").first().waitFor();
      equal((await emulator.device(["provision"], variables)).code, 0, "the fault happens once");

      // A fault with the headers that a gateway sends.
      await page.getByLabel("More headers").fill("Retry After 7");
      await page.getByRole("button", { name: "Add fault" }).click();
      await page.getByText("“Retry After 7” is not a header.").waitFor();
      await page.getByLabel("More headers").fill("Retry-After: 7\n\n x-ms-error: a:b ");
      await page.getByRole("button", { name: "Add fault" }).click();
      await waiting.getByText("for dev-1, 1 time left").waitFor();
      const [{ fault }] = (await emulator.request("GET", "/api/faults")).faults;
      equal(fault.headers, { "Retry-After": "7", "x-ms-error": "a:b" });
      await page.getByRole("button", { name: "Clear all" }).click();
      await page.getByText("No scripted faults.").waitFor();

      await page.getByLabel("For").fill("");
      // A preset fills the form. It adds no fault.
      await page.getByRole("button", { name: "DPS: 429, retry later" }).click();
      equal(await page.getByLabel("When").inputValue(), "DpsRegister");
      equal(await page.getByLabel("Code", { exact: true }).inputValue(), "429001");
      equal(await page.getByLabel("Retry-After", { exact: true }).inputValue(), "5");
      await page.getByRole("button", { name: "Telemetry: connection closes" }).click();
      equal(await page.getByLabel("What", { exact: true }).inputValue(), "Cut");
      equal((await emulator.request("GET", "/api/status")).faults, 0, "a preset adds no fault");
      await page.getByRole("button", { name: "Add fault" }).click();
      await waiting.getByText("the device sends telemetry: the connection closes").waitFor();
      await page.getByRole("button", { name: "Clear all" }).click();
      await page.getByText("No scripted faults.").waitFor();
      equal((await emulator.request("GET", "/api/status")).faults, 0);
    },
  },
  {
    name: "the form offers only the faults of a point, and the emulator accepts each of them",
    async run(scene) {
      const { page, emulator } = scene;
      await scene.open("#/faults");
      const point = page.getByLabel("When");
      await point.locator("option").first().waitFor({ state: "attached" });
      const offered = (control) => control.locator("option").evaluateAll((all) => all.map((it) => it.value));
      const kind = page.getByLabel("What", { exact: true });
      const { points } = await emulator.request("GET", "/api/faults");
      equal(await offered(point), points.map((it) => it.point));
      const tried = new Set();
      for (const it of points) {
        await point.selectOption(it.point);
        equal(await offered(kind), it.faults);
        // Fills in the form for each kind of fault. Uses the first fault point that has this kind.
        for (const name of it.faults.filter((one) => !tried.has(one))) {
          tried.add(name);
          await kind.selectOption(name);
          const [answer] = await Promise.all([
            page.waitForResponse((response) => response.url().endsWith("/api/faults") && response.request().method() === "POST"),
            page.getByRole("button", { name: "Add fault" }).click(),
          ]);
          check(answer.ok(), `${it.point} ${name}: ${answer.status()} ${await answer.text()}`);
          const { fault } = await answer.json();
          if (name !== "WrongJson") equal(fault.kind, name);
          await page.locator("form button[aria-busy]").waitFor({ state: "detached" });
        }
      }
      const scripted = tried.size;
      equal((await emulator.request("GET", "/api/status")).faults, scripted);
      check(scripted > 20, `only ${scripted} kinds of faults`);
      // The page describes each fault in words.
      const words = [page.getByRole("list", { name: "Scripted faults" }), point, kind].map((it) => it.innerText());
      for (const text of await Promise.all(words)) {
        check(!/\b(Cut|CutAfter|WrongJson|Suback128|HubMoved|HubPublish|DpsService)\b/.test(text), `the page shows an internal name: ${text}`);
      }
    },
  },
  {
    name: "a device can be disconnected and disabled, and the clock moved ahead and reset",
    async run(scene) {
      const { page, emulator } = scene;
      const variables = await emulator.enroll("dev-1");
      const device = emulator.begin(["device", "run"], variables);
      await scene.open("#/devices/localhost/dev-1/faults");
      await scene.until(() => document.querySelector(".device-head")?.innerText.includes("connected") && !document.querySelector(".device-head").innerText.includes("not connected"));
      await page.getByRole("button", { name: "Disconnect" }).click();
      await page.getByText("dev-1 is disconnected; it may reconnect at once").waitFor();
      await page.getByRole("button", { name: "Disable or enable" }).click();
      await page.locator(".device-head").getByText("disabled").waitFor();
      await page.getByRole("button", { name: "Disable or enable" }).click();
      await page.locator(".device-head").getByText("disabled").waitFor({ state: "detached" });
      await device.stop();
      const other = await scene.newPage();
      await scene.open("#/devices/localhost/dev-1", other);
      await other.getByText("The device disconnected from localhost: ").first().waitFor();

      await page.getByRole("button", { name: "+1 h" }).click();
      await page.getByText("1 hour ahead").first().waitFor();
      equal((await emulator.request("GET", "/api/status")).clockAheadSeconds, 3600);
      await page.locator("#facts").getByText("clock 3600 s ahead").waitFor();
      await page.getByRole("button", { name: "Reset clock" }).click();
      await page.getByText("as on this machine").waitFor();
      equal((await emulator.request("GET", "/api/status")).clockAheadSeconds, 0);
    },
  },
];
