// Breaking things: what is to go wrong, for whom, how often; and seeing it happen.

import { admin, hub as api, read, request } from "./api.js";
import { eventRow } from "./activity.js";
import { action, field, fill, h, mark, say, select, unique } from "./dom.js";
import { count } from "./format.js";
import { live, on, refresh } from "./live.js";

/** The section: for any device. */
export function faults({ list, detail }) {
  const view = panel(list, detail, null);
  return { dispose: view.dispose };
}

/** The tab of one device or module. */
export function faultsOf(body, id) {
  const [one, other] = [h("div"), h("div")];
  fill(body, h("div", { class: "columns" }, one, other));
  return panel(one, other, id.split("/")[0]);
}

function panel(left, right, device) {
  const point = select(POINTS, "HubPublish", { on: { change: adapt } });
  const kind = h("select", { on: { change: adapt } });
  const parameters = h("div", { class: "pair" });
  const names = unique("devices");
  const whose = h("input", {
    type: "text", list: names, autocomplete: "off", spellcheck: "false", class: "mono", placeholder: "any device", value: device ?? "",
  });
  const known = h("datalist", { id: names });
  const times = select([["1", "once"], ["3", "three times"], ["10", "ten times"], ["always", "every time"]], "1");
  const probability = h("input", { type: "number", min: "1", max: "100", value: "100", required: true });
  const seed = h("input", { type: "number", min: "0", max: "4294967295", placeholder: "made up" });
  const problem = h("p", { role: "alert", class: "problem" });
  const button = h("button", { type: "submit", class: "primary" }, "Let it happen");
  const waiting = h("ul", { class: "rows faults", "aria-label": "Faults that wait" });
  const clear = h("button", { type: "button", hidden: true, on: { click: action(clearAll) } }, "Clear all");
  const happened = h("ul", { class: "rows events", "aria-label": "What has gone wrong" });
  const clock = h("div", { class: "actions" });
  let inputs = {};

  function adapt() {
    const fitting = Object.entries(FAULTS).filter(([, it]) => it.at.includes(point.value) || it.at === EVERYWHERE);
    const chosen = fitting.some(([name]) => name === kind.value) ? kind.value : fitting[0][0];
    fill(kind, fitting.map(([name, it]) => {
      const option = h("option", { value: name }, it.text);
      option.selected = name === chosen;
      return option;
    }));
    inputs = {};
    fill(parameters, Object.entries(FAULTS[chosen].parameters ?? {}).map(([name, it]) => {
      inputs[name] = h("input", { required: !it.optional, ...it.props, value: it.value });
      return field(it.label, inputs[name]);
    }));
  }

  async function script(body) {
    await request("POST", "/api/faults", { body: { ...(whose.value.trim() && { device: whose.value.trim() }), ...body } });
    say(`Scripted: ${describe(body)}`);
    await draw();
  }

  async function submit(event) {
    event.preventDefault();
    if (button.getAttribute("aria-busy")) return;
    fill(problem);
    button.setAttribute("aria-busy", "true");
    try {
      const values = Object.fromEntries(Object.entries(inputs).map(([name, it]) => [name, it.type === "number" ? Number(it.value) : it.value]));
      const fault = { kind: kind.value, ...(FAULTS[kind.value].make ?? ((it) => it))(values) };
      await script({
        point: point.value, fault, times: times.value === "always" ? "always" : Number(times.value),
        ...(Number(probability.value) < 100 && { probability: Number(probability.value) / 100 }),
        ...(seed.value !== "" && { seed: Number(seed.value) }),
      });
    } catch (error) {
      fill(problem, error.message);
    } finally {
      button.removeAttribute("aria-busy");
    }
  }

  async function clearAll() {
    await request("DELETE", "/api/faults");
    say("All faults are cleared");
    await draw();
  }

  async function remove(id) {
    await request("DELETE", `/api/faults/${encodeURIComponent(id)}`);
    await draw();
  }

  async function draw() {
    const [{ faults: those }] = await Promise.all([read("/api/faults"), refresh()]);
    const ours = device ? those.filter((it) => !it.device || it.device === device) : those;
    clear.hidden = those.length === 0;
    fill(waiting, ours.length === 0
      ? h("li", { class: "quiet" }, "Nothing is scripted: all goes well.")
      : ours.map((it) => h("li", null, h("span", { class: "row" },
        mark("warn", describe(it)),
        h("span", { class: "dim" }, [
          it.device ? `for ${it.device}` : "for any device",
          it.times === "always" ? "every time" : count(it.left ?? it.times, "time") + " left",
          it.probability !== undefined && it.probability < 1 && `${Math.round(it.probability * 100)} %, seed ${it.seed}`,
        ].filter(Boolean).join(", ")),
        it.id !== undefined && h("button", { type: "button", "aria-label": `Clear: ${describe(it)}`, on: { click: action(() => remove(it.id)) } }, "Clear")))));
    time();
  }

  function time() {
    const ahead = live.status.clockAheadSeconds;
    const move = (to, text) => h("button", { type: "button", on: { click: action(() => setClock(to)) } }, text);
    fill(clock,
      mark(ahead > 0 ? "warn" : "on", ahead > 0 ? `${duration(ahead)} ahead` : "as this machine's"),
      move(ahead + 600, "+10 min"), move(ahead + 3600, "+1 h"), move(ahead + 86400, "+1 day"),
      ahead > 0 && move(0, "Back to now"));
  }

  async function setClock(aheadSeconds) {
    await request("POST", "/api/clock", { body: { aheadSeconds } });
    say(aheadSeconds === 0 ? "The clock is that of this machine again" : `The clock is ${duration(aheadSeconds)} ahead`);
    await draw();
  }

  const target = () => {
    const id = whose.value.trim();
    if (id === "") throw new Error("Name the device first.");
    return id;
  };
  /** The hub that knows it. */
  async function owner(id) {
    for (const hub of live.hubs) {
      try {
        return [hub, await read(api(hub, "devices", id))];
      } catch (error) {
        if (error.status !== 404) throw error;
      }
    }
    throw new Error(`No hub knows ${id}.`);
  }
  async function disconnect() {
    const id = target();
    const [hub] = await owner(id);
    const answer = await request("POST", `/api${admin("devices", hub, id, "disconnect")}`);
    say(answer.json.disconnected ? `${id} is disconnected; it may come back at once` : `${id} was not connected`);
  }
  async function toggle() {
    const id = target();
    const [hub, identity] = await owner(id);
    const status = identity.status === "disabled" ? "enabled" : "disabled";
    await request("PUT", api(hub, "devices", id), { body: { ...identity, status }, headers: { "If-Match": `"${identity.etag}"` } });
    say(`${id} is ${status}`);
  }

  const events = () => {
    const those = live.events.filter((it) => it.kind.startsWith("fault") && (!device || !it.id || it.id.split("/")[0] === device));
    fill(happened, those.length === 0
      ? h("li", { class: "quiet" }, "Nothing yet.")
      : those.slice(-50).reverse().map((it) => h("li", null, eventRow(it))));
  };

  fill(
    left,
    !device && h("div", { class: "pane-head" }, h("h1", null, "Break something")),
    device && h("h2", null, "Break something"),
    h("div", { class: "presets", role: "group", "aria-label": "In one go" }, PRESETS.map(([text, preset]) =>
      h("button", { type: "button", on: { click: action(() => script({ times: 1, ...preset })) } }, text))),
    h("form", { on: { submit } },
      !device && field("For", whose, "A device id, or nothing for all of them."),
      known,
      field("When", point),
      field("What", kind),
      parameters,
      field("How often", times),
      h("details", { class: "more" }, h("summary", null, "By chance"),
        h("div", { class: "pair" }, field("Chance in %", probability), field("Seed", seed)),
        h("p", { class: "hint" }, "The same seed lets the same events go wrong.")),
      problem,
      h("div", { class: "actions" }, button)),
    h("h3", null, "At once"),
    h("div", { class: "actions" },
      h("button", { type: "button", on: { click: action(disconnect) } }, "Disconnect"),
      h("button", { type: "button", on: { click: action(toggle) } }, "Disable or enable")),
    h("h3", null, "The emulator's clock"),
    clock,
    h("p", { class: "hint" }, "Ahead, it ages tokens and messages; it goes for everybody."),
  );
  fill(
    right,
    h("div", { class: "pane-head" }, h("h2", null, "Waits to happen"), clear),
    waiting,
    h("h2", null, "Has happened"),
    happened,
  );
  adapt();
  time();
  events();
  const report = (work) => work.catch((error) => say(error.message, "error"));
  report(draw());
  if (!device) {
    report(request("POST", api(live.hubs[0], "devices", "query"), { body: { query: "SELECT * FROM devices" }, headers: { "x-ms-max-item-count": "50" } })
      .then(({ json }) => fill(known, json.map((it) => h("option", { value: it.deviceId })))));
  }

  let timer = 0;
  const offs = [
    on("past", (event) => event.kind.startsWith("fault") && events()),
    on("event", (event) => {
      if (!/^(fault|clock)/.test(event.kind)) return;
      events();
      clearTimeout(timer);
      timer = setTimeout(() => report(draw()), 60);
    }),
  ];
  return {
    dispose() {
      clearTimeout(timer);
      offs.forEach((off) => off());
    },
  };
}

/** A scripted fault in words. */
function describe({ point, fault }) {
  const when = POINTS.find(([name]) => name === point)?.[1] ?? point;
  const known = FAULTS[fault.kind];
  return `${when}: ${known?.say?.(fault) ?? known?.text ?? fault.kind}`;
}

function duration(seconds) {
  if (seconds % 86400 === 0) return count(seconds / 86400, "day");
  if (seconds % 3600 === 0) return count(seconds / 3600, "hour");
  return seconds % 60 === 0 ? count(seconds / 60, "minute") : count(seconds, "second");
}

const POINTS = [
  ["DpsRegister", "it registers at DPS"],
  ["DpsPoll", "it asks DPS how that is doing"],
  ["DpsConnect", "it connects to DPS (MQTT)"],
  ["DpsSubscribe", "it subscribes at DPS (MQTT)"],
  ["HubConnect", "it connects to its hub"],
  ["HubSubscribe", "it subscribes at its hub"],
  ["HubPublish", "it sends telemetry"],
  ["HubTwinGet", "it asks for its twin"],
  ["HubReported", "it reports properties"],
  ["HubDesired", "it is told of desired properties"],
  ["HubMethod", "a method is invoked"],
  ["WebSocketUpgrade", "it opens a WebSocket"],
  ["MqttAccept", "it opens a connection to the MQTT port"],
  ["HttpsAccept", "it opens a connection to the HTTPS port"],
];

const EVERYWHERE = "everywhere";
const DPS = ["DpsRegister", "DpsPoll"];
const TWIN = ["HubTwinGet", "HubReported"];
const number = (label, value, min = 0, max = undefined) => ({ label, value: String(value), props: { type: "number", min: String(min), max } });
const text = (label, value, optional = false) => ({ label, value, optional, props: { type: "text", autocomplete: "off" } });

/** What can go wrong, and where: as `Fault::fits` has it. */
const FAULTS = {
  Cut: { text: "the connection is cut", at: EVERYWHERE },
  Never: { text: "nobody answers", at: EVERYWHERE },
  Delay: {
    text: "the answer is late", at: EVERYWHERE, parameters: { seconds: number("Seconds", 5) },
    say: (it) => `the answer is ${it.seconds} s late`,
  },
  Status: {
    text: "the service answers an error", at: [...DPS, ...TWIN, "WebSocketUpgrade"],
    parameters: { status: number("Status", 500, 100, 599), code: number("Code", 500001), message: text("Message", "Something went wrong."), retryAfter: text("Retry-After", "", true) },
    make: ({ retryAfter, ...it }) => (retryAfter === "" ? it : { ...it, retryAfter }),
    say: (it) => `the service answers ${it.status}, ${it.code}`,
  },
  Body: {
    text: "the answer is no JSON", at: [...DPS, ...TWIN],
    parameters: { status: number("Status", 200, 100, 599), body: text("Body", "{\"status\":") },
    say: (it) => `the answer is ${it.status} with other bytes`,
  },
  RetryAfter: { text: "another Retry-After", at: DPS, parameters: { value: text("Retry-After", "30", true) }, say: (it) => `Retry-After is ${it.value ?? "absent"}` },
  Chunked: { text: "the answer comes in chunks (HTTPS)", at: DPS, parameters: { bytes: number("Bytes each", 1, 1) } },
  Drip: { text: "the answer drips byte by byte", at: ["MqttAccept", "HttpsAccept", ...DPS, "DpsConnect", "HubConnect"], parameters: { seconds: number("Seconds between", 1) } },
  Duplicate: { text: "it happens twice", at: [...DPS, ...TWIN, "HubPublish", "HubDesired", "HubMethod"] },
  Stray: { text: "an answer to somebody else comes first", at: [...DPS, ...TWIN, "HubMethod"] },
  BeforePuback: { text: "the answer overtakes its PUBACK", at: [...DPS, ...TWIN] },
  Connack: { text: "it is refused", at: ["DpsConnect", "HubConnect"], parameters: { code: number("CONNACK code", 5, 1, 255) }, say: (it) => `it is refused, CONNACK ${it.code}` },
  Suback128: { text: "the subscription is refused", at: ["DpsSubscribe", "HubSubscribe"] },
  HoldPuback: { text: "it is logged, and never acknowledged", at: ["HubPublish"] },
  HoldPubackFor: { text: "it is acknowledged late", at: ["HubPublish"], parameters: { seconds: number("Seconds", 5) }, say: (it) => `it is acknowledged ${it.seconds} s late` },
};

const throttled = { kind: "Status", status: 429, code: 429001, message: "Operations are being throttled for this tenant.", retryAfter: "5" };
const PRESETS = [
  ["DPS: 429, later", { point: "DpsRegister", fault: throttled }],
  ["DPS: 500", { point: "DpsRegister", fault: { kind: "Status", status: 500, code: 500001, message: "Something went wrong." } }],
  ["Hub: login refused", { point: "HubConnect", fault: { kind: "Connack", code: 5 } }],
  ["Telemetry: cut", { point: "HubPublish", fault: { kind: "Cut" } }],
  ["Telemetry: no PUBACK", { point: "HubPublish", fault: { kind: "HoldPuback" } }],
  ["Twin: nobody answers", { point: "HubTwinGet", fault: { kind: "Never" } }],
];
