// The section with the enrollments, the enrollment groups, and the devices that have registered.

import { dps, page, readIfThere, request } from "./api.js";
import { confirmByName } from "./dialog.js";
import { action, fill, h, headings, mark, roving, say } from "./dom.js";
import { editor as create } from "./enroll.js";
import { pretty, when } from "./format.js";
import { derived, lines, secret } from "./lines.js";
import { on, refresh } from "./live.js";
import { go, link } from "./route.js";

const KINDS = {
  enrollments: { path: "enrollments", route: "enrollments", id: "registrationId", one: "enrollment", title: "Individual" },
  groups: { path: "enrollmentGroups", route: "groups", id: "enrollmentGroupId", one: "enrollment group", title: "Groups" },
};

/** The policy by which DPS issues certificates, in either form of the service. */
const policyOf = (it) => it.credentialPolicyName || it.certificatePolicyName;

export function enrollments({ list, detail, narrow }) {
  const search = h("input", { type: "search", placeholder: "Search ids", "aria-label": "Search enrollments", autocomplete: "off" });
  const rows = h("ul", { class: "rows three", "aria-label": "Enrollments" });
  const rove = roving(rows, "a");
  const total = h("p", { class: "hint", role: "status" });
  const more = h("button", { type: "button", hidden: true, on: { click: action(() => load(false)) } }, "Load more");
  const state = { enrollments: fresh(), groups: fresh(), chosen: null };
  let gone = false;

  fill(
    list,
    h("div", { class: "pane-head" },
      h("h1", null, "Enrollments"),
      h("button", { type: "button", class: "primary", on: { click: () => create() } }, "New enrollment…")),
    h("div", { class: "tools" }, search),
    headings("three", ["Enrollment", "Status", "Allocation"]),
    rows, more, total,
  );
  search.addEventListener("input", () => {
    draw();
    if (search.value) everything().catch((error) => say(error.message, "error"));
  });

  /** Queues a load. Two loads at the same time could read the same page, which would then be shown twice. */
  function load(anew) {
    const work = queue.then(() => (gone ? null : ask(anew)));
    queue = work.catch(() => {});
    return work;
  }
  let queue = Promise.resolve();

  async function ask(anew) {
    for (const kind of Object.values(KINDS)) {
      const those = state[kind.route];
      if (!anew && !those.next) continue;
      const got = await page(dps(kind.path, "query"), `SELECT * FROM ${kind.path}`, anew ? Math.min(Math.max(those.items.length, PAGE), 1000) : PAGE, anew ? null : those.next);
      if (gone) return;
      those.items = anew ? got.items : [...those.items, ...got.items];
      those.next = got.next;
    }
    draw();
  }

  /** DPS queries have no conditions, so a search must read all pages. */
  async function everything() {
    while (!gone && search.value && (state.enrollments.next || state.groups.next)) await load(false);
  }

  function draw() {
    const wanted = search.value.trim().toLowerCase();
    const content = [];
    let found = 0;
    for (const kind of Object.values(KINDS)) {
      const items = state[kind.route].items.filter((it) => it[kind.id].toLowerCase().includes(wanted));
      found += items.length;
      if (items.length > 0) content.push(h("li", { class: "rows-head" }, kind.title));
      for (const it of items.slice(0, MOST)) content.push(row(kind, it));
    }
    const focused = rows.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
    fill(rows, content);
    rove.refresh();
    if (focused) [...rows.querySelectorAll("a")].find((it) => it.getAttribute("href") === focused)?.focus();
    more.hidden = Boolean(wanted) || !(state.enrollments.next || state.groups.next);
    const none = wanted ? `No enrollment with “${search.value.trim()}”.` : "No enrollment yet: no device can register.";
    fill(total, found === 0 ? none : found > MOST ? `${found} found, at most ${MOST} of each kind shown. Refine the search.` : "");
  }

  function row(kind, it) {
    const id = it[kind.id];
    const current = state.chosen === `${kind.route}/${id}`;
    const open = it.provisioningStatus !== "disabled";
    return h("li", null,
      h("a", { href: link("enrollments", kind.route, id), "aria-current": current ? "true" : null },
        h("span", { class: "id" }, id),
        mark(open ? "on" : "bad", open ? "enabled" : "disabled"),
        h("span", { class: "dim" }, it.allocationPolicy ?? "hashed")));
  }

  async function show({ path }) {
    // #/enrollments/dev-1 is short for #/enrollments/enrollments/dev-1.
    const [first, second] = path;
    const kind = second !== undefined && Object.hasOwn(KINDS, first) ? KINDS[first] : KINDS.enrollments;
    const id = second ?? first;
    state.chosen = id === undefined ? null : `${kind.route}/${id}`;
    draw();
    if (id === undefined) {
      fill(detail, h("p", { class: "quiet" }, "An enrollment decides which devices may register, and at which hubs. Select one, or create one."));
      return;
    }
    narrow("detail");
    await open(kind, id);
  }

  async function open(kind, id) {
    const mine = state.chosen;
    const it = await readIfThere(dps(kind.path, id));
    if (gone || state.chosen !== mine) return;
    if (!it) {
      fill(detail, back(), h("h1", { class: "id" }, id), h("p", { class: "quiet" }, `No ${kind.one} has this name.`));
      return;
    }
    const keys = (await request("POST", dps(kind.path, id, "attestationmechanism"))).json;
    const records = kind === KINDS.groups ? await page(dps("registrations", id, "query"), "SELECT * FROM deviceRegistrations", PAGE) : null;
    if (gone || state.chosen !== mine) return;
    const primary = keys?.symmetricKey?.primaryKey;
    const hasCertificate = it.attestation?.type === "x509";
    const enabled = it.provisioningStatus !== "disabled";
    fill(
      detail,
      back(),
      h("div", { class: "pane-head" },
        h("h1", { class: "id" }, id),
        h("div", { class: "actions" },
          h("button", { type: "button", on: { click: action(() => change(kind, it, enabled ? "disabled" : "enabled")) } }, enabled ? "Disable" : "Enable"),
          h("button", { type: "button", class: "danger", on: { click: () => remove(kind, it) } }, "Delete…"))),
      h("dl", { class: "facts" },
        fact("Kind", kind === KINDS.groups ? "enrollment group" : "individual enrollment"),
        fact("Status", enabled ? mark("on", "enabled") : mark("bad", "disabled: DPS refuses its devices")),
        it.deviceId && it.deviceId !== id && fact("Device id", h("code", null, it.deviceId)),
        kind === KINDS.enrollments && fact("Registration", registration(it.registrationState)),
        fact("Allocation", it.allocationPolicy ?? "hashed", it.iotHubs?.length > 0 && [", ", it.iotHubs.map((hub, at) => [at > 0 && ", ", h("code", null, hub)])]),
        fact("Attestation", it.attestation?.type ?? "none"),
        certificateFacts(it.attestation?.x509),
        policyOf(it) && fact("Credential policy", h("code", null, policyOf(it)), ": DPS issues certificates for devices that ask"),
        primary && fact("Primary key", secret(`the primary key of ${id}`, primary)),
        keys?.symmetricKey?.secondaryKey && fact("Secondary key", secret(`the secondary key of ${id}`, keys.symmetricKey.secondaryKey)),
        fact("Created", when(it.createdDateTimeUtc)),
      ),
      (primary || hasCertificate) && h("h2", null, "Lines to paste"),
      (primary || hasCertificate) && (kind === KINDS.groups ? derived(id, primary ?? null) : lines(id, primary ?? null)),
      records && h("h2", null, "Registered devices"),
      records && (records.items.length === 0
        ? h("p", { class: "quiet" }, "No device yet.")
        : [headings("three", ["Device", "Registration", "Last change"]), h("ul", { class: "rows three" }, records.items.map((record) => h("li", null,
          record.assignedHub
            ? h("a", { href: link("devices", record.assignedHub, record.deviceId ?? record.registrationId) }, recorded(record))
            : h("span", { class: "row" }, recorded(record)))))]),
      records?.next && h("p", { class: "hint" }, `Shows the first ${PAGE}.`),
      h("details", { class: "more" }, h("summary", null, "JSON of the service API"),
        h("pre", { class: "code", tabindex: "0", "aria-label": "The enrollment as JSON" }, pretty(it))),
    );
  }

  /** What the service has read from the certificates of an enrollment, or the names of CA certificates. */
  function certificateFacts(x509) {
    const pair = x509?.clientCertificates ?? x509?.signingCertificates ?? {};
    const ORDER = [["primary", "Certificate"], ["secondary", "Second certificate"]];
    return [
      ...ORDER.filter(([it]) => pair[it]?.info).map(([it, label]) => {
        const { info } = pair[it];
        return fact(label, h("code", null, info.subjectName), `, valid ${when(info.notBeforeUtc)} to ${when(info.notAfterUtc)}`,
          h("div", { class: "dim" }, "SHA-1 ", h("code", { class: "wrap" }, info.sha1Thumbprint)),
          h("div", { class: "dim" }, "SHA-256 ", h("code", { class: "wrap" }, info.sha256Thumbprint)));
      }),
      ...ORDER.filter(([it]) => x509?.caReferences?.[it]).map(([it, label]) =>
        fact(`CA ${label.toLowerCase()}`, h("a", { href: link("certificates", x509.caReferences[it]) }, x509.caReferences[it]))),
    ].flat();
  }

  const recorded = (record) => [
    h("span", { class: "id" }, record.registrationId),
    mark(record.status === "assigned" ? "good" : "wait", record.status),
    h("span", { class: "dim" }, when(record.lastUpdatedDateTimeUtc)),
  ];
  const fact = (name, ...value) => [h("dt", null, name), h("dd", null, ...value)];
  const back = () => h("a", { class: "back", href: "#/enrollments" }, "‹ Enrollments");

  function registration(record) {
    if (record?.status === "assigned") {
      const device = record.deviceId ?? record.registrationId;
      return [mark("good", "registered at"), " ", h("a", { href: link("devices", record.assignedHub, device) }, `${record.assignedHub} / ${device}`)];
    }
    if (record?.errorMessage) return mark("bad", `${record.status}: ${record.errorMessage}, ${record.errorCode}`);
    return mark("wait", "not yet");
  }

  async function change(kind, it, provisioningStatus) {
    const id = it[kind.id];
    const { registrationState, ...body } = it;
    await request("PUT", dps(kind.path, id), { body: { ...body, provisioningStatus }, headers: { "If-Match": it.etag } });
    say(`${id} is ${provisioningStatus}`);
    await Promise.all([load(true), open(kind, id)]);
  }

  function remove(kind, it) {
    const id = it[kind.id];
    const record = it.registrationState?.assignedHub ? [["record", "Also delete the record of its registration"]] : [];
    confirmByName({
      title: `Delete ${id}`,
      text: `No device can register by this ${kind.one} any more. Devices that have registered stay at their hub.`,
      name: id,
      options: record,
      async work(chosen) {
        await request("DELETE", dps(kind.path, id), { headers: { "If-Match": "*" } });
        if (chosen.record) await request("DELETE", dps("registrations", id), { headers: { "If-Match": "*" } });
        say(`${id} is deleted`);
        await Promise.all([load(true), refresh()]);
        go("#/enrollments");
      },
    });
  }

  const off = on("event", (event) => {
    if (!/^(enrollment|registered|registration)/.test(event.kind)) return;
    later(() => {
      load(true).catch((error) => say(error.message, "error"));
      const [route, ...id] = state.chosen?.split("/") ?? [];
      const same = id.join("/").toLowerCase() === event.id?.toLowerCase();
      // Does not change the details while they have the focus: the user may be reading or copying text.
      if (route && same && !detail.contains(document.activeElement)) show({ path: [route, id.join("/")] });
    });
  });
  let timer = 0;
  const later = (work) => {
    clearTimeout(timer);
    timer = setTimeout(() => !gone && work(), 100);
  };

  load(true).catch((error) => say(error.message, "error"));
  return {
    show: (address) => show(address).catch((error) => say(error.message, "error")),
    dispose() {
      gone = true;
      off();
    },
  };
}

const fresh = () => ({ items: [], next: null });
const PAGE = 200;
const MOST = 200;
