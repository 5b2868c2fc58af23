// Fault injection. The user selects a fault, a device, and how often the fault happens. The section also lists the
// events of faults.

import { admin, hub as api, read, request } from "./api.js";
import { eventRow } from "./activity.js";
import { action, field, fill, h, headings, mark, say, select, unique } from "./dom.js";
import { FAULTS, POINTS, describe } from "./fault_words.js";
import { count, duration } from "./format.js";
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

  /** Fills the form with a preset. Adds no fault: that is what the button of the form is for. */
  function prefill({ point: at, fault: { kind: name, ...values } }) {
    point.value = at;
    adapt();
    kind.value = name;
    adapt();
    for (const [parameter, value] of Object.entries(values)) inputs[parameter].value = value;
    times.value = "1";
    probability.value = "100";
    seed.value = "";
    fill(problem);
    say(`The form contains “${describe({ point: at, fault: { kind: name, ...values } })}”. Add fault adds it.`);
    button.focus();
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
    h("p", { class: "hint" }, "A preset fills the form:"),
    h("div", { class: "presets", role: "group", "aria-label": "Presets" }, PRESETS.map(([text, preset]) =>
      h("button", { type: "button", on: { click: () => prefill(preset) } }, text))),
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
    headings("faults", ["Fault", "Device, how often"]),
    waiting,
    h("h2", null, "Happened"),
    headings("events", ["Time", "Event"]),
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

const throttled = { kind: "Status", status: 429, code: 429001, message: "Operations are being throttled for this tenant.", retryAfter: "5" };
const PRESETS = [
  ["DPS: 429, retry later", { point: "DpsRegister", fault: throttled }],
  ["DPS: 500", { point: "DpsRegister", fault: { kind: "Status", status: 500, code: 500001, message: "Something went wrong." } }],
  ["Hub: login refused", { point: "HubConnect", fault: { kind: "Connack", code: 5 } }],
  ["Telemetry: connection closes", { point: "HubPublish", fault: { kind: "Cut" } }],
  ["Telemetry: no PUBACK", { point: "HubPublish", fault: { kind: "HoldPuback" } }],
  ["Twin: no answer", { point: "HubTwinGet", fault: { kind: "Never" } }],
];
