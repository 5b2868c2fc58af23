// Tests the keyboard, small windows, dark mode, reduced motion, and hostile device names.

import { check, equal } from "../harness/scene.mjs";

export const scenarios = [
  {
    name: "the page can be used with the keyboard alone",
    async run(scene) {
      const { page, emulator } = scene;
      const focused = () => page.evaluate(() => document.activeElement.innerText || document.activeElement.getAttribute("aria-label") || document.activeElement.id);
      const visible = () => page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle !== "none");
      await scene.open();
      await page.getByRole("button", { name: "Create dev-1" }).waitFor();
      await page.keyboard.press("Tab");
      equal(await focused(), "Skip to the content");
      await page.keyboard.press("Enter");
      equal(await focused(), await page.locator("#main").innerText(), "the content has the focus");
      await page.keyboard.press("Tab");
      equal(await focused(), "Create dev-1");
      check(await visible(), "the focus is visible");
      await page.keyboard.press("Enter");
      await page.getByText("Waiting for dev-1").waitFor();
      await scene.until(() => document.activeElement.innerText === "Copy");
      check(await visible(), "the focus is visible");
      await page.keyboard.press("Enter");
      await page.getByText("Copied the lines").waitFor();
      check((await scene.clipboard()).includes("PROVISIONING_HOST"), "the lines are copied");

      for (const id of ["a", "b", "c"]) {
        await emulator.hub("PUT", `/devices/${id}`, { deviceId: id, authentication: { type: "sas" }, status: "enabled" });
      }
      await page.goto(`${emulator.url}/#/devices`);
      await page.getByText("3 devices").waitFor();
      await page.keyboard.press("/");
      equal(await page.evaluate(() => document.activeElement.type), "search");
      // The Tab key stops once in the whole list.
      await page.keyboard.press("Tab");
      await page.keyboard.press("Tab");
      check((await focused()).startsWith("a"), await focused());
      await page.keyboard.press("ArrowDown");
      await page.keyboard.press("End");
      check((await focused()).startsWith("c"), await focused());
      await page.keyboard.press("ArrowUp");
      await page.keyboard.press("Enter");
      await page.getByRole("heading", { name: "b", exact: true }).waitFor();
      equal(new URL(page.url()).hash, "#/devices/localhost/b");

      await page.keyboard.press("?");
      const dialog = page.getByRole("dialog", { name: "Keys" });
      await dialog.waitFor();
      check(await page.evaluate(() => document.querySelector("dialog").contains(document.activeElement)), "the dialog has the focus");
      await page.keyboard.press("Escape");
      await dialog.waitFor({ state: "detached" });

      await page.goto(`${emulator.url}/#/enrollments`);
      await page.getByRole("button", { name: "New enrollment…" }).focus();
      await page.keyboard.press("Enter");
      await scene.until(() => document.activeElement.labels?.[0]?.innerText === "Registration id");
      await page.keyboard.type("typed-1");
      await page.keyboard.press("Enter");
      await page.getByText("is created, with generated keys.").waitFor();
      await page.keyboard.press("Escape");
      await page.getByRole("dialog").waitFor({ state: "detached" });
      check((await focused()).startsWith("New enrollment"), "the focus returns to the button");
    },
  },
  {
    name: "each address opens the item that it names",
    async run(scene) {
      const { page, emulator } = scene;
      await emulator.hub("PUT", "/devices/d%231", { deviceId: "d#1", authentication: { type: "sas" }, status: "enabled" });
      await scene.open("#/devices/localhost/d%231/twin");
      await page.getByRole("heading", { name: "d#1" }).waitFor();
      equal(await page.getByRole("link", { name: "Twin", exact: true }).getAttribute("aria-current"), "page");
      equal(await page.getByRole("link", { name: "Devices", exact: true }).getAttribute("aria-current"), "page");
      check((await page.title()).includes("d#1") && (await page.title()).includes("not Azure"), await page.title());
      await page.getByRole("navigation", { name: "About d#1" }).getByRole("link", { name: "Overview" }).click();
      await page.goBack();
      await page.getByLabel("Desired properties as JSON").waitFor();
      scene.expected.push(/404/);
      for (const [address, text] of [
        ["#/devices/localhost/unknown", "localhost does not know this device."],
        ["#/devices/elsewhere/d", "The hub “elsewhere” does not exist."],
        ["#/enrollments/unknown", "No enrollment has this name."],
        ["#/nonsense", "The portal has no section “nonsense”"],
        ["#/devices/localhost/d%231/nonsense", "A device has no page “nonsense”."],
        ["#/telemetry/elsewhere", "The hub “elsewhere” does not exist."],
        ["#/query/elsewhere", "The hub “elsewhere” does not exist."],
      ]) {
        await page.goto(`${emulator.url}/${address}`);
        await page.locator("#main").getByText(text).first().waitFor();
      }
    },
  },
  {
    name: "the page shows hostile names and messages as text",
    async run(scene) {
      const { page, emulator } = scene;
      const hostile = `<img src=x onerror="document.title='owned'">`;
      const id = "a'$(!)*,=@%_#?b";
      await emulator.hub("PUT", `/devices/${encodeURIComponent(id)}`, { deviceId: id, authentication: { type: "sas" }, status: "enabled" });
      await emulator.hub("PATCH", `/twins/${encodeURIComponent(id)}`, { tags: { "<svg/onload=alert(1)>": hostile }, properties: { desired: { hostile } } });
      const variables = await emulator.enroll("dev-1");
      equal((await emulator.device(["device", "send", hostile, "--property", `<script>alert(1)</script>=${hostile}`], variables)).code, 0);
      await emulator.request("POST", "/messages/localhost/dev-1", { body: hostile, messageId: "m<i>1" });

      await scene.open("#/telemetry");
      await page.locator(".messages button.row").getByText(hostile).click();
      await page.locator("#detail").getByLabel("Body").getByText(hostile).waitFor();
      await page.locator("#detail dt").getByText("<script>alert(1)</script>").waitFor();
      await page.goto(`${emulator.url}/#/devices/localhost/dev-1/act`);
      await page.getByText("m<i>1").waitFor();
      await page.goto(`${emulator.url}/#/devices`);
      await page.getByRole("link", { name: new RegExp(id.replace(/\W/g, "\\$&")) }).click();
      await page.getByRole("heading", { name: id }).waitFor();
      await page.getByRole("link", { name: "Twin", exact: true }).click();
      await scene.until((text) => [...document.querySelectorAll("textarea")].some((it) => it.value.includes(JSON.stringify(text))), hostile);
      await page.goto(`${emulator.url}/#/devices/${encodeURIComponent(hostile)}/${encodeURIComponent(hostile)}`);
      await page.getByText(`The hub “${hostile}” does not exist.`).waitFor();
      equal(await page.locator("#main img").count(), 0);
      check(!(await page.title()).startsWith("owned"), "no script ran");
      // The page does not assign markup. If it did by mistake, the browser would refuse the markup.
      const written = await page.evaluate(() => {
        try {
          document.body.innerHTML = "<b>x</b>";
          return "written";
        } catch (error) {
          return error.name;
        }
      });
      equal(written, "TypeError");
      scene.problems = scene.problems.filter((it) => !it.includes("TrustedHTML"));
    },
  },
  {
    name: "at 400 pixels the page shows one pane at a time",
    width: 400,
    height: 780,
    async run(scene) {
      const { page, emulator } = scene;
      await emulator.hub("PUT", "/devices/dev-1", { deviceId: "dev-1", authentication: { type: "sas" }, status: "enabled" });
      await scene.open("#/devices");
      await page.getByRole("link", { name: /dev-1/ }).click();
      await page.getByText("Connection string").waitFor();
      check(!(await page.locator("#list").isVisible()), "the list is hidden");
      for (const tab of ["Telemetry", "Twin", "Call and send", "Faults", "Overview"]) {
        await page.getByRole("navigation", { name: "About dev-1" }).getByRole("link", { name: tab }).click();
        await page.locator(".tab-body > *").first().waitFor();
        check(await page.evaluate(() => document.documentElement.scrollWidth <= window.innerWidth), `${tab} fits`);
      }
      await page.getByRole("link", { name: "‹ Devices" }).click();
      await page.getByRole("heading", { name: "Devices" }).waitFor();
      check(!(await page.locator("#detail").isVisible()), "the detail pane is hidden");
      for (const section of ["quickstart", "overview", "enrollments", "telemetry", "query", "faults", "activity", "connect"]) {
        await page.goto(`${emulator.url}/#/${section}`);
        await page.locator("#list h1").waitFor();
        check(await page.evaluate(() => document.documentElement.scrollWidth <= window.innerWidth), `${section} fits`);
      }
    },
  },
  {
    name: "at 1400 pixels the page shows two panes side by side",
    async run(scene) {
      const { page, emulator } = scene;
      await emulator.hub("PUT", "/devices/dev-1", { deviceId: "dev-1", authentication: { type: "sas" }, status: "enabled" });
      await scene.open("#/devices/localhost/dev-1");
      await page.getByText("Connection string").waitFor();
      const [list, detail] = [await page.locator("#list").boundingBox(), await page.locator("#detail").boundingBox()];
      check(list.x + list.width <= detail.x + 1 && list.y === detail.y, "the panes are side by side");
    },
  },
  ...["light", "dark"].map((colorScheme) => ({
    name: `axe finds no serious violation, ${colorScheme}`,
    colorScheme,
    reducedMotion: "reduce",
    async run(scene) {
      const { page, emulator } = scene;
      const found = [];
      const look = async (what) => {
        await scene.until(() => document.getAnimations().length === 0);
        found.push(...(await scene.axe()).map((it) => `${what}: ${it}`));
      };
      await scene.open();
      const background = await page.evaluate(() => getComputedStyle(document.body).backgroundColor.match(/\d+/g).map(Number));
      equal(background[0] < 60, colorScheme === "dark", `the background is ${background}`);
      await page.getByRole("button", { name: "Create dev-1" }).waitFor();
      await look("empty");
      const variables = await emulator.enroll("dev-1");
      await emulator.device(["provision"], { ...variables, PROVISIONING_SYMMETRIC_KEY: Buffer.alloc(32, 1).toString("base64") });
      await page.getByText("dev-1 refused").waitFor();
      await look("refused");
      equal((await emulator.device(["device", "send", '{"a":1}', "--property", "k=v"], variables)).code, 0);
      await page.getByText("dev-1 is registered at").waitFor();
      await look("green");
      await emulator.hub("PUT", "/devices/off", { deviceId: "off", authentication: { type: "sas" }, status: "disabled" });
      await emulator.request("POST", "/messages/localhost/dev-1", { body: "x" });
      await emulator.request("POST", "/api/faults", { point: "HubPublish", fault: { kind: "Cut" }, times: 1, device: "dev-1" });
      const ready = {
        "devices/localhost/off": () => page.getByText("no: the hub refuses it").waitFor(),
        "devices/localhost/dev-1/telemetry": () => page.locator("#detail .messages button").click(),
        "devices/localhost/dev-1/twin": async () => {
          await page.getByText("version 1").first().waitFor();
          await page.getByLabel("Desired properties as JSON").fill("{");
          await page.getByText("Not JSON").waitFor();
        },
        "devices/localhost/dev-1/act": () => page.getByText("1 message waits").waitFor(),
        "devices/localhost/dev-1/faults": () => page.getByText("the device sends telemetry: the connection closes").waitFor(),
        "enrollments/dev-1": () => page.getByText("Lines to paste").waitFor(),
        "enrollments/groups/hubward-dev": () => page.getByText("Registered devices").waitFor(),
        telemetry: () => page.locator(".messages button").first().click(),
        overview: async () => {
          await page.getByRole("button", { name: "Run a simulated device" }).click();
          await page.getByRole("img", { name: /^temperature: / }).waitFor();
          await page.getByText("sim-1 starts.").waitFor({ state: "detached" });
        },
        "devices/localhost/sim-1/telemetry": () => page.getByRole("img", { name: /^battery: / }).waitFor(),
        query: async () => {
          await page.getByRole("button", { name: /all devices/ }).click();
          await page.locator("tbody tr").first().waitFor();
        },
        nonsense: () => page.getByRole("heading", { name: "This address has no page" }).waitFor(),
        faults: () => page.getByText("the device sends telemetry: the connection closes").waitFor(),
        activity: () => page.locator(".events button").first().click(),
        connect: () => page.getByText("iothubowner").first().waitFor(),
      };
      for (const [address, there] of Object.entries(ready)) {
        await page.goto(`${emulator.url}/#/${address}`);
        await there();
        await look(address);
      }
      await page.goto(`${emulator.url}/#/enrollments/dev-1`);
      await page.getByRole("button", { name: "New enrollment…" }).click();
      await page.getByText("Hubs, twin, policies").click();
      await look("dialog");
      await page.keyboard.press("Escape");
      await page.getByRole("button", { name: "Delete…" }).click();
      await look("deleting");
      check(found.length === 0, found.join("\n"));
    },
  })),
  {
    name: "the page has no animation if the user prefers reduced motion",
    reducedMotion: "reduce",
    async run(scene) {
      await scene.open();
      await scene.page.getByRole("button", { name: "Create dev-1" }).click();
      await scene.page.getByText("Waiting for dev-1").waitFor();
      equal(await scene.page.evaluate(() => document.getAnimations().length), 0);
    },
  },
];
