// What goes on at the emulator: its status, its events as they come, and whether it is there at all.

import { read } from "./api.js";

const listeners = new Map();

/** Whom this page talks to. */
export const live = {
  /** `connecting`, `live` or `lost`. */
  state: "connecting",
  /** What `/api/status` said last. */
  status: null,
  /** The newest events, the oldest of them first. */
  events: [],
  /** Endpoints, CA file, id scope and hubs, as the `ready` line has them. */
  get emulator() {
    return this.status.emulator;
  },
  get hubs() {
    return this.emulator.hubs;
  },
};

/**
 * Listens; what is returned ends that. `event` brings what happens, `past` what happened before, `state` that the connection
 * was lost or is back, `restart` that another emulator answers or that all its state is new.
 */
export function on(type, listener) {
  const those = listeners.get(type) ?? listeners.set(type, new Set()).get(type);
  those.add(listener);
  return () => those.delete(listener);
}

function tell(type, detail) {
  for (const listener of [...(listeners.get(type) ?? [])]) listener(detail);
}

/** Asks for the status again. */
export async function refresh() {
  live.status = await read("/api/status");
  tell("status");
}

/** Begins, and never gives up. Resolves when the emulator has answered for the first time. */
export async function start() {
  document.addEventListener("visibilitychange", () => {
    // A browser opens six connections to one place, for all its windows together.
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
      // A page of the latest, so that what led here can be read.
      next = Math.max(0, status.events - HISTORY);
      live.events = [];
    }
    // What has happened while nobody looked is news: every section catches up with it.
    follow(anew ? status.events : next, known !== undefined && known !== status.started);
  } catch {
    if (mine !== attempt) return;
    lost();
  }
}

/** Events before number `first` have led here. */
function follow(first, restarted) {
  const mine = attempt;
  source = new EventSource(`/api/events?from=${next}`);
  source.onopen = () => {
    if (mine !== attempt) return;
    change("live");
    if (restarted) tell("restart", "The emulator was started anew.");
  };
  source.onmessage = (message) => {
    const event = JSON.parse(message.data);
    next = event.seq + 1;
    live.events.push(event);
    if (live.events.length > HISTORY) live.events.splice(0, live.events.length - HISTORY);
    // What led here is told as well, but nobody has to act on it.
    tell(event.seq < first ? "past" : "event", event);
    if (event.seq < first) return;
    if (event.kind === "reset" || event.kind === "imported") {
      tell("restart", event.kind === "reset" ? "All state was thrown away." : "State was imported.");
    }
  };
  source.addEventListener("skipped", (message) => {
    // More has happened than the emulator keeps.
    if (JSON.parse(message.data).next > first) tell("restart", "Much has happened meanwhile.");
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
