// The section with a query in the language of IoT Hub. The hub's own query API runs the query.

import { hub as api, page } from "./api.js";
import { action, field, fill, h, mark, select } from "./dom.js";
import { count, pretty } from "./format.js";
import { live } from "./live.js";
import { link } from "./route.js";

/** Number of rows in a page of results. */
const PAGE = 100;
/** Maximum number of rows in the page. */
const MOST = 500;
/** Maximum length of a value in a cell, in characters. */
const LONGEST = 120;

/** Maximum length of a text that does not wrap, in characters. */
const SHORT = 40;

const EXAMPLES = [
  ["all devices", "SELECT * FROM devices"],
  ["connected devices", "SELECT deviceId, connectionState, lastActivityTime FROM devices WHERE connectionState = 'Connected'"],
  ["devices by a tag", "SELECT deviceId, tags FROM devices WHERE tags.site = 'a'"],
  ["a reported property", "SELECT deviceId, properties.reported.firmware FROM devices WHERE is_defined(properties.reported.firmware)"],
  ["number by state", "SELECT connectionState, COUNT() AS number FROM devices GROUP BY connectionState"],
  ["disabled devices", "SELECT deviceId, status FROM devices WHERE status = 'disabled'"],
  ["all modules", "SELECT * FROM devices.modules"],
];

export function query({ list, detail, narrow }) {
  const hubs = select(live.hubs.map((it) => [it, it]), live.hubs[0], {});
  const text = h("textarea", { class: "code", rows: "5", spellcheck: "false", autocapitalize: "off", autocomplete: "off", value: EXAMPLES[0][1] });
  const problem = h("p", { role: "alert", class: "problem" });
  const run = h("button", { type: "submit", class: "primary" }, "Run");
  const more = h("button", { type: "button", hidden: true, on: { click: action(onward) } }, "Load more");
  const total = h("p", { class: "hint", role: "status" });
  const result = h("div", { class: "result" });
  const views = [["table", "Table"], ["json", "JSON"]].map(([name, label]) =>
    h("button", { type: "button", "aria-pressed": String(name === "table"), data: { view: name }, on: { click: () => show(name) } }, label));
  let view = "table";
  /** The query of the shown result, its hub, its rows and the continuation. */
  let answer = null;
  let asked = 0;

  const form = h("form", { on: { submit } },
    live.hubs.length > 1 && field("Hub", hubs),
    field("Query", text, "Ctrl+Enter runs the query."),
    problem,
    h("div", { class: "actions" }, run));
  text.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
    event.preventDefault();
    form.requestSubmit();
  });
  fill(
    list,
    h("h1", null, "Query"),
    h("p", { class: "hint" }, "The hub's query language, over device and module twins. The emulator runs it as the service does."),
    form,
    h("h2", null, "Examples"),
    h("ul", { class: "examples" }, EXAMPLES.map(([name, example]) => h("li", null,
      h("button", { type: "button", class: "example", on: { click: () => start(example) } }, h("span", null, name), h("code", null, example))))),
  );
  const back = h("button", { type: "button", class: "back", on: { click: () => narrow("list") } }, "‹ Query");
  fill(detail, back, h("div", { class: "pane-head" }, h("h2", null, "Result"), h("div", { class: "actions", role: "group", "aria-label": "Show as" }, views)),
    total, result, h("div", { class: "actions below" }, more));
  fill(total, "Run a query, or click an example.");

  function start(example) {
    text.value = example;
    form.requestSubmit();
  }

  async function submit(event) {
    event.preventDefault();
    asked += 1;
    const mine = asked;
    const [hub, wanted] = [hubs.value, text.value];
    fill(problem);
    run.setAttribute("aria-busy", "true");
    try {
      const got = await page(api(hub, "devices", "query"), wanted, PAGE, null);
      if (mine !== asked) return;
      answer = { hub, query: wanted, items: got.items, next: got.next };
      history.replaceState(null, "", `${link("query", hub)}?q=${encodeURIComponent(wanted)}`);
      narrow("detail");
      draw();
    } catch (error) {
      if (mine === asked) fill(problem, mark("bad", error.message));
    } finally {
      if (mine === asked) run.removeAttribute("aria-busy");
    }
  }

  async function onward() {
    const mine = asked;
    const got = await page(api(answer.hub, "devices", "query"), answer.query, PAGE, answer.next);
    if (mine !== asked) return;
    answer.items.push(...got.items);
    answer.next = got.next;
    draw();
  }

  function show(name) {
    view = name;
    for (const it of views) it.setAttribute("aria-pressed", String(it.dataset.view === name));
    if (answer) draw();
  }

  function draw() {
    const { items, next } = answer;
    const full = items.length >= MOST;
    more.hidden = !next || full;
    fill(total, items.length === 0 ? "The query has no result." : `${count(items.length, "row")}${next ? full ? `; the page shows at most ${MOST}. Refine the query.` : " so far" : ""}`);
    if (items.length === 0) fill(result);
    else if (view === "json") fill(result, h("pre", { class: "code tall", tabindex: "0", "aria-label": "The result as JSON" }, pretty(items)));
    else fill(result, table(answer));
  }

  return {
    show({ path: [hub], query: parameters }) {
      const known = live.hubs.find((it) => it.toLowerCase() === hub?.toLowerCase());
      if (hub !== undefined && !known) {
        fill(problem, mark("bad", `The hub “${hub}” does not exist. Hubs: ${live.hubs.join(", ")}.`));
        return;
      }
      if (known) hubs.value = known;
      const wanted = parameters.get("q");
      if (wanted !== null && wanted !== answer?.query) start(wanted);
    },
  };
}

/** The columns are the members of all rows. A nested object is JSON. */
function table({ hub, items }) {
  const rows = items.map((it) => (isObject(it) ? it : { value: it }));
  const names = [...new Set(rows.flatMap((it) => Object.keys(it)))].filter((name) => !HIDDEN.includes(name) && rows.some((row) => Object.hasOwn(row, name) && row[name] !== ""));
  const columns = [...FIRST.filter((it) => names.includes(it)), ...names.filter((it) => !FIRST.includes(it))];
  return h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "The result as a table" },
    h("table", null,
      h("thead", null, h("tr", null, columns.map((it) => h("th", { scope: "col" }, it)))),
      h("tbody", null, rows.map((row) => h("tr", null, columns.map((name) => cell(hub, row, name)))))));
}

function cell(hub, row, name) {
  if (!Object.hasOwn(row, name)) return h("td");
  const value = row[name];
  if (name === "deviceId" && typeof value === "string") {
    const id = typeof row.moduleId === "string" ? `${value}/${row.moduleId}` : value;
    return h("td", { class: "mono short" }, h("a", { href: link("devices", hub, id) }, value));
  }
  const text = typeof value === "string" ? value : JSON.stringify(isObject(value) ? bare(value) : value);
  const kind = typeof value === "number" ? "num" : isObject(value) ? "mono json" : text.length <= SHORT ? "short" : null;
  return h("td", { class: kind, title: text.length > LONGEST ? text : null },
    text.length > LONGEST ? `${text.slice(0, LONGEST)}…` : text);
}

/** Without `$metadata` and `$version`, which the JSON shows. */
function bare(value) {
  if (!isObject(value)) return value;
  return Object.fromEntries(Object.entries(value).filter(([name]) => !/^\$(metadata|version)$/.test(name)).map(([name, it]) => [name, bare(it)]));
}

/** The first columns, if the rows have them. */
const FIRST = ["deviceId", "moduleId", "status", "connectionState", "lastActivityTime", "version", "tags", "properties"];
/** Members of a twin that the table leaves out; the JSON contains them. */
const HIDDEN = ["etag", "deviceEtag", "x509Thumbprint", "capabilities", "statusUpdateTime", "cloudToDeviceMessageCount", "authenticationType"];
const isObject = (it) => it !== null && typeof it === "object" && !Array.isArray(it);
