// Actions on a device: desired properties, methods and messages.

import { check, equal } from "../harness/scene.mjs";

export const scenarios = [
  {
    name: "the page shows reported properties, and an edit of desired properties reaches the device",
    async run(scene) {
      const { page, emulator } = scene;
      const variables = await emulator.enroll("dev-1");
      const device = emulator.begin(["device", "run", "--report", '{"firmware":"1.0.7"}'], variables);
      await scene.open("#/devices/localhost/dev-1/twin");
      await page.getByLabel("Reported properties").getByText("1.0.7").waitFor();
      const desired = page.getByLabel("Desired properties as JSON");
      const save = page.locator("section.part").first().getByRole("button", { name: "Save" });
      check(await save.isDisabled(), "Save is disabled without an edit");

      await desired.fill('{\n  "interval": 30,\n  "led": { "on": true,, }\n}');
      await page.getByText("a name in double quotes is missing before “,”, line 3, column 23").waitFor();
      equal(await desired.getAttribute("aria-invalid"), "true");
      await page.getByRole("button", { name: "Go to the error" }).click();
      equal(await desired.evaluate((it) => [document.activeElement === it, it.selectionStart]), [true, 42]);

      await desired.fill('{ "interval": 30, "led": { "on": true } }');
      await page.getByText('sends {"interval":30,"led":{"on":true}}').waitFor();
      // The user saves the text of one editor. A second editor keeps its unsaved text.
      const tags = page.getByLabel("Tags as JSON");
      await tags.fill('{ "site": "a" }');
      await save.click();
      await page.getByText("Desired properties of dev-1 are saved").waitFor();
      equal(await tags.inputValue(), '{ "site": "a" }');
      await page.locator("section.part").nth(1).getByRole("button", { name: "Revert" }).click();
      equal(JSON.parse(await tags.inputValue()), {});
      await device.line((it) => it.type === "desired" && it.properties.led?.on === true);

      // If the user removes a property, the device loses the property too.
      await desired.fill('{ "interval": 30 }');
      await save.click();
      await device.line((it) => it.type === "desired" && it.desiredVersion === 3 && it.properties.interval === 30 && !it.properties.led);
      equal((await emulator.hub("GET", "/twins/dev-1")).properties.desired.led, undefined);

      scene.expected.push(/412/);
      // Another client changes the twin while the user edits it. The page does not overwrite this change.
      await desired.fill('{ "interval": 31 }');
      await emulator.hub("PATCH", "/twins/dev-1", { properties: { desired: { theirs: 1 } } });
      await page.getByText("The twin has been changed in the meantime.").waitFor();
      equal(await desired.inputValue(), '{ "interval": 31 }', "the unsaved text stays");
      await save.click();
      await scene.until(() => !document.querySelector(".note").textContent);
      const wanted = async () => {
        const { interval, theirs } = (await emulator.hub("GET", "/twins/dev-1")).properties.desired;
        return [interval, theirs];
      };
      equal(await wanted(), [31, 1]);

      // The user and another client change the same property. The page first shows the other client's value. It
      // overwrites this value only if the user saves again.
      await desired.fill('{ "interval": 31, "theirs": 5 }');
      await emulator.hub("PATCH", "/twins/dev-1", { properties: { desired: { theirs: 7 } } });
      await page.getByText("The twin has been changed in the meantime.").waitFor();
      await save.click();
      await page.locator(".note code").getByText('{"theirs":7}').waitFor();
      equal(JSON.parse(await desired.inputValue()), { interval: 31, theirs: 5 });
      equal(await wanted(), [31, 7], "the page sends nothing before the user has seen the change");
      await save.click();
      await scene.until(() => !document.querySelector(".note").textContent);
      equal(await wanted(), [31, 5]);
      await emulator.hub("PATCH", "/twins/dev-1", { properties: { desired: { theirs: 1 } } });
      await scene.until(() => document.querySelector("textarea").value.includes('"theirs": 1'));

      // The page has missed the event of a change. When the user saves, the page must save the user's change. It must
      // not overwrite the other client's change.
      const stale = await scene.newPage();
      scene.expected.push(/ERR_FAILED.*events/);
      await stale.route("**/api/events**", (route) => route.abort());
      await stale.goto(`${emulator.url}/#/devices/localhost/dev-1/twin`);
      const text = stale.getByLabel("Desired properties as JSON");
      await stale.getByText("version 8", { exact: true }).waitFor();
      await text.fill('{ "interval": 32, "theirs": 1 }');
      await emulator.hub("PATCH", "/twins/dev-1", { properties: { desired: { theirs: 2 } } });
      await stale.locator("section.part").first().getByRole("button", { name: "Save" }).click();
      await stale.getByText("Desired properties of dev-1 are saved").waitFor();
      equal(await wanted(), [32, 2]);
      await device.stop();
    },
  },
  {
    name: "the page invokes a method and shows the answer or the error",
    async run(scene) {
      const { page, emulator } = scene;
      const variables = await emulator.enroll("dev-1");
      const device = emulator.begin(["device", "run", "--method", 'reboot=202,{"in":3}'], variables);
      await scene.open("#/devices/localhost/dev-1/act");
      await page.getByLabel("Method").fill("reboot");
      await page.getByLabel("Payload as JSON").fill('{"delay":');
      await page.getByText("a value is missing before the end").waitFor();
      await page.getByLabel("Payload as JSON").fill('{"delay":3}');
      // The device may not be connected yet. The call waits until the device connects.
      await page.getByLabel("Answer within (s)").fill("60");
      await page.getByLabel("Wait for connection (s)").fill("60");
      await page.getByRole("button", { name: "Invoke" }).click();
      await page.getByText(/^dev-1 answered 202 in \d+ ms$/).waitFor();
      await page.getByLabel("Answer").getByText('"in": 3').waitFor();
      await device.stop();
      scene.expected.push(/404.*methods/);
      await page.getByLabel("Wait for connection (s)").fill("0");
      await page.getByRole("button", { name: "Invoke" }).click();
      await page.getByText(/404103/).waitFor();
    },
  },
  {
    name: "a message is queued, received and purged",
    async run(scene) {
      const { page, emulator } = scene;
      const variables = await emulator.enroll("dev-1");
      equal((await emulator.device(["provision"], variables)).code, 0);
      await scene.open("#/devices/localhost/dev-1/act");
      await page.getByLabel("Body").fill("hello <b>device</b>");
      await page.getByText("Properties, id, acknowledgement").click();
      await page.getByLabel("Properties").fill("k=v\nempty");
      await page.getByLabel("Message id").fill("m-1");
      await page.getByRole("button", { name: "Send" }).click();
      await page.getByText("1 message waits for dev-1.").waitFor();
      await page.getByRole("list", { name: "Waiting messages" }).getByText("m-1").waitFor();
      const received = await emulator.device(["device", "c2d", "receive", "--count", "1", "--output", "json"], variables);
      equal(received.code, 0, received.err);
      check(received.out.includes("hello <b>device</b>") && received.out.includes('"k":"v"'), received.out);
      await page.getByText("No message waits.").waitFor();

      await page.getByLabel("Message id").fill("m-2");
      await page.getByRole("button", { name: "Send" }).click();
      await page.getByText("1 message waits for dev-1.").waitFor();
      await page.getByRole("button", { name: "Purge" }).click();
      await page.getByText("No message waits.").waitFor();
    },
  },
  {
    name: "at 400 pixels, a message of the page does not cover Send",
    width: 400,
    height: 780,
    async run(scene) {
      const { page, emulator } = scene;
      await emulator.hub("PUT", "/devices/dev-1", { deviceId: "dev-1", authentication: { type: "sas" }, status: "enabled" });
      await scene.open("#/devices/localhost/dev-1/act");
      const send = page.getByRole("button", { name: "Send", exact: true });
      // With Send at the bottom of the window, and at its top.
      for (const block of ["end", "start"]) {
        await send.evaluate((it, at) => it.scrollIntoView({ block: at }), block);
        await page.locator("#said").evaluate((it) => it.replaceChildren());
        await send.click();
        await page.locator("#said").getByText("is queued for dev-1").waitFor();
        const [button, note] = [await send.boundingBox(), await page.locator("#said").boundingBox()];
        check(note.y >= button.y + button.height || note.y + note.height <= button.y, `the message covers Send: ${JSON.stringify([button, note])}`);
        check(note.x >= 0 && note.x + note.width <= 400, "the message fits");
      }
    },
  },
];
