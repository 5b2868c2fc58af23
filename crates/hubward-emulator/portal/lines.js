// Shell commands and code that let a program connect to this emulator as a device. The page shows a mask instead of the
// key, but the Copy button copies the real key.

import { action, field, fill, h, roving, say, unique } from "./dom.js";
import { MASK } from "./format.js";
import { live } from "./live.js";

/**
 * Ready-to-paste lines for a registration id and its key. If `key` is null, the device has a certificate, and the lines
 * name the files that `hubward x509 new-device` writes.
 */
export function lines(registrationId, key) {
  const tab = unique("lines");
  const code = h("pre", { class: "code", id: tab, tabindex: "0", role: "tabpanel", "aria-label": "Lines to paste" });
  const hint = h("p", { class: "hint" });
  let chosen = remembered();
  let revealed = false;

  const tabs = KINDS.map((kind) =>
    h("button", {
      type: "button", role: "tab", "aria-controls": tab, data: { kind: kind.id },
      on: { click: () => choose(kind.id) },
    }, kind.name));
  const reveal = h("button", { type: "button", "aria-pressed": "false", on: { click: toggle } }, "Reveal key");
  const copy = h("button", { type: "button", class: "primary", on: { click: action(onCopy) } }, "Copy");
  const bar = h("div", { class: "tabs small", role: "tablist", "aria-label": "Language of the lines" }, tabs);
  const rove = roving(bar, "[role=tab]");

  const kind = () => KINDS.find((it) => it.id === chosen);
  const text = (shown) => kind().text(variables(registrationId, shown));
  function draw() {
    for (const it of tabs) it.setAttribute("aria-selected", String(it.dataset.kind === chosen));
    fill(code, text(revealed || key === null ? key : MASK));
    fill(hint, [kind().hint, kind().forSdks && portsNote(live.emulator)].filter(Boolean).join(" "));
    for (const it of tabs) it.tabIndex = it.dataset.kind === chosen ? 0 : -1;
  }
  function choose(id) {
    chosen = id;
    try {
      localStorage.setItem(REMEMBERED, id);
    } catch { /* Without storage, the page does not remember the choice. */ }
    draw();
  }
  function toggle() {
    revealed = !revealed;
    reveal.setAttribute("aria-pressed", String(revealed));
    fill(reveal, revealed ? "Hide key" : "Reveal key");
    draw();
  }
  async function onCopy() {
    await copyText(text(key));
    say(`Copied the lines for ${kind().name}${key === null ? "" : `, with the key of ${registrationId}`}`);
  }
  draw();
  rove.refresh();
  return h(
    "section",
    { class: "lines", "aria-label": `Lines for ${registrationId}` },
    h("div", { class: "lines-bar" }, bar, h("div", { class: "actions" }, key !== null && reveal, copy)),
    code,
    hint,
  );
}

/**
 * Creates a field for a registration id, and shows the lines for the device of a group that has this id. If `groupKey`
 * is null, the devices of the group have certificates.
 */
export function derived(group, groupKey) {
  const place = h("div");
  const id = h("input", {
    type: "text", value: "dev-1", maxlength: "128", autocomplete: "off", autocapitalize: "off", spellcheck: "false",
    class: "mono",
  });
  let asked = 0;
  async function draw() {
    asked += 1;
    const mine = asked;
    const name = id.value.trim();
    if (name === "") return fill(place);
    try {
      const key = groupKey === null ? null : await deviceKey(groupKey, name);
      if (mine === asked) fill(place, lines(name, key));
    } catch (error) {
      fill(place, h("p", { class: "problem" }, error.message));
    }
  }
  id.addEventListener("input", draw);
  draw();
  return h("div", { class: "derived" },
    field("Registration id of the device", id, groupKey === null
      ? "The common name (CN) of the device's certificate is this id."
      : `Any id works: its key is derived from the key of ${group}.`), place);
}

/**
 * Derives the key of a device from the key of its group: the HMAC-SHA256 of the registration id. Throws an error if the
 * browser does not allow cryptography on this page.
 */
async function deviceKey(groupKey, registrationId) {
  if (!crypto.subtle) {
    throw new Error("The browser can derive keys only on a page of localhost. Use hubward dps enrollment-group compute-device-key instead.");
  }
  const bytes = Uint8Array.from(atob(groupKey), (it) => it.charCodeAt(0));
  const key = await crypto.subtle.importKey("raw", bytes, { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
  const signature = await crypto.subtle.sign("HMAC", key, new TextEncoder().encode(registrationId));
  return btoa(String.fromCharCode(...new Uint8Array(signature)));
}

/** A masked secret with the buttons Copy and Reveal. */
export function secret(label, value) {
  let revealed = false;
  const shown = h("code", { class: "secret" }, MASK);
  const reveal = h("button", {
    type: "button", "aria-pressed": "false", "aria-label": `Reveal ${label}`,
    on: {
      click() {
        revealed = !revealed;
        reveal.setAttribute("aria-pressed", String(revealed));
        fill(reveal, revealed ? "Hide" : "Reveal");
        fill(shown, revealed ? value : MASK);
      },
    },
  }, "Reveal");
  const copy = h("button", {
    type: "button", "aria-label": `Copy ${label}`,
    on: {
      click: action(async () => {
        await copyText(value);
        say(`Copied ${label}`);
      }),
    },
  }, "Copy");
  return h("span", { class: "secret-line" }, shown, copy, reveal);
}

/** Copies a text to the clipboard. `navigator.clipboard` exists only on pages of HTTPS and of this machine. */
export async function copyText(text) {
  if (navigator.clipboard) {
    await navigator.clipboard.writeText(text);
    return;
  }
  const area = h("textarea", { class: "away", "aria-hidden": "true", value: text });
  (document.querySelector("dialog[open]") ?? document.body).append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  if (!done) throw new Error("The browser does not allow this page to copy. Reveal the key and copy it by hand.");
}

/** Returns the variables that `hubward emulator` prints, with the id and key of this device. */
function variables(registrationId, key) {
  const { idScope, caFile } = live.emulator;
  return {
    device: [
      ["PROVISIONING_HOST", live.dpsName],
      ["PROVISIONING_IDSCOPE", idScope],
      ["PROVISIONING_REGISTRATION_ID", registrationId],
      ...(key === null
        ? [["X509_CERT_FILE", `${registrationId}.pem`], ["X509_KEY_FILE", `${registrationId}.key`]]
        : [["PROVISIONING_SYMMETRIC_KEY", key]]),
    ],
    hubward: [["HUBWARD_CA_FILE", caFile], ["HUBWARD_CONNECT_TO", connectTo(live.emulator)]],
    python: [["SSL_CERT_FILE", caFile]],
    node: [["NODE_EXTRA_CA_CERTS", caFile]],
  };
}

/**
 * Returns the value of HUBWARD_CONNECT_TO. This variable makes hubward connect to the emulator's ports instead of the
 * services' ports, but only for the emulator's own names.
 */
function connectTo({ names, mqtt, https }) {
  const rule = (name, port, address) => {
    const from = `${name.includes(":") ? `[${name}]` : name}:${port}`;
    const to = address?.replace("0.0.0.0", "127.0.0.1").replace("[::]", "[::1]");
    return to && to !== from && `${from}:${to}`;
  };
  return names.flatMap((name) => [rule(name, 8883, mqtt[0]), rule(name, 443, https[0])]).filter(Boolean).join(",");
}

/** Returns a note if the emulator does not listen on the ports that Microsoft's SDKs always use. */
export function portsNote({ mqtt, https }) {
  const port = (addresses) => addresses[0]?.split(":").pop();
  const [one, other] = [port(mqtt), port(https)];
  if (one === "8883" && other === "443") return "";
  if (one === "8883") {
    return `Microsoft's SDKs can use MQTT only: their port for HTTPS and WebSocket is always 443, not ${other} (see --standard-ports).`;
  }
  if (other === "443") {
    return `Microsoft's SDKs can use HTTPS and WebSocket only: their port for MQTT is always 8883, not ${one} (see --mqtt-port).`;
  }
  return `Microsoft's SDKs cannot use this emulator: their ports are always 8883 and 443, not ${one} and ${other}.`;
}

const everything = ({ device, hubward, python, node }) => [...device, ...hubward, ...python, ...node];
const shell = (line, comment) => (vars) => [...everything(vars).map(([name, value]) => line(name, value)), comment].join("\n");
const quoted = (text) => JSON.stringify(text);
const single = (text, escape) => `'${text.replaceAll("'", escape)}'`;

const KINDS = [
  {
    id: "bash", name: "bash",
    text: shell((name, value) => `export ${name}=${single(value, "'\\''")}`, "# then: hubward provision --messages 10"),
    forSdks: true,
    hint: "Also for zsh and dash. Then run hubward provision --messages 10, or a program with Microsoft's SDK.",
  },
  {
    id: "pwsh", name: "PowerShell",
    text: shell((name, value) => `$env:${name} = ${single(value, "''")}`, "# then: hubward provision --messages 10"),
    forSdks: true,
    hint: "Then run hubward provision --messages 10, or a program with Microsoft's SDK.",
  },
  {
    id: "cmd", name: "cmd",
    text: shell((name, value) => `set "${name}=${value}"`, "rem then: hubward provision --messages 10"),
    forSdks: true,
    hint: "Then run hubward provision --messages 10, or a program with Microsoft's SDK.",
  },
  {
    id: "python", name: "Python",
    text: ({ device, python }) =>
      ["import os", "os.environ.update({", ...[...device, ...python].map(([name, value]) => `    ${quoted(name)}: ${quoted(value)},`), "})"].join("\n"),
    forSdks: true,
    hint: "Put these lines first; the rest is as in Microsoft's samples, which read os.environ.",
  },
  {
    id: "node", name: "Node",
    text: ({ device, node: [[name, file]] }) =>
      [
        `// start with ${name}=${quoted(file)}: Node reads it once`,
        "Object.assign(process.env, {",
        ...device.map(([name, value]) => `  ${name}: ${quoted(value)},`),
        "});",
      ].join("\n"),
    forSdks: true,
    hint: "Put these lines first; the rest is as in Microsoft's samples, which read process.env.",
  },
  {
    id: "rust", name: "Rust",
    text: ({ device, hubward }) =>
      [
        "let vars = [",
        ...[...device, ...hubward].map(([name, value]) => `    (${quoted(name)}, ${quoted(value)}),`),
        "];",
        "let value = |name: &str| vars.iter().find(|it| it.0 == name).map(|it| it.1.to_owned());",
        "let hub = hubward::connect(&hubward::Settings::from_vars(value)?).await?;",
      ].join("\n"),
    hint: "Needs the crate hubward. For a program that uses Settings::from_env(), use the lines for the shell.",
  },
];

const REMEMBERED = "hubward.lines";
function remembered() {
  let id = null;
  try {
    id = localStorage.getItem(REMEMBERED);
  } catch { /* The page does not remember the choice. */ }
  return KINDS.some((it) => it.id === id) ? id : (navigator.userAgent.includes("Windows") ? "pwsh" : "bash");
}
