// The section with the endpoints, the CA file, and the connection strings for operators.

import { read, request } from "./api.js";
import { confirmByName } from "./dialog.js";
import { fill, h, say } from "./dom.js";
import { secret } from "./lines.js";
import { live, on } from "./live.js";
import { when } from "./format.js";

export function connect({ list, detail }) {
  const facts = h("dl", { class: "facts" });
  const fact = (name, ...value) => [h("dt", null, name), h("dd", null, ...value)];
  const codes = (those) => those.map((it) => [h("code", null, it), " "]);

  function draw() {
    const { emulator, started } = live.status;
    fill(
      facts,
      fact("Version", `hubward ${emulator.version}`, ", an independent project, not a Microsoft product"),
      fact("Started", when(started)),
      fact("State", live.status.state?.onDisk ? "on disk: survives a restart" : "in memory: deleted when the emulator ends"),
      fact("MQTT over TLS", codes(emulator.mqtt)),
      fact("HTTPS, WebSocket", codes(emulator.https)),
      fact("Admin, this page", h("code", null, emulator.admin)),
      fact("DPS", h("code", null, live.dpsName), h("span", { class: "dim" }, " also answers as "), codes(emulator.dpsHosts)),
      fact("Id scope", h("code", null, emulator.idScope)),
      fact(emulator.hubs.length === 1 ? "IoT Hub" : "IoT Hubs", codes(emulator.hubs)),
      fact("CA file", h("code", null, emulator.caFile), " ", h("a", { href: "/ca.pem", download: "hubward-ca.pem" }, "Download")),
    );
  }
  fill(
    list,
    h("div", { class: "pane-head" }, h("h1", null, "Connect")),
    facts,
    h("h2", null, "Trust"),
    h("p", { class: "hint" }, "Clients must trust the CA file. ", h("code", null, "hubward emulator trust"), " prints the commands for each kind of client."),
    h("div", { class: "actions" },
      h("a", { class: "button", href: "/api/export", download: "hubward-state.json" }, "Export state"),
      h("button", { type: "button", class: "danger", on: { click: reset } }, "Reset…")),
  );

  function reset() {
    confirmByName({
      title: "Reset the emulator",
      text: "This deletes all enrollments, devices, twins, messages and telemetry. The CA stays.",
      name: "reset",
      verb: "Delete everything",
      async work() {
        await request("POST", "/api/reset");
      },
    });
  }

  async function keys() {
    const { policies } = await read("/api/keys");
    fill(
      detail,
      h("h2", null, "For operators"),
      h("p", { class: "hint" }, "Connection strings for Microsoft's service SDKs and for ", h("code", null, "hubward hub"), " and ", h("code", null, "hubward dps"), ". They give full access to the emulator."),
      policies.map((it) => h("section", { class: "policy" },
        h("h3", null, it.policy, h("span", { class: "dim" }, ` ${it.service === "dps" ? "DPS" : "IoT Hub"} ${it.host}`)),
        h("p", { class: "dim" }, `rights: ${[it.rights].flat().join(", ")}`),
        secret(`the connection string of ${it.policy} at ${it.host}`, it.connectionString))),
    );
  }
  const off = on("status", draw);
  draw();
  keys().catch((error) => say(error.message, "error"));
  return { dispose: off };
}
