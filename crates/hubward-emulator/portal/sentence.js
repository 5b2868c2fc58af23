// The emulator's events in plain words.

import { plainly } from "./fault_words.js";
import { duration } from "./format.js";

/**
 * An event as a sentence. Without `withId`, the sentence does not name the device or the enrollment, because the page
 * is about it.
 */
export function sentence(event, withId = true) {
  const id = withId && event.id ? event.id : null;
  const text = WORDS[event.kind]?.(event, id) ?? unknown(event);
  // An id keeps its letter case.
  return id !== null && text.startsWith(id) ? text : text.charAt(0).toUpperCase() + text.slice(1);
}

/** Whether the event is a refusal or a failure. */
export const isBad = ({ kind }) => /^refused$|Failed$/.test(kind);

const why = ({ message, code }) => {
  const number = code === undefined ? "" : ` (${code})`;
  return message ? `: ${message}${number}` : number;
};
const to = ({ hub }) => (hub ? ` ${hub}` : " its hub");
const at = ({ hub }) => (hub ? ` at ${hub}` : "");

const SUBSTATUS = {
  initialAssignment: "for the first time",
  reprovisionedToInitialAssignment: "again",
  deviceDataMigrated: "again; its twin moved with it",
  deviceDataReset: "again; its twin was reset",
};

function registered(event, id) {
  const [, how, device] = /^(\w*)(?:, as (.*))?$/s.exec(event.message) ?? [];
  const place = device === undefined ? "" : ` as ${device}`;
  return `${id ?? "the device"} registered ${SUBSTATUS[how] ?? ""}; DPS assigned it to ${event.hub}${place}`.replace(" ;", ";");
}

const REFUSERS = {
  dps: "DPS", hub: "the hub", dpsService: "the service API of DPS", hubService: "the service API of the hub",
  emulator: "the emulator",
};

function refused(event, id) {
  const operator = /Service$/.test(event.source) || event.source === "emulator";
  return `${REFUSERS[event.source] ?? event.source} refused ${operator ? "a request" : id ?? (event.id ? "the device" : "a device")}${why(event)}`;
}

const of = (one, id) => (id === null ? `the ${one}` : `the ${one} ${id}`);
const done = (one, verb) => (event, id) => `${of(one, id)} was ${verb}`;
const device = (verb) => (event, id) => `${id ?? "the device"} was ${verb}${at(event)}${why(event)}`;

const WORDS = {
  registered,
  registrationFailed: (event, id) => `DPS found no hub for ${id ?? "the device"}${why(event)}`,
  refused,
  certificateIssued: (event, id) => `${REFUSERS[event.source] ?? event.source} issued a certificate to ${id ?? "the device"}${why(event)}`,
  handshakeFailed: (event) => `a client could not complete the TLS handshake${why(event)}`,
  connected: (event, id) => `${id ?? "the device"} connected to${to(event)}`,
  disconnected: (event, id) => `${id ?? "the device"} disconnected from${to(event)}${why(event)}`,
  enrollmentCreated: done("enrollment", "created"),
  enrollmentUpdated: done("enrollment", "changed"),
  enrollmentDeleted: done("enrollment", "deleted"),
  enrollmentGroupCreated: done("enrollment group", "created"),
  enrollmentGroupUpdated: done("enrollment group", "changed"),
  enrollmentGroupDeleted: done("enrollment group", "deleted"),
  authorityCreated: done("CA certificate", "created"),
  authorityUpdated: done("CA certificate", "changed"),
  authorityDeleted: done("CA certificate", "deleted"),
  registrationDeleted: (event, id) => `the registration${id === null ? "" : ` of ${id}`} was deleted`,
  deviceCreated: device("created"),
  deviceUpdated: device("changed"),
  deviceDeleted: device("deleted"),
  twinUpdated: (event, id) => `the twin${id === null ? "" : ` of ${id}`} was changed${why(event)}`,
  twinReported: (event, id) => `${id ?? "the device"} reported properties${why(event)}`,
  methodInvoked: (event, id) => `a method of ${id ?? "the device"} was called${why(event)}`,
  messageSent: (event, id) => `a message to ${id ?? "the device"} was queued${why(event)}`,
  faultScripted: ({ message }) => `a fault was added: ${plainly(message)}`,
  faultHappened: ({ message }, id) => `a fault happened${id === null ? "" : ` to ${id}`}: ${plainly(message)}`,
  faultsCleared: () => "all faults were cleared",
  clockMoved: ({ message }) => {
    const seconds = Number(/^(\d+) s ahead$/.exec(message)?.[1] ?? NaN);
    if (Number.isNaN(seconds)) return `the clock was set: ${message}`;
    return seconds === 0 ? "the clock was set to the time of this machine" : `the clock was set ${duration(seconds)} ahead`;
  },
  imported: () => "state was imported",
  reset: () => "all state was deleted",
};

/** An event of a newer emulator. */
function unknown(event) {
  const words = event.kind.replace(/([A-Z])/g, (letter) => ` ${letter.toLowerCase()}`);
  return `${event.id ? `${event.id}: ` : ""}${words}${why(event)}`;
}
