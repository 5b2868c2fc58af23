// The plot of a device's numeric telemetry.

import { check, equal } from "../harness/scene.mjs";

const figure = (page, name) => page.locator(".plot figure").filter({ has: page.getByText(name, { exact: true }) });
const value = (page, name) => figure(page, name).locator(".reading");

export const scenarios = [
  {
    name: "numeric fields are plotted, and can be chosen, read by pointer and by keyboard",
    async run(scene) {
      const { page, emulator } = scene;
      const variables = await emulator.enroll("dev-1");
      const send = (...bodies) => emulator.device(["device", "send", ...bodies], variables).then((it) => equal(it.code, 0, it.err));
      await send("plain text");
      await scene.open("#/devices/localhost/dev-1/telemetry");
      await page.getByText("1 message shown").waitFor();
      check(!(await page.locator(".plot").isVisible()), "there is no plot without numbers");

      await send('{"t":20.5,"motor":{"rpm":900},"name":"x","list":[1,2]}', '{"t":21,"motor":{"rpm":1200}}', '{"t":23.25,"a":1,"b":2}');
      await value(page, "t").getByText("23.25").waitFor();
      await value(page, "motor.rpm").getByText("1,200").waitFor();
      await figure(page, "a").waitFor();
      // Three fields are selected at first.
      equal(await page.locator(".plot figure").count(), 3);
      await page.getByLabel("b", { exact: true }).check();
      await figure(page, "b").waitFor();
      await page.getByLabel("motor.rpm", { exact: true }).uncheck();
      await figure(page, "motor.rpm").waitFor({ state: "detached" });

      const picture = figure(page, "t").locator("svg");
      check(/^t: 23.25; between 20.5 and 23.25 since /.test(await picture.getAttribute("aria-label")), await picture.getAttribute("aria-label"));
      const labels = await picture.locator("text").allTextContents();
      check(labels.length >= 3 && labels.includes("22"), `the labels of the axis: ${labels}`);
      await picture.focus();
      await page.keyboard.press("Home");
      await value(page, "t").getByText(/^20.5 at \d\d:\d\d:\d\d$/).waitFor();
      await page.keyboard.press("ArrowRight");
      await value(page, "t").getByText(/^21 at /).waitFor();
      await page.keyboard.press("Escape");
      await value(page, "t").getByText("23.25", { exact: true }).waitFor();
      const box = await picture.boundingBox();
      await page.mouse.move(box.x + 48, box.y + 60);
      await value(page, "t").getByText(/^20.5 at /).waitFor();

      // Live, unless the list is paused.
      await page.mouse.move(0, 0);
      await page.getByRole("button", { name: "Pause" }).click();
      await send('{"t":30}');
      await page.getByText("paused, 1 new message").waitFor();
      await value(page, "t").getByText("23.25", { exact: true }).waitFor();
      await page.getByRole("button", { name: "Resume" }).click();
      await value(page, "t").getByText("30", { exact: true }).waitFor();
      await page.getByRole("button", { name: "Clear" }).click();
      await page.locator(".plot").waitFor({ state: "hidden" });
    },
  },
  {
    name: "each point can be selected by keyboard, also if several have the same time",
    async run(scene) {
      const { page } = scene;
      await scene.open("#/");
      const readings = await page.evaluate(async () => {
        const { chart } = await import("/portal/chart.js");
        const made = chart({ name: "same", selected: (time) => made.select(time) });
        document.querySelector("#main").append(made.element);
        made.draw([[1000, 5], [1000, 6], [1000, 7], [2000, 8]].map(([time, value]) => ({ time, value })));
        const picture = made.element.querySelector("svg");
        return ["Home", "ArrowRight", "ArrowRight", "ArrowRight", "ArrowRight", "ArrowLeft", "ArrowLeft", "Home", "End", "Escape"].map((key) => {
          picture.dispatchEvent(new KeyboardEvent("keydown", { key }));
          return made.element.querySelector(".reading").textContent.replace(/ at .*/, "");
        });
      });
      equal(readings, ["5", "6", "7", "8", "8", "7", "6", "5", "8", "8"]);
    },
  },
  {
    name: "the plot keeps at most 600 points and 12 fields, and shows hostile messages as text",
    async run(scene) {
      const { page, emulator } = scene;
      const variables = await emulator.enroll("dev-1");
      const fields = Object.fromEntries(Array.from({ length: 14 }, (_, at) => [`f${at}`, at]));
      const hostile = { "<img src=x onerror=alert(1)>": 5, __proto__x: 1, huge: 1e300, deep: { a: { b: { c: { d: { e: 1 } } } } } };
      const send = (lines) => emulator.device(["device", "send", ...lines], variables).then((it) => equal(it.code, 0, it.err));
      // The page loads at most 500 messages from before it was opened. The others must arrive while it is open.
      const numbers = (from, to) => Array.from({ length: to - from }, (_, at) => `{"f0":${from + at}}`);
      await send(numbers(0, 400));
      await scene.open("#/devices/localhost/dev-1/telemetry");
      await value(page, "f0").getByText("399").waitFor();
      await send(numbers(400, 700));
      await value(page, "f0").getByText("699").waitFor();
      const path = await figure(page, "f0").locator("path.curve").getAttribute("d");
      equal(path.match(/[ML]/g).length, 600, "points");
      await send([JSON.stringify(hostile), '{"__proto__":{"x":7}}', '{"big":1e999}', JSON.stringify(fields)]);
      await page.getByText("The plot shows the first 12 fields.").waitFor();
      equal(await page.locator(".plot-fields input").count(), 12);
      await page.locator(".plot-fields").getByText("<img src=x onerror=alert(1)>").waitFor();
      equal(await page.locator("#main img").count(), 0);
    },
  },
];
