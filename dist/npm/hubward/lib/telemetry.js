'use strict';

const { setTimeout: sleep } = require('node:timers/promises');
const { TelemetryTimeoutError } = require('./errors.js');

// Milliseconds between two questions for new messages.
const INTERVAL_MS = 50;
const TIMEOUT_MS = 30_000;

/** All messages from the offset `start` on, and the offset of the next message. */
async function received(admin, hub, deviceId, start = 0) {
  const messages = [];
  for (;;) {
    const query = new URLSearchParams({ format: 'json', from: String(start) });
    if (deviceId !== undefined) query.set('device', deviceId);
    const page = await admin.request('GET', `api/telemetry/${hub}?${query}`);
    messages.push(...page.messages.map(message));
    if (page.next === start) return { messages, next: start };
    start = page.next;
  }
}

/** Yields messages, the oldest first. Waits at most `timeoutMs` for each. */
async function* follow(admin, hub, deviceId, { count, timeoutMs = TIMEOUT_MS } = {}) {
  let seen = 0;
  let start = 0;
  let deadline = performance.now() + timeoutMs;
  while (count === undefined || seen < count) {
    const page = await received(admin, hub, deviceId, start);
    start = page.next;
    for (const it of page.messages) {
      yield it;
      seen += 1;
      if (seen === count) return;
    }
    if (page.messages.length > 0) {
      deadline = performance.now() + timeoutMs;
    } else if (performance.now() > deadline) {
      const source = deviceId === undefined ? 'any device' : `device ${deviceId}`;
      throw new TelemetryTimeoutError(
        `no further message from ${source} within ${timeoutMs} ms; ${seen} arrived before`);
    } else {
      await sleep(INTERVAL_MS);
    }
  }
}

function message(shown) {
  return {
    deviceId: shown.deviceId,
    moduleId: shown.moduleId,
    body: shown.bodyBase64 === undefined ? Buffer.from(shown.body) : Buffer.from(shown.bodyBase64, 'base64'),
    properties: shown.properties,
    systemProperties: shown.systemProperties,
    enqueuedTime: shown.enqueuedTime,
    offset: shown.offset,
  };
}

module.exports = { follow, received };
