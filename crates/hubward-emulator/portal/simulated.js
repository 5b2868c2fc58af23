// Simulated devices: real clients that the program of the emulator runs.

import { read, request } from "./api.js";
import { action, fill, h, headings, mark, say } from "./dom.js";
import { when } from "./format.js";
import { link } from "./route.js";

/** The answer of `/api/simulated`. */
export const simulatedDevices = () => read("/api/simulated");

/** Starts a device with the next free name and returns its id. */
export async function simulate() {
  const { id } = (await request("POST", "/api/simulated", { body: {} })).json;
  say(`${id} starts. It registers, connects, and sends a message each second.`);
  return id;
}

/**
 * Creates the list of the simulated devices, with a button that starts one. The list is hidden if the emulator cannot
 * run devices. `changed` is called after a device was started or stopped.
 */
export function simulated({ changed }) {
  const rows = h("ul", { class: "rows four", "aria-label": "Simulated devices" });
  const heads = headings("four", ["Device", "State", "Started"]);
  const full = h("p", { class: "hint", role: "status" });
  const start = h("button", { type: "button", class: "primary", on: { click: action(() => simulate().then(changed)) } }, "Run a simulated device");
  const element = h("section", { hidden: true, "aria-label": "Simulated devices" },
    h("div", { class: "pane-head" }, h("h2", null, "Simulated devices"), start),
    h("p", { class: "hint" }, "A real client in the emulator's program. It registers at DPS, sends three numbers each second, reports properties, and answers the methods ping and reboot."),
    full, heads, rows);

  function row({ id, hub, state, since, problem }) {
    const place = hub ? h("a", { class: "id", href: link("devices", hub, id, "telemetry") }, id) : h("span", { class: "id" }, id);
    const how = state === "running" ? mark("on", "runs") : mark("bad", problem ? `ended: ${problem}` : "ended");
    const verb = state === "running" ? "Stop" : "Dismiss";
    const stop = h("button", { type: "button", "aria-label": `${verb} ${id}`, on: { click: action(() => end(id, state)) } }, verb);
    return h("li", null, h("div", { class: "row" }, place, how, h("span", { class: "dim" }, when(since)), stop));
  }

  async function end(id, state) {
    try {
      await request("DELETE", `/api/simulated/${encodeURIComponent(id)}`);
    } catch (error) {
      // Another user has stopped the device.
      if (error.status !== 404) throw error;
    }
    if (state === "running") say(`${id} has stopped. Its enrollment and its device stay.`);
    await changed();
  }

  let last = "";
  return {
    element,
    /** Shows an answer of `/api/simulated`. */
    draw(answer) {
      const text = JSON.stringify(answer);
      if (text === last) return;
      last = text;
      const { available, max, devices } = answer;
      element.hidden = !available;
      const running = devices.filter((it) => it.state === "running").length;
      start.disabled = running >= max;
      fill(full, running >= max && `${max} devices run: that is the maximum.`);
      heads.hidden = devices.length === 0;
      rows.hidden = devices.length === 0;
      const focused = rows.contains(document.activeElement) ? document.activeElement.getAttribute("aria-label") : null;
      fill(rows, devices.map(row));
      if (focused) [...rows.querySelectorAll("button")].find((it) => it.getAttribute("aria-label") === focused)?.focus();
    },
  };
}
