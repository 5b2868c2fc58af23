// The section with the devices of a hub, page by page. The details of the selected device are beside the list.

import { hub as api, page, readIfThere, request } from "./api.js";
import { device } from "./device.js";
import { open } from "./dialog.js";
import { action, condition, field, fill, h, headings, roving, say, select } from "./dom.js";
import { count, when } from "./format.js";
import { live, on, refresh } from "./live.js";
import { go, here, link } from "./route.js";

export function devices({ list, detail, narrow }) {
  const search = h("input", { type: "search", placeholder: "Search device ids", "aria-label": "Search devices", autocomplete: "off" });
  const only = select([["", "all"], ["connected", "connected"], ["disconnected", "not connected"], ["disabled", "disabled"]], "", { "aria-label": "State" });
  const hubs = select(live.hubs.map((it) => [it, it]), live.hubs[0], { "aria-label": "Hub" });
  const rows = h("ul", { class: "rows devices", "aria-label": "Devices" });
  const rove = roving(rows, "a");
  const more = h("button", { type: "button", hidden: true, on: { click: action(onward) } }, "Load more");
  const first = h("button", { type: "button", hidden: true, on: { click: action(() => from(null)) } }, "From the start");
  const total = h("p", { class: "hint", role: "status" });
  const pane = device({ detail });
  const state = { hub: live.hubs[0], items: [], start: null, next: null, chosen: null };
  let gone = false;

  fill(
    list,
    h("div", { class: "pane-head" },
      h("h1", null, "Devices"),
      h("button", { type: "button", on: { click: () => add(state.hub) } }, "New device…")),
    h("div", { class: "tools" }, live.hubs.length > 1 && hubs, search, only),
    headings("devices", ["Device", "State", "Activity", "Twin"]),
    rows,
    h("div", { class: "actions below" }, more, first),
    total,
  );
  let typing = 0;
  search.addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(() => !gone && run(from(null)), 150);
  });
  only.addEventListener("change", () => run(from(null)));
  hubs.addEventListener("change", () => go(link("devices", hubs.value)));

  const run = (work) => work.catch((error) => !gone && say(error.message, "error"));

  /** The query, in the language of the service API. */
  function query() {
    const conditions = [];
    const wanted = search.value.trim();
    if (wanted) conditions.push(`contains(deviceId, '${wanted.replace(/[\\']/g, "\\$&")}')`);
    if (only.value === "disabled") conditions.push("status = 'disabled'");
    else if (only.value) conditions.push(`connectionState = '${only.value === "connected" ? "Connected" : "Disconnected"}'`);
    return `SELECT * FROM devices${conditions.length > 0 ? ` WHERE ${conditions.join(" AND ")}` : ""}`;
  }

  /**
   * Queues a query. The page sends one query at a time, so the answers arrive in the order of the queries. If `anew` is
   * true and a reload is already queued, returns the promise of the queued reload.
   */
  function load(anew) {
    if (anew && waiting) return waiting;
    const work = queue.then(() => {
      if (waiting === work) waiting = null;
      return gone ? null : ask(anew);
    });
    if (anew) waiting = work;
    queue = work.catch(() => {});
    return work;
  }
  let queue = Promise.resolve();
  let waiting = null;

  async function ask(anew) {
    const { hub, start } = state;
    // Reload as many rows as the page shows.
    const size = anew ? Math.max(state.items.length, PAGE) : PAGE;
    const [got] = await Promise.all([
      page(api(hub, "devices", "query"), query(), size, anew ? start : state.next),
      anew && refresh(),
    ]);
    if (gone || hub !== state.hub || start !== state.start) return;
    state.items = anew ? got.items : [...state.items, ...got.items];
    state.next = got.next;
    draw();
  }

  /** Loads more rows. Appends them to the list, or replaces a list that is already full. */
  function onward() {
    if (state.items.length < MOST) return load(false);
    return from(state.next);
  }
  function from(start) {
    Object.assign(state, { start, items: [], next: null });
    list.scrollTop = 0;
    return load(true);
  }

  function draw() {
    const focused = rows.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
    fill(rows, state.items.map(row));
    rove.refresh();
    if (focused) [...rows.querySelectorAll("a")].find((it) => it.getAttribute("href") === focused)?.focus();
    more.hidden = !state.next;
    fill(more, state.items.length < MOST ? "Load more" : "Next page");
    first.hidden = state.start === null;
    const all = live.status.hubs.find((it) => it.hub === state.hub)?.devices ?? 0;
    const filtered = search.value.trim() || only.value;
    fill(
      total,
      state.items.length === 0
        ? filtered ? "No device matches the search." : "No device has registered yet."
        : filtered ? "" : all > state.items.length ? `${state.items.length} of ${count(all, "device")}` : count(all, "device"),
    );
  }

  function row(twin) {
    const id = twin.deviceId;
    const tab = here().section === "devices" ? here().path[2] : null;
    return h("li", null,
      h("a", { href: link(...["devices", state.hub, id, tab].filter(Boolean)), "aria-current": state.chosen === id ? "true" : null },
        h("span", { class: "id" }, id),
        condition(twin),
        h("span", { class: "dim" }, h("span", { class: "away" }, "last activity "), when(twin.lastActivityTime)),
        h("span", { class: "dim num" }, h("span", { class: "away" }, "twin version "), `v${twin.version}`)));
  }

  /** Updates the row of one changed device. */
  async function update(id) {
    const at = state.items.findIndex((it) => it.deviceId === id);
    if (at < 0 || search.value.trim() || only.value) return load(true);
    const twin = await readIfThere(api(state.hub, "twins", id));
    if (gone) return;
    const now = state.items.findIndex((it) => it.deviceId === id);
    if (!twin || now < 0) return load(true);
    state.items[now] = twin;
    draw();
  }

  const changed = new Set();
  let timer = 0;
  const flush = async () => {
    const ids = [...changed];
    changed.clear();
    if (ids.length === 1) await update(ids[0]);
    else await load(true);
  };
  const offs = [
    on("event", (event) => {
      if (event.hub?.toLowerCase() !== state.hub.toLowerCase() && event.kind !== "registered") return;
      if (/^(fault|clock|method|message)/.test(event.kind) || !event.id) return;
      changed.add(event.id.split("/")[0]);
      clearTimeout(timer);
      timer = setTimeout(() => !gone && run(flush()), 60);
    }),
  ];
  // Telemetry changes the last activity, but causes no event.
  const beat = setInterval(() => {
    if (!document.hidden && live.state === "live" && state.items.length > 0) run(load(true));
  }, ACTIVITY);

  function show({ path: [hub, id, tab] }) {
    const known = live.hubs.find((it) => it.toLowerCase() === hub?.toLowerCase());
    const other = known && known !== state.hub;
    if (known) state.hub = hubs.value = known;
    state.chosen = id?.split("/")[0] ?? null;
    if (other) run(from(null));
    draw();
    if (hub !== undefined && !known) {
      fill(detail, h("p", { class: "quiet" }, `The hub “${hub}” does not exist. Hubs: ${live.hubs.join(", ")}.`));
      narrow("detail");
    } else if (id === undefined) {
      pane.close();
      const empty = h("p", { class: "quiet" },
        "A device appears here when it registers. ", h("a", { href: "#/quickstart" }, "Your first device"), " shows how.");
      fill(detail, state.items.length > 0 ? h("p", { class: "quiet" }, "Select a device.") : empty);
    } else {
      narrow("detail");
      run(pane.show(state.hub, id, tab ?? "overview"));
    }
  }

  run(load(true).then(() => !state.chosen && here().path[1] === undefined && show(here())));
  return {
    show,
    dispose() {
      gone = true;
      clearInterval(beat);
      offs.forEach((off) => off());
      pane.close();
      pane.dispose();
    },
  };
}

/** The dialog that creates a device without DPS. */
function add(hub) {
  open("New device", (close) => {
    const id = h("input", { type: "text", required: true, maxlength: "128", autofocus: true, autocomplete: "off", spellcheck: "false", class: "mono" });
    const problem = h("p", { role: "alert", class: "problem" });
    const submit = async (event) => {
      event.preventDefault();
      const name = id.value.trim();
      try {
        await request("PUT", api(hub, "devices", name), { body: { deviceId: name, authentication: { type: "sas" }, status: "enabled" } });
        close();
        say(`${name} is created`);
        go(link("devices", hub, name));
      } catch (error) {
        fill(problem, error.message);
      }
    };
    return h("form", { on: { submit } },
      h("p", null, "The device connects with a connection string, without DPS. For DPS, use ", h("a", { href: "#/enrollments", on: { click: close } }, "Enrollments"), "."),
      field("Device id", id, "The hub generates its keys."),
      problem,
      h("div", { class: "actions" }, h("button", { type: "submit", class: "primary" }, "Create"), h("button", { type: "button", on: { click: close } }, "Cancel")));
  });
}

const PAGE = 100;
/** Maximum number of rows in the page. */
const MOST = 500;
const ACTIVITY = 5000;
