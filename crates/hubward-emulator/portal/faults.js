// Fault injection. The user selects a fault, a device, and how often the fault happens. The section also lists the
// events of faults.

import { admin, hub as api, read, request } from "./api.js";
import { eventRow } from "./activity.js";
import { action, field, fill, h, mark, say, select, unique } from "./dom.js";
import { count } from "./format.js";
import { live, on, refresh } from "./live.js";

/** The section, with the faults of all devices. */
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
  const point = h("select", { on: { change: adapt } });
  const kind = h("select", { on: { change: adapt } });
  const pointHint = h("p", { class: "hint" });
  const parameters = h("div", { class: "pair" });
  const names = unique("devices");
  const deviceInput = h("input", {
    type: "text", list: names, autocomplete: "off", spellcheck: "false", class: "mono", placeholder: "any device", value: device ?? "",
  });
  const known = h("datalist", { id: names });
  const times = select([["1", "once"], ["3", "three times"], ["10", "ten times"], ["always", "every time"]], "1");
  const probability = h("input", { type: "number", min: "1", max: "100", value: "100", required: true });
  const seed = h("input", { type: "number", min: "0", max: "4294967295", placeholder: "random" });
  const problem = h("p", { role: "alert", class: "problem" });
  const button = h("button", { type: "submit", class: "primary" }, "Add fault");
  const waiting = h("ul", { class: "rows faults", "aria-label": "Scripted faults" });
  const clear = h("button", { type: "button", hidden: true, on: { click: action(clearAll) } }, "Clear all");
  const happened = h("ul", { class: "rows events", "aria-label": "Events of faults" });
  const clock = h("div", { class: "actions" });
  let inputs = {};
  /** All points. Each point contains a list of the faults that are possible at this point. */
  let points = [];

  function adapt() {
    const here = points.find((it) => it.point === point.value);
    if (!here) return;
    const chosen = here.faults.includes(kind.value) ? kind.value : here.faults[0];
    fill(kind, here.faults.map((name) => {
      const option = h("option", { value: name }, FAULTS[name]?.text ?? name);
      option.selected = name === chosen;
      return option;
    }));
    fill(pointHint, here.forOneDevice ? "" : "The device is not known at this point: the fault applies to the first connection of any device.");
    inputs = {};
    fill(parameters, Object.entries(FAULTS[chosen]?.parameters ?? {}).map(([name, it]) => {
      inputs[name] = h(it.element ?? "input", { required: !it.optional, ...it.props, value: it.value });
      return field(it.label, inputs[name]);
    }));
  }

  async function script(body) {
    const id = deviceInput.value.trim();
    const knows = points.find((it) => it.point === body.point)?.forOneDevice;
    await request("POST", "/api/faults", { body: { ...body, ...(id && knows && { device: id }) } });
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
      const fault = { kind: kind.value, ...(FAULTS[kind.value]?.make ?? ((it) => it))(values) };
      await script({
        point: point.value, fault, times: times.value === "always" ? "always" : Number(times.value),
        ...(Number(probability.value) < 100 && { probability: Number(probability.value) / 100 }),
        ...(seed.value !== "" && Number(probability.value) < 100 && { seed: Number(seed.value) }),
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
    const [{ faults: those, points: known }] = await Promise.all([read("/api/faults"), refresh()]);
    if (points.length === 0) {
      points = known;
      fill(point, known.map((it) => h("option", { value: it.point }, POINTS[it.point] ?? it.point)));
      point.value = "HubPublish";
      adapt();
    }
    const ours = device ? those.filter((it) => !it.device || it.device === device) : those;
    clear.hidden = those.length === 0;
    fill(waiting, ours.length === 0
      ? h("li", { class: "quiet" }, "No scripted faults.")
      : ours.map((it) => h("li", null, h("span", { class: "row" },
        mark("warn", describe(it)),
        h("span", { class: "dim" }, [
          it.device ? `for ${it.device}` : "for any device",
          it.times === "always" ? "every time" : `${count(it.times, "time")} left`,
          it.happened > 0 && `happened ${count(it.happened, "time")}`,
          it.probability !== undefined && it.probability < 1 && `${Math.round(it.probability * 100)} %, seed ${it.seed}`,
        ].filter(Boolean).join(", ")),
        it.id !== undefined && h("button", { type: "button", "aria-label": `Clear: ${describe(it)}`, on: { click: action(() => remove(it.id)) } }, "Clear")))));
    time();
  }

  function time() {
    const ahead = live.status.clockAheadSeconds;
    const move = (to, text) => h("button", { type: "button", on: { click: action(() => setClock(to)) } }, text);
    fill(clock,
      mark(ahead > 0 ? "warn" : "on", ahead > 0 ? `${duration(ahead)} ahead` : "as on this machine"),
      move(ahead + 600, "+10 min"), move(ahead + 3600, "+1 h"), move(ahead + 86400, "+1 day"),
      ahead > 0 && move(0, "Reset clock"));
  }

  async function setClock(aheadSeconds) {
    await request("POST", "/api/clock", { body: { aheadSeconds } });
    say(aheadSeconds === 0 ? "The clock follows this machine again" : `The clock is ${duration(aheadSeconds)} ahead`);
    await draw();
  }

  const target = () => {
    const id = deviceInput.value.trim();
    if (id === "") throw new Error("Enter the device id first.");
    return id;
  };
  /** The hub that knows the device. */
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
    say(answer.json.disconnected ? `${id} is disconnected; it may reconnect at once` : `${id} was not connected`);
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
      ? h("li", { class: "quiet" }, "No faults yet.")
      : those.slice(-50).reverse().map((it) => h("li", null, eventRow(it))));
  };

  fill(
    left,
    !device && h("div", { class: "pane-head" }, h("h1", null, "Inject faults")),
    device && h("h2", null, "Inject faults"),
    h("div", { class: "presets", role: "group", "aria-label": "Presets" }, PRESETS.map(([text, preset]) =>
      h("button", { type: "button", on: { click: action(() => script({ times: 1, ...preset })) } }, text))),
    h("form", { on: { submit } },
      !device && field("For", deviceInput, "A device id, or empty for all devices."),
      known,
      field("When", point),
      pointHint,
      field("What", kind),
      parameters,
      field("How often", times),
      h("details", { class: "more" }, h("summary", null, "Probability"),
        h("div", { class: "pair" }, field("Probability in %", probability), field("Seed", seed)),
        h("p", { class: "hint" }, "The same seed selects the same events.")),
      problem,
      h("div", { class: "actions" }, button)),
    h("h3", null, "Immediate actions"),
    h("div", { class: "actions" },
      h("button", { type: "button", on: { click: action(disconnect) } }, "Disconnect"),
      h("button", { type: "button", on: { click: action(toggle) } }, "Disable or enable")),
    h("h3", null, "The emulator's clock"),
    clock,
    h("p", { class: "hint" }, "Moving the clock ahead ages tokens and messages. It affects all devices."),
  );
  fill(
    right,
    h("div", { class: "pane-head" }, h("h2", null, "Scripted"), clear),
    waiting,
    h("h2", null, "Happened"),
    happened,
  );
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

/** The text of a scripted fault. */
function describe({ point, fault }) {
  const known = FAULTS[fault.kind];
  return `${POINTS[point] ?? point}: ${known?.say?.(fault) ?? known?.text ?? fault.kind}`;
}

function duration(seconds) {
  if (seconds % 86400 === 0) return count(seconds / 86400, "day");
  if (seconds % 3600 === 0) return count(seconds / 3600, "hour");
  return seconds % 60 === 0 ? count(seconds / 60, "minute") : count(seconds, "second");
}

/** Parses headers, one `Name: value` on each line. */
function parsed(lines) {
  const headers = {};
  for (const line of lines.split("\n").map((it) => it.trim()).filter(Boolean)) {
    const [, name, value] = /^([!#$%&'*+.^_`|~\w-]+):\s*(.*)$/.exec(line) ?? [];
    if (name === undefined) throw new Error(`“${line}” is not a header. Write Name: value.`);
    headers[name] = value;
  }
  return headers;
}

const POINTS = {
  DpsRegister: "the device registers at DPS",
  DpsPoll: "the device polls its registration",
  DpsConnect: "the device connects to DPS (MQTT)",
  DpsSubscribe: "the device subscribes at DPS (MQTT)",
  HubConnect: "the device connects to its hub",
  HubSubscribe: "the device subscribes at its hub",
  HubPublish: "the device sends telemetry",
  HubTwinGet: "the device reads its twin",
  HubReported: "the device reports properties",
  HubDesired: "the hub sends desired properties",
  HubMethod: "the hub calls a method",
  WebSocketUpgrade: "a client opens a WebSocket",
  MqttAccept: "a client connects to the MQTT port",
  HttpsAccept: "a client connects to the HTTPS port",
  DpsService: "an operator calls DPS over HTTPS",
  HubService: "an operator calls a hub over HTTPS",
};

const number = (label, value, min = 0, max = undefined, step = undefined) =>
  ({ label, value: String(value), props: { type: "number", min: String(min), max, step } });
const text = (label, value, optional = false) => ({ label, value, optional, props: { type: "text", autocomplete: "off" } });
const seconds = (label, value) => ({ seconds: number(label, value, 0, 86400, "any") });
const inMillis = ({ seconds: those }) => ({ millis: Math.round(those * 1000) });
const shown = (millis) => `${millis / 1000} s`;

/** The text and the parameters of each fault. The emulator, not this table, decides which faults are possible. */
const FAULTS = {
  Cut: { text: "the connection closes" },
  CutAfter: { text: "the connection closes after some bytes", parameters: { bytes: number("Bytes", 20) }, say: (it) => `the connection closes after ${count(it.bytes, "byte")}` },
  Never: { text: "no answer" },
  Delay: { text: "the answer is late", parameters: seconds("Seconds", 5), make: inMillis, say: (it) => `the answer is ${shown(it.millis)} late` },
  Drip: { text: "the answer arrives byte by byte", parameters: seconds("Seconds between bytes", 1), make: inMillis },
  Status: {
    text: "the service answers with an error",
    parameters: { status: number("Status", 500, 200, 599), code: number("Code", 500001), message: text("Message", "Something went wrong."), retryAfter: text("Retry-After", "", true), headers: { label: "More headers, one on each line", value: "", optional: true, element: "textarea", props: { rows: "2", autocomplete: "off", spellcheck: "false", class: "mono", placeholder: "Name: value" } } },
    make: ({ retryAfter, headers, ...it }) => ({ ...it, ...(retryAfter !== "" && { retryAfter }), ...(headers.trim() !== "" && { headers: parsed(headers) }) }),
    say: (it) => `the service answers ${it.status}, ${it.code}`,
  },
  Body: {
    text: "the answer has another body",
    parameters: { status: number("Status", 502, 200, 599), contentType: text("Content type", "text/html"), body: text("Body", "<h1>Bad Gateway</h1>") },
    say: (it) => `the answer is ${it.status} with another body`,
  },
  WrongJson: { text: "the answer is invalid JSON" },
  RetryAfter: {
    text: "the answer has another Retry-After", parameters: { value: text("Retry-After; none if empty", "30", true) },
    make: ({ value }) => ({ value: value === "" ? null : value }), say: (it) => `Retry-After is ${it.value ?? "absent"}`,
  },
  Chunked: { text: "the answer comes in chunks (HTTPS)", parameters: { bytes: number("Bytes in each chunk", 1, 1) } },
  Duplicate: { text: "the answer or message comes twice" },
  Stray: { text: "an unrelated answer comes first" },
  BeforePuback: { text: "the answer overtakes its PUBACK" },
  Connack: { text: "the login is refused", parameters: { code: number("CONNACK code", 5, 1, 255) }, say: (it) => `the login is refused, CONNACK ${it.code}` },
  Suback128: { text: "the subscription is refused" },
  HoldPuback: { text: "the message is logged, but never acknowledged" },
  HoldPubackFor: { text: "the message is acknowledged late", parameters: seconds("Seconds", 5), make: inMillis, say: (it) => `the message is acknowledged ${shown(it.millis)} late` },
  TokenExpired: { text: "the token counts as expired" },
  DeviceDisabled: { text: "the device is disabled at that moment" },
  DeviceDeleted: { text: "the device is deleted at that moment" },
  HubMoved: { text: "the device moves to another hub" },
};

const throttled = { kind: "Status", status: 429, code: 429001, message: "Operations are being throttled for this tenant.", retryAfter: "5" };
const PRESETS = [
  ["DPS: 429, retry later", { point: "DpsRegister", fault: throttled }],
  ["DPS: 500", { point: "DpsRegister", fault: { kind: "Status", status: 500, code: 500001, message: "Something went wrong." } }],
  ["Hub: login refused", { point: "HubConnect", fault: { kind: "Connack", code: 5 } }],
  ["Telemetry: connection closes", { point: "HubPublish", fault: { kind: "Cut" } }],
  ["Telemetry: no PUBACK", { point: "HubPublish", fault: { kind: "HoldPuback" } }],
  ["Twin: no answer", { point: "HubTwinGet", fault: { kind: "Never" } }],
];
