// The frame of the page. It shows the current section and the state of the connection, and handles keys that work in
// every section.

import { activity } from "./activity.js";
import { certificates } from "./certificates.js";
import { connect } from "./connect.js";
import { devices } from "./devices.js";
import { open } from "./dialog.js";
import { fill, h, mark, say } from "./dom.js";
import { enrollments } from "./enrollments.js";
import { faults } from "./faults.js";
import { live, on, start } from "./live.js";
import { missing } from "./missing.js";
import { overview } from "./overview.js";
import { query } from "./query.js";
import { quickstart } from "./quickstart.js";
import { go, here } from "./route.js";
import { telemetry } from "./telemetry.js";

const SECTIONS = { quickstart, overview, devices, enrollments, certificates, telemetry, query, faults, activity, connect };

const byId = (id) => document.getElementById(id);
let shown = { name: null, section: null };

function route() {
  const address = here();
  if (address.section === "") return;
  const name = Object.hasOwn(SECTIONS, address.section) ? address.section : "missing";
  if (shown.name !== name) {
    shown.section?.dispose?.();
    const { list, detail } = panes(name);
    shown = { name, section: (SECTIONS[name] ?? missing)({ list, detail, narrow }) };
  }
  for (const it of document.querySelectorAll("#sections a")) {
    if (it.dataset.section === name) it.setAttribute("aria-current", "page");
    else it.removeAttribute("aria-current");
  }
  narrow("list");
  shown.section.show?.(address);
  document.title = `${title(address)}hubward (local, not Azure)`;
}

const title = ({ section, path }) => {
  const titles = [...path.slice(section === "devices" ? 1 : 0)].reverse().concat(section);
  return `${titles.join(" · ")} · `;
};

/** Replaces the panes of the previous section by empty ones. */
function panes(name) {
  const list = h("section", { id: "list", class: "pane", "aria-label": LABELS[name] });
  const detail = h("section", { id: "detail", class: "pane", "aria-label": "Details" });
  fill(byId("main"), list, detail);
  byId("main").dataset.section = name;
  return { list, detail };
}

const LABELS = {
  quickstart: "Quickstart", overview: "Overview", devices: "Devices", enrollments: "Enrollments", certificates: "CA certificates", telemetry: "Telemetry",
  query: "Query", faults: "Faults", activity: "Activity", connect: "Connect", missing: "Unknown address",
};

/** Selects the pane that a narrow window shows. */
function narrow(pane) {
  byId("main").dataset.pane = pane;
}

function connection() {
  const [kind, text] = {
    live: ["on", "live"], lost: ["bad", "emulator lost, reconnecting…"], connecting: ["wait", "connecting…"],
  }[live.state];
  fill(byId("connection"), mark(kind, text));
  document.body.dataset.connection = live.state;
}

function facts() {
  const { emulator, clockAheadSeconds, faults: scripted } = live.status;
  fill(
    byId("facts"),
    h("span", null, "id scope ", h("code", null, emulator.idScope)),
    emulator.hubs.length > 1 && h("span", null, `${emulator.hubs.length} hubs`),
    clockAheadSeconds > 0 && h("a", { href: "#/faults" }, mark("warn", `clock ${clockAheadSeconds} s ahead`)),
    scripted > 0 && h("a", { href: "#/faults" }, mark("warn", scripted === 1 ? "1 scripted fault" : `${scripted} scripted faults`)),
  );
}

function keys(event) {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
  const typing = event.target.closest?.("input, textarea, select, [contenteditable]");
  if (event.key === "Escape" && typing?.type === "search" && typing.value === "") typing.blur();
  if (typing || document.querySelector("dialog[open]")) return;
  if (event.key === "/") {
    event.preventDefault();
    search();
  } else if (event.key === "?") {
    event.preventDefault();
    help();
  }
}

function search() {
  const visible = (it) => it.offsetParent !== null;
  const field = [...document.querySelectorAll("#main input[type=search]")].find(visible);
  if (field) {
    field.focus();
    field.select();
    return;
  }
  go("#/devices");
  requestAnimationFrame(() => requestAnimationFrame(() => byId("main").querySelector("input[type=search]")?.focus()));
}

function help() {
  const row = (key, text) => [h("dt", null, h("kbd", null, key)), h("dd", null, text)];
  open("Keys", () => h(
    "dl",
    { class: "facts" },
    row("/", "search"),
    row("Tab", "go to the next control; a list or a row of tabs counts as one"),
    row("↑ ↓ ← →", "move within a list or a row of tabs; Home and End go to its ends"),
    row("Enter", "open the focused item"),
    row("Esc", "close a dialog"),
    row("?", "show this list"),
  ));
}

async function main() {
  on("state", () => {
    connection();
    if (live.state === "lost") say("The connection to the emulator is lost", "error");
    if (live.state === "live" && known) say("Connected to the emulator again");
    if (live.state === "live") known = true;
  });
  on("status", facts);
  let known = false;
  on("restart", (why) => {
    say(`${why} The page shows the new state.`);
    // The section may show the state from before the restart, so the page creates the section again.
    shown.section?.dispose?.();
    shown = { name: null, section: null };
    route();
  });
  window.addEventListener("hashchange", route);
  document.addEventListener("keydown", keys);
  byId("skip").addEventListener("click", (event) => {
    event.preventDefault();
    byId("main").focus();
  });
  byId("help").addEventListener("click", help);
  connection();
  await start();
  const begin = async () => {
    if (here().section === "") location.replace(`#/${nothingYet() ? "quickstart" : "overview"}`);
    route();
  };
  if (live.status) begin();
  else {
    const off = on("status", () => {
      off();
      begin();
    });
  }
  // The user may open an address without a section later.
  window.addEventListener("hashchange", () => here().section === "" && begin());
}

/**
 * Returns true if no device exists and no device has registered yet. The page then opens the quickstart.
 */
const nothingYet = () => live.status.hubs.every((it) => it.devices === 0) && live.status.dps.registrations === 0;

main();
