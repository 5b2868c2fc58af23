// The dialog that creates an enrollment or an enrollment group.

import { dps, request } from "./api.js";
import { open } from "./dialog.js";
import { field, fill, h, say, select } from "./dom.js";
import { editor as jsonEditor } from "./editor.js";
import { derived, lines } from "./lines.js";
import { live, refresh } from "./live.js";
import { go, link } from "./route.js";

/** Opens the dialog. */
export function editor({ group = false } = {}) {
  open("New enrollment", (close, place) => form(group, close, place), { wide: true });
}

function form(group, close, place) {
  const kind = (value, text, hint) => {
    const radio = h("input", { type: "radio", name: "kind", value, checked: (value === "group") === group });
    radio.addEventListener("change", () => {
      group = value === "group";
      adapt();
    });
    return h("label", { class: "choice" }, radio, h("span", null, h("b", null, text), h("small", null, hint)));
  };
  const id = h("input", {
    type: "text", required: true, autofocus: true, maxlength: "128", autocomplete: "off", autocapitalize: "off",
    spellcheck: "false", class: "mono",
  });
  const deviceId = h("input", { type: "text", maxlength: "128", autocomplete: "off", spellcheck: "false", class: "mono" });
  const allocation = select([["hashed", "hashed: spread evenly over the hubs"], ["static", "static: the first hub"]], "hashed");
  const reprovision = select(Object.entries(REPROVISION).map(([key, it]) => [key, it.text]), "migrate");
  const hubs = live.hubs.map((name) => [name, h("input", { type: "checkbox", checked: true })]);
  const enabled = h("input", { type: "checkbox", checked: true });
  const twin = jsonEditor({ label: "Initial twin", rows: 7, value: '{\n  "tags": {},\n  "properties": { "desired": {} }\n}' });
  const problem = h("p", { role: "alert", class: "problem" });
  const label = h("span", null);
  const deviceField = field("Device id", deviceId, "Only if it differs from the registration id.");
  const submit = h("button", { type: "submit", class: "primary" }, "Create");

  function adapt() {
    fill(label, group ? "Name of the group" : "Registration id");
    deviceField.hidden = group;
  }
  adapt();

  async function create(event) {
    event.preventDefault();
    if (submit.getAttribute("aria-busy")) return;
    fill(problem);
    const initialTwin = twin.read();
    if (initialTwin === undefined) return;
    const chosen = hubs.filter(([, box]) => box.checked).map(([name]) => name);
    if (chosen.length === 0) return fill(problem, "Select at least one hub.");
    const name = id.value.trim();
    const body = {
      [group ? "enrollmentGroupId" : "registrationId"]: name,
      attestation: { type: "symmetricKey" },
      provisioningStatus: enabled.checked ? "enabled" : "disabled",
      allocationPolicy: allocation.value,
      reprovisionPolicy: REPROVISION[reprovision.value].policy,
      iotHubs: chosen,
      initialTwin,
    };
    if (!group && deviceId.value.trim()) body.deviceId = deviceId.value.trim();
    submit.setAttribute("aria-busy", "true");
    try {
      const made = await request("PUT", dps(group ? "enrollmentGroups" : "enrollments", name), { body });
      await refresh();
      done(group, name, made.json.attestation.symmetricKey.primaryKey, close, place);
    } catch (error) {
      fill(problem, error.status === 409 ? `${name} already exists.` : error.message);
      id.focus();
    } finally {
      submit.removeAttribute("aria-busy");
    }
  }

  return h(
    "form",
    { class: "enroll", on: { submit: create } },
    h("fieldset", { class: "choices" }, h("legend", null, "For"),
      kind("individual", "One device", "an individual enrollment with its own keys"),
      kind("group", "Many devices", "a group: each device's key is derived from the group's")),
    field(label, id, "At most 128 letters, digits and - . _ : characters. DPS generates both keys."),
    h("details", { class: "more" },
      h("summary", null, "Hubs, twin, policies"),
      deviceField,
      hubs.length > 1 && h("fieldset", null, h("legend", null, "Hubs"),
        hubs.map(([name, box]) => h("label", { class: "check" }, box, h("code", null, name)))),
      hubs.length > 1 && field("Allocation", allocation),
      field("When the device registers again", reprovision),
      twin.element,
      h("label", { class: "check" }, enabled, "Enabled")),
    problem,
    h("div", { class: "actions" }, submit, h("button", { type: "button", on: { click: close } }, "Cancel")),
  );
}

/** Shows the settings of the new enrollment. */
function done(group, name, key, close, place) {
  const show = h("button", {
    type: "button",
    on: {
      click() {
        close();
        go(link("enrollments", group ? "groups" : "enrollments", name));
      },
    },
  }, "Show enrollment");
  fill(
    place,
    h("p", { class: "made" }, h("code", null, name), " is created, with generated keys."),
    group ? derived(name, key) : lines(name, key),
    h("div", { class: "actions" }, h("button", { type: "button", class: "primary", on: { click: close } }, "Done"), show),
  );
  place.querySelector("button.primary")?.focus();
  say(`${name} is created`);
}

/** The policies for a device that registers again. */
export const REPROVISION = {
  migrate: {
    text: "it may move to another hub, with its twin",
    policy: { updateHubAssignment: true, migrateDeviceData: true },
  },
  reset: {
    text: "it may move to another hub, with the initial twin",
    policy: { updateHubAssignment: true, migrateDeviceData: false },
  },
  never: {
    text: "it stays at its hub",
    policy: { updateHubAssignment: false, migrateDeviceData: false },
  },
};
