// The section with the emulator's events, newest first. They include registrations, connections, and refusals with
// their reasons.

import { fill, h, headings, mark, roving } from "./dom.js";
import { when } from "./format.js";
import { live, on } from "./live.js";
import { link } from "./route.js";
import { isBad, sentence } from "./sentence.js";

/** The section. */
export function activity({ list, detail, narrow }) {
  const search = h("input", { type: "search", placeholder: "Filter", "aria-label": "Filter events", autocomplete: "off", on: { input: draw } });
  const refused = h("input", { type: "checkbox", on: { change: draw } });
  const rows = h("ul", { class: "rows events", "aria-label": "Events, newest first" });
  const rove = roving(rows, "button.row");
  fill(
    list,
    h("div", { class: "pane-head" }, h("h1", null, "Activity")),
    h("div", { class: "tools" }, search, h("label", { class: "check" }, refused, "refused only")),
    headings("events", ["Time", "Event"]),
    rows,
  );
  fill(detail, h("p", { class: "quiet" }, "Select an event to see its details."));

  const wanted = (event) => {
    const text = search.value.trim().toLowerCase();
    return (!refused.checked || isBad(event)) && (!text || `${sentence(event)} ${JSON.stringify(event)}`.toLowerCase().includes(text));
  };
  const row = (event) => h("li", null, h("button", { type: "button", class: "row", on: { click: ({ currentTarget }) => choose(currentTarget, event) } }, eventRow(event)));

  function draw() {
    const those = live.events.filter(wanted).reverse();
    fill(rows, those.length > 0 ? those.map(row) : h("li", { class: "quiet" }, live.events.length > 0 ? "No event matches the filter." : "No events yet."));
    rove.refresh();
  }
  function add(event) {
    if (!wanted(event)) return;
    rows.querySelector("li.quiet")?.remove();
    rows.prepend(row(event));
    while (rows.childElementCount > MOST) rows.lastElementChild.remove();
    rove.refresh();
  }
  function choose(button, event) {
    rows.querySelector("[aria-current]")?.removeAttribute("aria-current");
    button.setAttribute("aria-current", "true");
    fill(detail,
      h("button", { type: "button", class: "back", on: { click: () => narrow("list") } }, "‹ Activity"),
      h("div", { class: "pane-head" }, h("h1", null, sentence(event))),
      h("dl", { class: "facts" }, Object.entries(event).map(([name, value]) => value !== "" && [h("dt", null, name), h("dd", { class: "mono" }, String(value))])),
      event.id && event.hub && h("p", null, h("a", { href: link("devices", event.hub, event.id) }, `Show ${event.id}`)),
      event.id && !event.hub && h("p", null, h("a", { href: link("enrollments", /Group/.test(event.kind) ? "groups" : "enrollments", event.id) }, `Show ${event.id}`)));
    narrow("detail");
  }

  const offs = [on("event", add), on("past", add)];
  draw();
  return { dispose: () => offs.forEach((off) => off()) };
}

/** The row of an event. */
export function eventRow(event, withId = true) {
  const text = sentence(event, withId);
  return h("span", { class: "row" }, h("time", { datetime: event.time }, when(event.time)), mark(kindOf(event), text, { class: "clip" }));
}

function kindOf(event) {
  if (isBad(event)) return "bad";
  if (/^fault|^clock/.test(event.kind)) return "warn";
  if (event.kind === "registered") return "good";
  if (event.kind === "connected") return "on";
  return "off";
}

const MOST = 500;
