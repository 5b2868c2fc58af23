// The quickstart. A button creates an enrollment. When the device has registered, the section shows the device.

import { dps, readIfThere, request } from "./api.js";
import { action, fill, h, mark, say } from "./dom.js";
import { editor as enroll } from "./enroll.js";
import { lines, portsNote } from "./lines.js";
import { live, on, refresh } from "./live.js";
import { go, link } from "./route.js";
import { simulate, simulatedDevices } from "./simulated.js";

const DEVICE = "dev-1";

export function quickstart({ list, detail }) {
  const steps = h("ol", { class: "steps" });
  const progress = h("div", { class: "progress", role: "status", "aria-live": "polite" });
  const after = h("div");
  const other = h("p", { class: "other", hidden: true }, "No device at hand? ",
    h("button", { type: "button", on: { click: action(() => simulate().then(() => go("#/overview"))) } }, "Run a simulated device"));
  /** The device dev-1. It has the key of the device and, after the device has registered, its hub. */
  let device = null;
  /** Whether dev-1 is enrolled, but the user has not begun with it. The start of the emulator can enroll it. */
  let enrolled = false;
  /** The state of dev-1 according to the events. */
  const seen = { refused: null, connected: false };

  fill(
    list,
    h("h1", null, "Your first device"),
    h(
      "p",
      { class: "lead" },
      "DPS and an IoT Hub run on this machine. Create an enrollment, paste its lines into a shell, and watch the device appear here.",
    ),
    steps,
    other,
  );

  async function load() {
    await refresh();
    const enrollment = live.status.dps.enrollments > 0 && await readIfThere(dps("enrollments", DEVICE));
    const hub = enrollment?.registrationState?.assignedHub ?? null;
    enrolled = Boolean(enrollment) && hub === null && seen.refused === null && !begun();
    device = enrollment ? { ...(await known()), hub } : null;
    draw();
  }

  const create = action(async () => {
    begin();
    if (enrolled) {
      enrolled = false;
      draw();
      detail.querySelector("button.primary")?.focus();
      say(`${DEVICE} is enrolled, with the keys that it has`);
      return;
    }
    const body = { registrationId: DEVICE, attestation: { type: "symmetricKey" } };
    let enrollment;
    try {
      enrollment = (await request("PUT", dps("enrollments", DEVICE), { body })).json;
    } catch (error) {
      // Another client has created the enrollment in the meantime.
      if (error.status !== 409) throw error;
      return load();
    }
    device = { key: enrollment.attestation.symmetricKey.primaryKey, hub: null };
    draw();
    detail.querySelector("button.primary")?.focus();
    say(`${DEVICE} is created, with generated keys`);
    await refresh();
  });

  async function known() {
    const keys = await request("POST", dps("enrollments", DEVICE, "attestationmechanism"));
    return { key: keys.json.symmetricKey?.primaryKey ?? "" };
  }

  const step = (done, now, ...content) =>
    h("li", { class: done ? "done" : now ? "now" : "later" }, h("div", null, ...content));

  function draw() {
    fill(
      steps,
      step(
        device && !enrolled, !device || enrolled,
        h("h2", null, `Create ${DEVICE}`),
        device && !enrolled
          ? h("p", null, mark("good", "An individual enrollment with generated keys."), " ",
            h("a", { href: link("enrollments", DEVICE) }, "Show enrollment"))
          : [
            h("p", null, enrolled
              ? `${DEVICE} is enrolled already, for example by the start of the emulator. The button uses this enrollment and its keys.`
              : "Creates an individual enrollment with two generated keys."),
            h("div", { class: "actions" },
              h("button", { type: "button", class: "primary big", on: { click: create } }, `Create ${DEVICE}`),
              h("button", { type: "button", on: { click: () => enroll() } }, "Another enrollment…")),
          ],
      ),
      step(
        device?.hub, device && !device.hub,
        h("h2", null, "Paste the lines and start the device"),
        h("p", null, "The lines also set the variables of Microsoft's samples. ",
          portsNote(live.emulator) || "The SDKs for Python and Node run unchanged."),
      ),
      step(
        device?.hub, device && !device.hub,
        h("h2", null, "Watch the device register"),
        device ? progress : h("p", null, "This page shows when the device registers, or why DPS refuses it."),
      ),
    );
    if (device) status();
    if (device && !detail.querySelector(".lines")) {
      fill(
        detail,
        h("h2", null, `Lines for ${DEVICE}`),
        lines(DEVICE, device.key),
        h("h3", null, "then"),
        h("pre", { class: "code short", tabindex: "0", "aria-label": "Command" }, "hubward provision --transport mqtt --messages 10"),
        after,
      );
    } else if (!device) {
      fill(
        detail,
        h("div", { class: "quiet" },
          h("h2", null, "This emulator"),
          h("dl", { class: "facts" },
            h("dt", null, "DPS"), h("dd", null, h("code", null, live.dpsName), ", id scope ", h("code", null, live.emulator.idScope)),
            h("dt", null, live.hubs.length === 1 ? "IoT Hub" : "IoT Hubs"), h("dd", null, live.hubs.map((it, at) => [at > 0 && ", ", h("code", null, it)])),
            h("dt", null, "MQTT"), h("dd", null, live.emulator.mqtt.map((it) => [h("code", null, it), " "])),
            h("dt", null, "HTTPS"), h("dd", null, live.emulator.https.map((it) => [h("code", null, it), " "])),
            h("dt", null, "CA file"), h("dd", null, h("code", null, live.emulator.caFile)),
          ),
          h("p", { class: "hint" }, "To do the same with a command: ", h("code", null, "hubward dps enrollment create"), ". All details: ",
            h("a", { href: "#/connect" }, "Connect"), "."),
        ),
      );
    }
  }

  function status() {
    const said = [];
    if (device.hub) {
      said.push(mark("good", `${DEVICE} is registered at ${device.hub}.`));
    } else {
      if (seen.refused) said.push(mark("bad", `${DEVICE} refused: ${seen.refused}`));
      said.push(mark("wait", `Waiting for ${DEVICE} to register…`));
    }
    if (seen.connected) said.push(mark("on", `${DEVICE} is connected.`));
    progress.classList.toggle("green", Boolean(device.hub));
    progress.classList.toggle("red", Boolean(seen.refused) && !device.hub);
    fill(progress, said);
    fill(after, device.hub && [
      h("h3", null, "next"),
      h("ul", { class: "next" },
        h("li", null, h("a", { href: link("devices", device.hub, DEVICE) }, `See ${DEVICE}`), ", its state and its keys"),
        h("li", null, h("a", { href: link("devices", device.hub, DEVICE, "telemetry") }, "Watch its telemetry")),
        h("li", null, h("a", { href: link("devices", device.hub, DEVICE, "twin") }, "Edit its desired properties"),
          ", while ", h("code", null, "hubward device run"), " runs"),
        h("li", null, h("a", { href: link("devices", device.hub, DEVICE, "faults") }, "Inject faults"))),
    ]);
  }

  function note(event) {
    if (event.id?.toLowerCase() !== DEVICE) return false;
    if (event.kind === "refused") seen.refused = `${event.message}${event.code ? `, ${event.code}` : ""}`;
    if (event.kind === "registrationFailed") seen.refused = event.message;
    if (event.kind === "registered" || event.kind === "enrollmentCreated") seen.refused = null;
    if (event.kind === "connected") seen.connected = true;
    if (event.kind === "disconnected") seen.connected = false;
    return true;
  }
  const reload = () => load().catch((error) => say(error.message, "error"));
  const offs = [
    on("past", (event) => {
      if (!note(event)) return;
      if (seen.refused) enrolled = false;
      draw();
    }),
    on("event", (event) => {
      if (!note(event)) return;
      if (event.kind === "registered" && device) device.hub = event.hub ?? live.hubs[0];
      if (/^(registered|refused)$/.test(event.kind)) enrolled = false;
      draw();
      // If `device` is set, this page has already created or loaded the enrollment, and need not load it again.
      const made = event.kind === "enrollmentCreated" && !device;
      if (made) begin();
      if (made || /^(enrollment|registration)Deleted$/.test(event.kind)) reload();
    }),
  ];

  draw();
  reload();
  simulatedDevices().then(({ available }) => {
    other.hidden = !available;
  }).catch((error) => say(error.message, "error"));
  return { dispose: () => offs.forEach((off) => off()) };
}

/** Remembers for this browser window that the user has begun with dev-1 at this run of the emulator. */
function begin() {
  try {
    sessionStorage.setItem(BEGUN, live.status.started);
  } catch { /* Without storage, a reload of the page offers the button again. */ }
}

function begun() {
  try {
    return sessionStorage.getItem(BEGUN) === live.status.started;
  } catch {
    return false;
  }
}
const BEGUN = "hubward.begun";
