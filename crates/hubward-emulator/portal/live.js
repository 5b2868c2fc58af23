// The page's connection to the emulator. This file stores the emulator's status and events, and whether the emulator
// answers.

import { read } from "./api.js";

const listeners = new Map();

/** The emulator that this page is connected to. */
export const live = {
  /** `connecting`, `live` or `lost`. */
  state: "connecting",
  /** The last answer of `/api/status`. */
  status: null,
  /** The latest events, oldest first. */
  events: [],
  /** The endpoints, the CA file, the id scope and the hubs, as in the `ready` line. */
  get emulator() {
    return this.status.emulator;
  },
  /** The name of DPS in the settings of a device, as `hubward emulator env` prints it. */
  get dpsName() {
    return this.status.dpsName;
  },
  get hubs() {
    return this.emulator.hubs;
  },
};

/**
 * Adds a listener for a type of notification. Returns a function that removes the listener. The types are:
 *
 * - `event`: a new event.
 * - `past`: an event from before the page connected.
 * - `state`: the connection is lost or restored.
 * - `status`: a new status.
 * - `restart`: any state may have changed, so the page must load everything again.
 */
export function on(type, listener) {
  const those = listeners.get(type) ?? listeners.set(type, new Set()).get(type);
  those.add(listener);
  return () => those.delete(listener);
}

function tell(type, detail) {
  for (const listener of [...(listeners.get(type) ?? [])]) listener(detail);
}

/** Reads the status again. */
export async function refresh() {
  live.status = await read("/api/status");
  tell("status");
}

/** Connects, and reconnects whenever the connection is lost. The promise resolves after the first attempt. */
export async function start() {
  document.addEventListener("visibilitychange", () => {
    // A hidden page closes its connection. The reason: a browser opens at most six connections to one host, and all its
    // windows share them.
    if (document.hidden) stop();
    else connect();
  });
  await connect();
}

let source = null;
let attempt = 0;
let next = null;

function stop() {
  attempt += 1;
  source?.close();
  source = null;
}

async function connect() {
  stop();
  const mine = attempt;
  try {
    const known = live.status?.started;
    const status = await read("/api/status");
    if (mine !== attempt) return;
    live.status = status;
    tell("status");
    const anew = next === null || known !== status.started;
    if (anew) {
      // Also reads some earlier events, which the page shows as history.
      next = Math.max(0, status.events - HISTORY);
      live.events = [];
    }
    // After a reconnect, the events since the last received one count as new, so every section updates.
    follow(anew ? status.events : next, known !== undefined && known !== status.started);
  } catch {
    if (mine !== attempt) return;
    lost();
  }
}

/** Reads the event stream. An event whose number is below `first` is a `past` event. */
function follow(first, restarted) {
  const mine = attempt;
  source = new EventSource(`/api/events?from=${next}`);
  source.onopen = () => {
    if (mine !== attempt) return;
    change("live");
    if (restarted) tell("restart", "The emulator was restarted.");
  };
  source.onmessage = (message) => {
    const event = JSON.parse(message.data);
    next = event.seq + 1;
    live.events.push(event);
    if (live.events.length > HISTORY) live.events.splice(0, live.events.length - HISTORY);
    // Sections do not reload for past events.
    tell(event.seq < first ? "past" : "event", event);
    if (event.seq < first) return;
    if (event.kind === "reset" || event.kind === "imported") {
      tell("restart", event.kind === "reset" ? "All state was deleted." : "State was imported.");
    }
  };
  source.addEventListener("skipped", (message) => {
    // The emulator has dropped events that this page has not received.
    if (JSON.parse(message.data).next > first) tell("restart", "The page missed some events.");
  });
  source.onerror = () => {
    if (mine !== attempt) return;
    stop();
    lost();
  };
}

function lost() {
  change("lost");
  const mine = attempt;
  setTimeout(() => {
    if (mine === attempt && !document.hidden) connect();
  }, AGAIN);
}

function change(state) {
  if (live.state === state) return;
  live.state = state;
  tell("state", state);
}

const HISTORY = 500;
const AGAIN = 1000;
