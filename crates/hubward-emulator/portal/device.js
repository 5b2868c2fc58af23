// The view of one device or module. It shows the properties of the device, and has a tab for each kind of action.

import { act } from "./act.js";
import { admin, hub as api, read, readIfThere, request, segments } from "./api.js";
import { confirmByName } from "./dialog.js";
import { action, condition, fill, h, headings, mark, say } from "./dom.js";
import { eventRow } from "./activity.js";
import { faultsOf } from "./faults.js";
import { plain, when } from "./format.js";
import { secret } from "./lines.js";
import { live, on, refresh } from "./live.js";
import { go, link } from "./route.js";
import { telemetryOf } from "./telemetry.js";
import { twin } from "./twin.js";

/** The types of authentication in words. */
const AUTHENTICATION = {
  sas: "symmetric keys", selfSigned: "X.509: a certificate with this thumbprint",
  certificateAuthority: "X.509: a certificate that a verified CA certificate has issued",
};

const TABS = [
  ["overview", "Overview"], ["telemetry", "Telemetry"], ["twin", "Twin"], ["act", "Call and send"], ["faults", "Faults"],
];

/** Creates the pane of one device. The caller selects the device and the tab with the returned function `show`. */
export function device({ detail }) {
  let current = null;
  let content = null;
  let generation = 0;

  async function show(hub, id, tab) {
    generation += 1;
    const mine = generation;
    content?.dispose?.();
    content = null;
    const identity = await readIfThere(api(hub, "devices", ...segments(id)));
    if (mine !== generation) return;
    current = { hub, id, tab, identity };
    if (!TABS.some(([it]) => it === tab)) {
      fill(detail, back(hub), h("h1", { class: "id" }, id), h("p", { class: "quiet" }, `A device has no page “${tab}”. `, h("a", { href: link("devices", hub, id) }, `Show ${id}`), "."));
      return;
    }
    if (!identity) {
      fill(detail, back(hub), h("h1", { class: "id" }, id),
        h("p", { class: "quiet" }, `${hub} does not know this device. It has not registered yet, or it was deleted.`));
      return;
    }
    const head = h("div", { class: "device-head" });
    const body = h("div", { class: "tab-body" });
    fill(detail, back(hub), head, tabs(hub, id, tab), body);
    header(head);
    content = { head, ...render(tab, body) };
  }

  const back = (hub) => h("a", { class: "back", href: link("devices", hub) }, "‹ Devices");

  function tabs(hub, id, chosen) {
    const bar = h("nav", { class: "tabs", "aria-label": `About ${id}` }, TABS.map(([tab, text]) =>
      h("a", { href: link("devices", hub, id, tab), "aria-current": tab === chosen ? "page" : null, data: { tab } }, text)));
    return bar;
  }

  function header(head) {
    const { id, hub, identity } = current;
    const [name, module] = id.split("/");
    fill(
      head,
      h("h1", { class: "id" }, module === undefined ? id : [h("a", { href: link("devices", hub, name) }, name), " / ", module]),
      h("p", { class: "dim" }, condition({ status: "enabled", ...identity }), " ", `at ${hub}, last activity ${when(identity.lastActivityTime)}`),
    );
  }

  function render(tab, body) {
    const { hub, id } = current;
    if (tab === "telemetry") return telemetryOf(body, hub, id);
    if (tab === "twin") return twin(body, hub, id);
    if (tab === "act") return act(body, hub, id);
    if (tab === "faults") return faultsOf(body, id);
    return overview(body);
  }

  function overview(body) {
    const facts = h("dl", { class: "facts" });
    const modules = h("div");
    const history = h("ul", { class: "rows events", "aria-label": "Events of the device" });
    const isModule = current.id.includes("/");
    fill(body, facts, modules, h("h2", null, "Events"), headings("events", ["Time", "Event"]), history);

    async function draw() {
      const { hub, id, identity } = current;
      const path = segments(id);
      const [shown, waiting, those] = await Promise.all([
        read(api(hub, "twins", ...path)),
        read(admin("messages", hub, ...path)),
        isModule ? [] : read(api(hub, "devices", id, "modules")),
      ]);
      if (current?.id !== id || !body.isConnected) return;
      const enabled = identity.status !== "disabled";
      const keys = identity.authentication?.symmetricKey;
      const [name, module] = id.split("/");
      const { type, x509Thumbprint: prints } = identity.authentication ?? {};
      const file = (type === "selfSigned" || type === "certificateAuthority")
        && `HostName=${hub};DeviceId=${name};${module === undefined ? "" : `ModuleId=${module};`}x509=true`;
      const login = keys?.primaryKey && `HostName=${hub};DeviceId=${name};${module === undefined ? "" : `ModuleId=${module};`}SharedAccessKey=${keys.primaryKey}`;
      const fact = (label, ...value) => [h("dt", null, label), h("dd", null, ...value)];
      fill(
        facts,
        !isModule && fact("Enabled", enabled ? mark("on", "yes") : mark("bad", "no: the hub refuses it"), " ",
          h("button", { type: "button", on: { click: action(() => setStatus(enabled ? "disabled" : "enabled")) } }, enabled ? "Disable" : "Enable")),
        fact("Connected", identity.connectionState === "Connected" ? mark("on", "yes") : mark("off", "no"), " ",
          identity.connectionState === "Connected" && h("button", { type: "button", on: { click: action(disconnect) } }, "Disconnect")),
        fact("Last activity", when(identity.lastActivityTime)),
        fact("Twin", h("a", { href: link("devices", hub, id, "twin") }, `version ${shown.version}`), names(shown)),
        fact("Messages waiting", h("a", { href: link("devices", hub, id, "act") }, String(waiting.messages.length))),
        fact("Authentication", AUTHENTICATION[type] ?? type ?? "unknown"),
        prints?.primaryThumbprint && fact("Thumbprint", h("code", { class: "wrap" }, prints.primaryThumbprint)),
        prints?.secondaryThumbprint && prints.secondaryThumbprint !== prints.primaryThumbprint
          && fact("Second thumbprint", h("code", { class: "wrap" }, prints.secondaryThumbprint)),
        file && fact("Connection string", h("code", { class: "wrap" }, file)),
        login && fact("Connection string", secret(`the connection string of ${id}`, login)),
        fact("Generation", h("code", null, identity.generationId)),
        fact("", h("button", { type: "button", class: "danger", on: { click: remove } }, isModule ? "Delete module…" : "Delete device…")),
      );
      fill(modules, those.length > 0 && [
        h("h2", null, "Modules"),
        headings("two", ["Module", "State"]),
        h("ul", { class: "rows two" }, those.map((it) => h("li", null,
          h("a", { href: link("devices", hub, `${it.deviceId}/${it.moduleId}`) }, h("span", { class: "id" }, it.moduleId), condition({ status: "enabled", ...it }))))),
      ]);
      events();
    }

    function names({ properties }) {
      const desired = Object.keys(plain(properties.desired)).length;
      const reported = Object.keys(plain(properties.reported)).length;
      return ` · ${desired} desired, ${reported} reported`;
    }

    function events() {
      const those = live.events.filter(isOurs).slice(-30).reverse();
      fill(history, those.length > 0 ? those.map((it) => h("li", null, eventRow(it, false))) : h("li", { class: "quiet" }, "No events since the start of the emulator."));
    }

    draw().catch((error) => say(error.message, "error"));
    return { draw, dispose: () => {} };
  }

  async function setStatus(status) {
    const { hub, id, identity } = current;
    await request("PUT", api(hub, "devices", id), { body: { ...identity, status }, headers: { "If-Match": `"${identity.etag}"` } });
    say(`${id} is ${status}`);
    await again();
  }

  async function disconnect() {
    const { hub, id } = current;
    const answer = await request("POST", `/api${admin("devices", hub, ...segments(id), "disconnect")}`);
    say(answer.json.disconnected ? `${id} is disconnected; it may reconnect at once` : `${id} was not connected`);
    await again();
  }

  function remove() {
    const { hub, id } = current;
    confirmByName({
      title: `Delete ${id}`,
      text: "This deletes its twin, its keys and its waiting messages. Its enrollment stays: the device can register again.",
      name: id,
      async work() {
        await request("DELETE", api(hub, "devices", ...segments(id)), { headers: { "If-Match": "*" } });
        say(`${id} is deleted`);
        await refresh();
        go(link("devices", hub));
      },
    });
  }

  const isOurs = (event) => {
    const { id, hub } = current;
    if (event.hub && event.hub.toLowerCase() !== hub.toLowerCase()) return false;
    return event.id === id || event.id?.startsWith(`${id}/`) || (!event.hub && event.id?.toLowerCase() === id.toLowerCase());
  };

  /** Reads the device again and updates the pane. Does not change a text that the user is editing. */
  async function again() {
    if (!current) return;
    const { hub, id, tab } = current;
    const identity = await readIfThere(api(hub, "devices", ...segments(id)));
    if (current?.id !== id || current.hub !== hub || current.tab !== tab) return;
    if (!identity || !current.identity) return show(hub, id, tab);
    current.identity = identity;
    if (content) header(content.head);
    await content?.draw?.();
  }

  let timer = 0;
  const soon = () => {
    clearTimeout(timer);
    timer = setTimeout(() => again().catch((error) => say(error.message, "error")), 60);
  };
  const offs = [
    on("event", (event) => {
      if (current && isOurs(event)) soon();
    }),
    on("past", (event) => {
      if (current && isOurs(event)) soon();
    }),
  ];
  return {
    show,
    close() {
      generation += 1;
      content?.dispose?.();
      content = null;
      current = null;
      clearTimeout(timer);
    },
    dispose: () => offs.forEach((off) => off()),
  };
}
