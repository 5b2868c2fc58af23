// The section with the CA certificates: upload, proof of possession, delete. DPS and all hubs use the same certificates.

import { read, readIfThere, request } from "./api.js";
import { confirmByName, open as dialog } from "./dialog.js";
import { action, field, fill, h, headings, mark, roving, say } from "./dom.js";
import { when } from "./format.js";
import { copyText } from "./lines.js";
import { on } from "./live.js";
import { armBase64, certificateField } from "./pem.js";
import { go, link } from "./route.js";

const path = (...segments) => `/api/certificates${segments.map((it) => `/${encodeURIComponent(it)}`).join("")}`;

export function certificates({ list, detail, narrow }) {
  const rows = h("ul", { class: "rows three", "aria-label": "CA certificates" });
  const rove = roving(rows, "a");
  const total = h("p", { class: "hint", role: "status" });
  const state = { items: [], chosen: null };
  let gone = false;

  fill(
    list,
    h("div", { class: "pane-head" },
      h("h1", null, "CA certificates"),
      h("button", { type: "button", class: "primary", on: { click: upload } }, "New CA certificate…")),
    headings("three", ["Certificate", "Status", "Expiry"]),
    rows, total,
  );

  async function load() {
    const { value } = await read(path());
    if (gone) return;
    state.items = value;
    draw();
  }

  function draw() {
    fill(rows, state.items.map((it) => h("li", null,
      h("a", { href: link("certificates", it.name), "aria-current": state.chosen === it.name.toLowerCase() ? "true" : null },
        h("span", { class: "id" }, it.name),
        status(it),
        h("span", { class: "dim" }, when(it.properties.expiry))))));
    rove.refresh();
    fill(total, state.items.length > 0 ? "" : "No CA certificate yet. A group can also have a certificate of its own.");
  }

  const status = ({ properties }) => (properties.isVerified ? mark("good", "verified") : mark("wait", "not verified"));

  async function show({ path: [name] }) {
    state.chosen = name?.toLowerCase() ?? null;
    draw();
    if (name === undefined) {
      fill(detail, h("p", { class: "quiet" }, "A CA certificate issues the certificates of devices. DPS and all hubs of this emulator use the same list. Select one, or add one."));
      return;
    }
    narrow("detail");
    await open(name);
  }

  async function open(name, code = null) {
    const mine = state.chosen;
    const it = await readIfThere(path(name));
    if (gone || state.chosen !== mine) return;
    if (!it) {
      fill(detail, back(), h("h1", { class: "id" }, name), h("p", { class: "quiet" }, "No CA certificate has this name."));
      return;
    }
    const { properties } = it;
    fill(
      detail,
      back(),
      h("div", { class: "pane-head" },
        h("h1", { class: "id" }, it.name),
        h("div", { class: "actions" }, h("button", { type: "button", class: "danger", on: { click: () => remove(it) } }, "Delete…"))),
      h("dl", { class: "facts" },
        fact("Status", status(it), !properties.isVerified && ". Devices cannot use it yet."),
        fact("Subject", h("code", null, properties.subject)),
        fact("SHA-1 thumbprint", h("code", { class: "wrap" }, properties.thumbprint)),
        fact("Expiry", when(properties.expiry)),
        fact("Created", when(properties.created)),
        fact("Updated", when(properties.updated))),
      !properties.isVerified && proof(it, code),
    );
  }

  /** The proof that the user has the private key of the certificate. */
  function proof(it, code) {
    const generate = h("button", { type: "button", on: { click: action(() => generateCode(it)) } }, code ? "Generate another code" : "Generate code");
    const signed = certificateField("Verification certificate", "Its common name (CN) is the code, and the private key of this certificate has signed it.");
    const problem = h("p", { role: "alert", class: "problem" });
    const submit = async (event) => {
      event.preventDefault();
      fill(problem);
      const certificate = signed.read();
      if (certificate === undefined) return;
      if (certificate === null) return fill(problem, "Paste the verification certificate, or choose its file.");
      try {
        await request("POST", path(it.name, "verify"), { body: { certificate: armBase64(certificate) }, headers: { "If-Match": "*" } });
        say(`${it.name} is verified`);
        await Promise.all([load(), open(it.name)]);
      } catch (error) {
        fill(problem, error.message);
      }
    };
    const command = code && `hubward x509 prove --code ${code} --issuer-cert CERT --issuer-key KEY --cert-out proof.pem`;
    return h("section", { class: "part" },
      h("h2", null, "Prove that you have the private key"),
      h("p", { class: "quiet" }, "Devices can use the certificate after this proof. The private key stays with you."),
      h("div", { class: "actions" }, generate,
        code && h("button", { type: "button", on: { click: action(() => copyText(code).then(() => say("Copied the code"))) } }, "Copy code")),
      code && h("dl", { class: "facts" }, fact("Verification code", h("code", { class: "wrap" }, code))),
      code && h("pre", { class: "code", tabindex: "0", "aria-label": "Command that creates the verification certificate" }, command),
      code && h("form", { on: { submit } }, signed.element, problem,
        h("div", { class: "actions" }, h("button", { type: "submit", class: "primary" }, "Verify"))));
  }

  async function generateCode(it) {
    const answer = await request("POST", path(it.name, "generateVerificationCode"), { headers: { "If-Match": "*" } });
    await open(it.name, answer.json.properties.verificationCode);
  }

  function upload() {
    dialog("New CA certificate", (close) => {
      const name = h("input", {
        type: "text", required: true, autofocus: true, maxlength: "64", autocomplete: "off", autocapitalize: "off",
        spellcheck: "false", class: "mono",
      });
      const certificate = certificateField("Certificate", "Only the certificate. The private key stays with you.");
      const trusted = h("input", { type: "checkbox" });
      const problem = h("p", { role: "alert", class: "problem" });
      const submit = async (event) => {
        event.preventDefault();
        fill(problem);
        const text = certificate.read();
        if (text === undefined) return;
        if (text === null) return fill(problem, "Paste the certificate, or choose its file.");
        try {
          const body = { properties: { certificate: armBase64(text), isVerified: trusted.checked } };
          const made = await request("PUT", path(name.value.trim()), { body });
          close();
          say(`${made.json.name} is uploaded`);
          await load();
          go(link("certificates", made.json.name));
        } catch (error) {
          fill(problem, error.status === 409 ? `${name.value.trim()} already exists.` : error.message);
        }
      };
      return h("form", { on: { submit } },
        field("Name", name, "At most 64 letters, digits and - . _ characters."),
        certificate.element,
        h("label", { class: "check" }, trusted, "Trust it without a proof"),
        problem,
        h("div", { class: "actions" },
          h("button", { type: "submit", class: "primary" }, "Upload"),
          h("button", { type: "button", on: { click: close } }, "Cancel")));
    }, { wide: true });
  }

  function remove(it) {
    confirmByName({
      title: "Delete CA certificate",
      name: it.name,
      text: "DPS and the hubs no longer accept the certificates that it has issued.",
      async work() {
        await request("DELETE", path(it.name), { headers: { "If-Match": "*" } });
        say(`${it.name} is deleted`);
        go("#/certificates");
      },
    });
  }

  const fact = (name, ...value) => [h("dt", null, name), h("dd", null, ...value)];
  const back = () => h("a", { class: "back", href: "#/certificates" }, "‹ CA certificates");

  const off = on("event", (event) => {
    if (!/^(authority|imported|reset)/.test(event.kind)) return;
    clearTimeout(timer);
    timer = setTimeout(() => !gone && load().catch((error) => say(error.message, "error")), 100);
  });
  let timer = 0;

  load().catch((error) => say(error.message, "error"));
  return {
    show: (address) => show(address).catch((error) => say(error.message, "error")),
    dispose() {
      gone = true;
      off();
    },
  };
}
