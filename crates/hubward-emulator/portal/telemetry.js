// Live telemetry with pause, filter and export. A click on a row shows the details of the message.

import { fill, h, headings, mark, roving, select } from "./dom.js";
import { count, readable, when } from "./format.js";
import { live } from "./live.js";
import { plot } from "./plot.js";
import { go, link } from "./route.js";
import { exported, stream } from "./stream.js";

/** Creates the section. It shows the messages of all devices of a hub. */
export function telemetry({ list, detail, narrow }) {
  let view = null;
  let current = null;
  const hubs = select(live.hubs.map((it) => [it, it]), live.hubs[0], { "aria-label": "Hub", on: { change: () => go(link("telemetry", hubs.value)) } });
  const quiet = () => fill(detail, h("p", { class: "quiet" }, "Select a message to see its body, its properties, and the properties that the hub adds."));
  return {
    show({ path: [name] }) {
      const hub = name === undefined ? live.hubs[0] : live.hubs.find((it) => it.toLowerCase() === name.toLowerCase());
      if (!hub) {
        view?.dispose();
        view = current = null;
        fill(list, h("h1", null, "Telemetry"), h("p", { class: "quiet" }, `The hub “${name}” does not exist. Hubs: ${live.hubs.join(", ")}.`));
        fill(detail);
        return;
      }
      if (current === hub) return;
      view?.dispose();
      current = hub;
      hubs.value = hub;
      quiet();
      const body = h("div");
      fill(list, h("div", { class: "pane-head" }, h("h1", null, "Telemetry"), live.hubs.length > 1 && hubs), body);
      view = feed(body, hub, null, (message) => {
        fill(detail,
          h("button", { type: "button", class: "back", on: { click: () => narrow("list") } }, "‹ Telemetry"),
          h("div", { class: "pane-head" }, h("h1", null, `Message ${message.offset}`)),
          content(message, hub));
        narrow("detail");
      });
    },
    dispose: () => view?.dispose(),
  };
}

/** The tab of one device or module. */
export function telemetryOf(body, hub, id) {
  return feed(body, hub, id, null);
}

/** Creates the list of messages. A click calls `opened`, or shows the message below its row if `opened` is null. */
function feed(body, hub, id, opened) {
  const rows = h("ul", { class: "rows messages", "aria-label": "Messages, newest first" });
  const rove = roving(rows, "button.row");
  const search = h("input", { type: "search", placeholder: "Filter", "aria-label": "Filter messages", autocomplete: "off", on: { input: redraw } });
  const pause = h("button", { type: "button", "aria-pressed": "false", on: { click: toggle } }, "Pause");
  const clear = h("button", { type: "button", on: { click: empty } }, "Clear");
  const file = h("a", { class: "button", href: exported(hub, id), download: "" }, "Export JSON lines");
  const note = h("p", { class: "hint", role: "status" });
  const reading = h("p", { class: "reading" });
  const graph = id === null ? null : plot();
  const heads = headings("messages", ["Time", id === null && "Device", "Body"]);
  fill(body, h("div", { class: "tools" }, search, pause, clear, file), h("div", { class: "counts" }, reading, note), graph?.element, heads, rows);

  /** The messages, newest first. */
  let kept = [];
  /** Messages received while the page is paused. */
  let held = [];
  let total = 0;
  let lostSome = 0;
  let paused = false;
  let frame = 0;
  let fresh = [];

  function take(message) {
    total += 1;
    const queue = paused ? held : fresh;
    queue.push(message);
    if (queue.length > MOST) queue.splice(0, queue.length - MOST);
    if (!frame) frame = requestAnimationFrame(draw);
  }

  function draw() {
    frame = 0;
    const those = fresh.reverse();
    fresh = [];
    graph?.add([...those].reverse());
    kept = [...those, ...kept].slice(0, MOST);
    rows.prepend(...those.filter(wanted).map(row));
    while (rows.childElementCount > MOST) rows.lastElementChild.remove();
    rove.refresh();
    tell();
  }

  function redraw() {
    fill(rows, kept.filter(wanted).map(row));
    rove.refresh();
    tell();
  }

  function wanted(message) {
    const text = search.value.trim().toLowerCase();
    if (!text) return true;
    const { deviceId, moduleId = "", body: content = "", properties } = message;
    return `${deviceId} ${moduleId} ${content} ${JSON.stringify(properties)}`.toLowerCase().includes(text);
  }

  function row(message) {
    const button = h("button", {
      type: "button", class: "row", "aria-expanded": opened ? null : "false",
      on: { click: () => (opened ? choose(button, message) : expand(button, message)) },
    },
    h("time", { datetime: message.enqueuedTime }, when(message.enqueuedTime, true)),
    !id && h("span", { class: "id" }, message.moduleId ? `${message.deviceId}/${message.moduleId}` : message.deviceId),
    h("span", { class: "clip mono" }, (message.body ?? `${message.bodyBase64} (base64)`).slice(0, 300)));
    return h("li", null, button);
  }

  function choose(button, message) {
    rows.querySelector("[aria-current]")?.removeAttribute("aria-current");
    button.setAttribute("aria-current", "true");
    opened(message);
  }

  function expand(button, message) {
    const open = button.getAttribute("aria-expanded") === "true";
    button.setAttribute("aria-expanded", String(!open));
    if (open) button.nextElementSibling?.remove();
    else button.after(content(message, hub));
  }

  function toggle() {
    paused = !paused;
    pause.setAttribute("aria-pressed", String(paused));
    fill(pause, paused ? "Resume" : "Pause");
    if (!paused) {
      fresh.push(...held);
      held = [];
      draw();
    }
    tell();
  }

  function empty() {
    kept = [];
    held = [];
    fresh = [];
    graph?.clear();
    redraw();
  }

  /** Shows the state and the counts. A screen reader announces only changes of the hint, not of the counts. */
  function tell() {
    const state = paused ? mark("wait", `paused${held.length > 0 ? `, ${count(held.length, "new message")}` : ""}`)
      : messages?.connected ? mark("on", "live") : mark("off", "not connected");
    const shown = rows.childElementCount;
    const text = total === 0 ? "no message yet" : `${count(shown, "message")} shown${total > shown ? ` of ${total.toLocaleString("en")}` : ""}`;
    fill(reading, state, h("span", { class: "dim" }, text));
    const hint = [
      paused ? "Paused: new messages are kept until you resume." : "",
      lostSome > 0 ? `${count(lostSome, "message was", "messages were")} dropped before this page could show them.` : "",
    ].join(" ").trim();
    if (note.textContent !== hint) fill(note, hint);
  }

  let messages = null;
  messages = stream(hub, id, MOST * (id ? 20 : 1), {
    message: take,
    skipped(number) {
      lostSome += number;
      tell();
    },
    changed: tell,
  });
  return {
    dispose() {
      messages.dispose();
      cancelAnimationFrame(frame);
    },
  };
}

/** The details of a message. */
function content(message, hub) {
  const table = (title, values) => {
    const those = Object.entries(values);
    return [
      h("h3", null, title),
      those.length === 0
        ? h("p", { class: "quiet" }, "none")
        : h("dl", { class: "facts" }, those.map(([name, value]) => [h("dt", { class: "mono" }, name), h("dd", { class: "mono" }, value ?? "(no value)")])),
    ];
  };
  const text = message.body ?? message.bodyBase64;
  const device = message.moduleId ? `${message.deviceId}/${message.moduleId}` : message.deviceId;
  return h("div", { class: "message" },
    h("p", { class: "dim" }, "from ", h("a", { href: link("devices", hub, device) }, device), ` at ${when(message.enqueuedTime, true)}, offset ${message.offset}, QoS ${message.qos}${message.duplicate ? ", sent again" : ""}`),
    h("h3", null, message.body === undefined ? "Body (binary, as base64)" : "Body"),
    h("pre", { class: "code", tabindex: "0", "aria-label": "Body" }, text === "" ? "(empty)" : readable(text)),
    table("Properties", message.properties ?? {}),
    table("System properties", message.systemProperties ?? {}));
}

/** Maximum number of messages in the page. */
const MOST = 500;
