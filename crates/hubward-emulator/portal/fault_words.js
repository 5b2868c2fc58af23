// The words for faults, and the parameters of each kind of fault.

import { count } from "./format.js";

/** Parses headers, one `Name: value` on each line. */
function parsed(lines) {
  const headers = {};
  for (const line of lines.split("\n").map((it) => it.trim()).filter(Boolean)) {
    const [, name, value] = /^([!#$%&'*+.^_`|~\w-]+):\s*(.*)$/.exec(line) ?? [];
    if (name === undefined) throw new Error(`“${line}” is not a header. Write Name: value.`);
    headers[name] = value;
  }
  return headers;
}

export const POINTS = {
  DpsRegister: "the device registers at DPS",
  DpsPoll: "the device polls its registration",
  DpsConnect: "the device connects to DPS (MQTT)",
  DpsSubscribe: "the device subscribes at DPS (MQTT)",
  HubConnect: "the device connects to its hub",
  HubSubscribe: "the device subscribes at its hub",
  HubPublish: "the device sends telemetry",
  HubTwinGet: "the device reads its twin",
  HubReported: "the device reports properties",
  HubDesired: "the hub sends desired properties",
  HubMethod: "the hub calls a method",
  HubCertificateRequest: "the device requests a certificate from its hub",
  HubCertificate: "the hub sends a requested certificate",
  WebSocketUpgrade: "a client opens a WebSocket",
  MqttAccept: "a client connects to the MQTT port",
  HttpsAccept: "a client connects to the HTTPS port",
  DpsService: "an operator calls DPS over HTTPS",
  HubService: "an operator calls a hub over HTTPS",
};

const number = (label, value, min = 0, max = undefined, step = undefined) =>
  ({ label, value: String(value), props: { type: "number", min: String(min), max, step } });
const text = (label, value, optional = false) => ({ label, value, optional, props: { type: "text", autocomplete: "off" } });
const seconds = (label, value) => ({ seconds: number(label, value, 0, 86400, "any") });
const inMillis = ({ seconds: those }) => ({ millis: Math.round(those * 1000) });
const shown = (millis) => `${millis / 1000} s`;

/** The text and the parameters of each fault. The emulator, not this table, decides which faults are possible. */
export const FAULTS = {
  Cut: { text: "the connection closes" },
  CutAfter: { text: "the connection closes after some bytes", parameters: { bytes: number("Bytes", 20) }, say: (it) => `the connection closes after ${count(it.bytes, "byte")}` },
  Never: { text: "no answer" },
  Delay: { text: "the answer is late", parameters: seconds("Seconds", 5), make: inMillis, say: (it) => `the answer is ${shown(it.millis)} late` },
  Drip: { text: "the answer arrives byte by byte", parameters: seconds("Seconds between bytes", 1), make: inMillis },
  Status: {
    text: "the service answers with an error",
    parameters: { status: number("Status", 500, 200, 599), code: number("Code", 500001), message: text("Message", "Something went wrong."), retryAfter: text("Retry-After", "", true), headers: { label: "More headers, one on each line", value: "", optional: true, element: "textarea", props: { rows: "2", autocomplete: "off", spellcheck: "false", class: "mono", placeholder: "Name: value" } } },
    make: ({ retryAfter, headers, ...it }) => ({ ...it, ...(retryAfter !== "" && { retryAfter }), ...(headers.trim() !== "" && { headers: parsed(headers) }) }),
    say: (it) => `the service answers ${it.status}, ${it.code}`,
  },
  Body: {
    text: "the answer has another body",
    parameters: { status: number("Status", 502, 200, 599), contentType: text("Content type", "text/html"), body: text("Body", "<h1>Bad Gateway</h1>") },
    say: (it) => `the answer is ${it.status} with another body`,
  },
  WrongJson: { text: "the answer is invalid JSON" },
  RetryAfter: {
    text: "the answer has another Retry-After", parameters: { value: text("Retry-After; none if empty", "30", true) },
    make: ({ value }) => ({ value: value === "" ? null : value }), say: (it) => `Retry-After is ${it.value ?? "absent"}`,
  },
  Chunked: { text: "the answer comes in chunks (HTTPS)", parameters: { bytes: number("Bytes in each chunk", 1, 1) } },
  Duplicate: { text: "the answer or message comes twice" },
  Stray: { text: "an unrelated answer comes first" },
  BeforePuback: { text: "the answer overtakes its PUBACK" },
  Connack: { text: "the login is refused", parameters: { code: number("CONNACK code", 5, 1, 255) }, say: (it) => `the login is refused, CONNACK ${it.code}` },
  Suback128: { text: "the subscription is refused" },
  HoldPuback: { text: "the message is logged, but never acknowledged" },
  HoldPubackFor: { text: "the message is acknowledged late", parameters: seconds("Seconds", 5), make: inMillis, say: (it) => `the message is acknowledged ${shown(it.millis)} late` },
  TokenExpired: { text: "the token counts as expired" },
  DeviceDisabled: { text: "the device is disabled at that moment" },
  DeviceDeleted: { text: "the device is deleted at that moment" },
  HubMoved: { text: "the device moves to another hub" },
};

/** The text of a scripted fault. */
export function describe({ point, fault }) {
  const known = FAULTS[fault.kind];
  return `${POINTS[point] ?? point}: ${known?.say?.(fault) ?? known?.text ?? fault.kind}`;
}

/** The text of the journal about a fault, such as `Status 500 500001 at DpsRegister, 3 times`, in plain words. */
export function plainly(text) {
  const [, kind, details, point, rest] = PARTS.exec(text) ?? [];
  if (kind === undefined) return text;
  // Only simple values are readable.
  const [, values] = /^ ?\(?([\w.][\w. ]*)\)?$/.exec(details) ?? [];
  return `when ${POINTS[point]}, ${FAULTS[kind]?.text ?? kind}${values === undefined ? "" : ` (${values})`}${rest}`;
}
const PARTS = new RegExp(`^(\\w+)(.*) at (${Object.keys(POINTS).join("|")})\\b(.*)$`, "s");
