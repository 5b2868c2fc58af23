// The section with the state of the whole emulator: messages and connections over time, simulated devices, the latest
// events.

import { eventRow } from "./activity.js";
import { read } from "./api.js";
import { chart } from "./chart.js";
import { fill, h, headings, say } from "./dom.js";
import { live, on, refresh } from "./live.js";
import { plot } from "./plot.js";
import { link } from "./route.js";
import { shown } from "./scale.js";
import { simulated, simulatedDevices } from "./simulated.js";
import { stream } from "./stream.js";

/** Number of events in the list. */
const EVENTS = 12;
/** Interval between two updates in milliseconds, if the emulator has not named one. */
const INTERVAL = 2000;
/** Number of earlier messages that the plot of a simulated device begins with. */
const PAST = 500;

export function overview({ list, detail }) {
  const facts = h("dl", { class: "tiles" });
  const rate = chart({ name: "Messages per second", fromZero: true, selected: (time) => select(time) });
  const connections = chart({ name: "Open connections", fromZero: true, selected: (time) => select(time) });
  const devices = simulated({ changed: again });
  const events = h("ul", { class: "rows events", "aria-label": "Latest events, newest first" });
  const device = h("section", { hidden: true, "aria-label": "The simulated device" });
  /** The plot of the simulated device that was started last. */
  let watched = null;
  let timer = 0;
  let gone = false;
  let interval = INTERVAL;

  const select = (time) => [rate, connections].forEach((it) => it.select(time));
  fill(
    list,
    h("h1", null, "Overview"),
    facts,
    devices.element,
    h("div", { class: "pane-head" }, h("h2", null, "Latest events"), h("a", { href: "#/activity" }, "All events")),
    headings("events", ["Time", "Event"]),
    events,
  );
  fill(detail, h("h2", null, "Traffic, the last half hour"), h("div", { class: "charts" }, rate.element, connections.element), device);

  function tile(name, value, address) {
    return h("div", { class: "tile" }, h("dt", null, name), h("dd", { class: "num" }, address ? h("a", { href: address }, value) : value));
  }

  function draw(traffic) {
    const { hubs, dps } = live.status;
    const sum = (of) => hubs.reduce((total, it) => total + it[of], 0);
    const many = (number) => number.toLocaleString("en");
    fill(
      facts,
      tile("Devices connected", `${many(sum("connected"))} of ${many(sum("devices") + sum("modules"))}`, "#/devices"),
      tile("Messages per second", shown((traffic.messages.at(-1) ?? 0) / traffic.intervalSeconds), "#/telemetry"),
      tile("Messages received", many(sum("telemetry")), "#/telemetry"),
      tile("Enrollments, groups", `${many(dps.enrollments)}, ${many(dps.enrollmentGroups)}`, "#/enrollments"),
    );
    const end = Date.parse(traffic.end);
    const step = traffic.intervalSeconds * 1000;
    const points = (values, by) => values.map((value, at) => ({ time: end - (values.length - 1 - at) * step, value: value / by }));
    rate.draw(points(traffic.messages, traffic.intervalSeconds));
    connections.draw(points(traffic.connections, 1));
  }

  function watch({ devices: those }) {
    const newest = those.filter((it) => it.state === "running" && it.hub)
      .sort((one, other) => other.since.localeCompare(one.since))[0];
    if (watched?.id === newest?.id) return;
    watched?.messages.dispose();
    watched = null;
    device.hidden = !newest;
    if (!newest) return fill(device);
    const { id, hub } = newest;
    const graph = plot();
    let fresh = [];
    let frame = 0;
    const messages = stream(hub, id, PAST, {
      message(it) {
        fresh.push(it);
        frame ||= requestAnimationFrame(() => {
          frame = 0;
          graph.add(fresh.splice(0));
        });
      },
    });
    watched = { id, messages };
    fill(
      device,
      h("div", { class: "pane-head" },
        h("h2", null, id, ", live"),
        h("span", null, h("a", { href: link("devices", hub, id, "telemetry") }, "Its messages"), " · ",
          h("a", { href: link("devices", hub, id, "act") }, "Call a method"), " · ",
          h("a", { href: link("devices", hub, id, "faults") }, "Inject a fault"))),
      graph.element,
    );
  }

  function latest() {
    const those = live.events.slice(-EVENTS).reverse();
    fill(events, those.length > 0 ? those.map((it) => h("li", null, eventRow(it))) : h("li", { class: "quiet" }, "No events yet."));
  }

  async function again() {
    clearTimeout(timer);
    if (gone) return;
    try {
      if (!document.hidden && live.state === "live") {
        const [traffic, those] = await Promise.all([read("/api/traffic"), simulatedDevices(), refresh()]);
        if (gone) return;
        interval = traffic.intervalSeconds * 1000;
        draw(traffic);
        devices.draw(those);
        watch(those);
      }
    } catch (error) {
      // While the connection is lost, the banner says so.
      if (error.status !== 0) say(error.message, "error");
    } finally {
      clearTimeout(timer);
      if (!gone) timer = setTimeout(again, interval);
    }
  }

  const soon = (event) => {
    latest();
    if (/^(registered|connected|disconnected|enrollment|device|refused)/.test(event.kind)) {
      clearTimeout(timer);
      timer = setTimeout(again, 100);
    }
  };
  const offs = [on("event", soon), on("past", latest), on("state", again)];
  document.addEventListener("visibilitychange", again);
  latest();
  again();
  return {
    dispose() {
      gone = true;
      clearTimeout(timer);
      watched?.messages.dispose();
      document.removeEventListener("visibilitychange", again);
      offs.forEach((off) => off());
    },
  };
}
