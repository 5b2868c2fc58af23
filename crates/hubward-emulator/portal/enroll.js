// The dialog that creates an enrollment or an enrollment group.

import { dps, read, request } from "./api.js";
import { open } from "./dialog.js";
import { field, fill, h, say, select } from "./dom.js";
import { editor as jsonEditor } from "./editor.js";
import { derived, lines } from "./lines.js";
import { live, refresh } from "./live.js";
import { certificateField } from "./pem.js";
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
  const attestation = h("select", null);
  const primary = certificateField("Certificate", "PEM or base64. Only the certificate: the private key stays with the device.");
  const secondary = certificateField("Second certificate", "Optional, for example while certificates are replaced.");
  const authority = h("select", null);
  const authorityField = field("CA certificate", authority);
  const keysHint = h("p", { class: "hint" }, "DPS generates both keys.");
  const files = h("div", null, primary.element, h("details", { class: "more" }, h("summary", null, "Second certificate"), secondary.element));
  let known = [];
  read("/api/certificates").then(({ value }) => {
    known = value.map((it) => it.name);
    adapt();
  }).catch((error) => say(error.message, "error"));
  attestation.addEventListener("change", () => adapt());
  const problem = h("p", { role: "alert", class: "problem" });
  const label = h("span", null);
  const deviceField = field("Device id", deviceId, "Only if it differs from the registration id.");
  const submit = h("button", { type: "submit", class: "primary" }, "Create");

  function adapt() {
    fill(label, group ? "Name of the group" : "Registration id");
    deviceField.hidden = group;
    const types = [["key", "symmetric key"], ["x509", group ? "X.509: certificate of the authority" : "X.509: certificate of the device"]];
    if (group && known.length > 0) types.push(["authority", "X.509: CA certificate of this emulator"]);
    const chosen = types.some(([it]) => it === attestation.value) ? attestation.value : "key";
    fill(attestation, [...select(types, chosen).children]);
    attestation.value = chosen;
    if (authority.children.length !== known.length) fill(authority, [...select(known.map((it) => [it, it]), known[0]).children]);
    keysHint.hidden = chosen !== "key";
    files.hidden = chosen !== "x509";
    authorityField.hidden = chosen !== "authority";
  }
  adapt();

  /** The attestation of the request. Returns undefined if a certificate is missing, and shows the reason. */
  function chosenAttestation() {
    if (attestation.value === "key") return { type: "symmetricKey" };
    if (attestation.value === "authority") return { type: "x509", x509: { caReferences: { primary: authority.value } } };
    const [one, other] = [primary.read(), secondary.read()];
    if (one === undefined || other === undefined) return undefined;
    if (one === null) {
      fill(problem, "Paste the certificate, or choose its file.");
      return undefined;
    }
    const pair = { primary: { certificate: one }, ...(other === null ? {} : { secondary: { certificate: other } }) };
    return { type: "x509", x509: { [group ? "signingCertificates" : "clientCertificates"]: pair } };
  }

  async function create(event) {
    event.preventDefault();
    if (submit.getAttribute("aria-busy")) return;
    fill(problem);
    const initialTwin = twin.read();
    if (initialTwin === undefined) return;
    const chosen = hubs.filter(([, box]) => box.checked).map(([name]) => name);
    if (chosen.length === 0) return fill(problem, "Select at least one hub.");
    const name = id.value.trim();
    const how = chosenAttestation();
    if (how === undefined) return;
    const body = {
      [group ? "enrollmentGroupId" : "registrationId"]: name,
      attestation: how,
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
      done(group, name, made.json.attestation.symmetricKey?.primaryKey ?? null, close, place);
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
      kind("individual", "One device", "an individual enrollment with its own keys or certificate"),
      kind("group", "Many devices", "a group: each device has a key or certificate of its own")),
    field(label, id, "At most 128 letters, digits and - . _ : characters."),
    field("Devices authenticate with", attestation),
    keysHint, files, authorityField,
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
    h("p", { class: "made" }, h("code", null, name), key === null ? " is created, with certificates." : " is created, with generated keys."),
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
