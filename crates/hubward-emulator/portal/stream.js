// Reads the telemetry of a hub or device from the emulator, and reconnects.

import { read } from "./api.js";
import { say } from "./dom.js";
import { live, on } from "./live.js";

/**
 * Begins with about `past` earlier messages. Calls `message` with each message, `skipped` with the number of messages
 * that the emulator has dropped, and `changed` when the stream is connected or lost. `id` is a device, a module
 * `{device}/{module}`, or `null` for all devices of the hub.
 */
export function stream(hub, id, past, { message, skipped = () => {}, changed = () => {} }) {
  const query = filter(id);
  let source = null;
  let next = null;
  let gone = false;

  async function start() {
    source?.close();
    source = null;
    if (gone || document.hidden || live.state !== "live") return changed();
    if (next === null) {
      const status = await read("/api/status");
      if (gone || source) return;
      const end = status.hubs.find((it) => it.hub.toLowerCase() === hub.toLowerCase())?.telemetry ?? 0;
      next = Math.max(0, end - past);
    }
    source = new EventSource(`${base(hub)}?${[`from=${next}`, ...query].join("&")}`);
    source.onopen = changed;
    source.onmessage = (event) => {
      const received = JSON.parse(event.data);
      next = received.offset + 1;
      message(received);
    };
    source.addEventListener("skipped", (event) => skipped(JSON.parse(event.data).skipped));
    source.onerror = () => {
      source?.close();
      source = null;
      changed();
      // Connects again after a second. If the emulator does not answer, live.js waits until it answers. The listener of
      // `state` below then starts the stream.
      setTimeout(() => !gone && !source && start(), 1000);
    };
    changed();
  }

  const again = () => start().catch((error) => say(error.message, "error"));
  const off = on("state", again);
  document.addEventListener("visibilitychange", again);
  again();
  return {
    /** Whether the stream is connected. */
    get connected() {
      return source !== null;
    },
    dispose() {
      gone = true;
      source?.close();
      document.removeEventListener("visibilitychange", again);
      off();
    },
  };
}

/** The address of a file with all messages. */
export function exported(hub, id) {
  const query = filter(id);
  return `${base(hub)}/export${query.length > 0 ? `?${query.join("&")}` : ""}`;
}

const base = (hub) => `/api/telemetry/${encodeURIComponent(hub)}`;

function filter(id) {
  const [device, module] = id?.split("/") ?? [];
  return [
    device === undefined ? null : `device=${encodeURIComponent(device)}`,
    module === undefined ? null : `module=${encodeURIComponent(module)}`,
  ].filter(Boolean);
}
