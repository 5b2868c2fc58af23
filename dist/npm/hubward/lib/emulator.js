'use strict';

const { AdminPort } = require('./admin.js');
const { binaryPath } = require('./binary.js');
const { Device } = require('./device.js');
const { EmulatorError } = require('./errors.js');
const start = require('./start.js');
const telemetry = require('./telemetry.js');
const { trust, variables } = require('./trust.js');

const START_TIMEOUT_MS = 30_000;

/** A running emulator. `startEmulator` creates it. */
class Emulator {
  #admin;
  #process;
  #seed;
  #endTrust = () => {};

  constructor(host, process, seed) {
    this.#process = process;
    this.#admin = new AdminPort(process);
    this.#seed = seed;
    const { ready } = process;
    this.host = host;
    this.hub = ready.hubs[0];
    this.idScope = ready.idScope;
    this.mqttPort = port(ready.mqtt);
    this.httpsPort = port(ready.https);
    this.webSockets = this.httpsPort === start.HTTPS_PORT;
    this.adminUrl = ready.admin;
    this.caFile = ready.caFile;
    this.environment = {};
    this.hubLogin = this.#login('IOTHUB_CONNECTION_STRING');
    this.dpsLogin = this.#login('PROVISIONING_CONNECTION_STRING');
  }

  async enroll(registrationId, key) {
    const attestation = { type: 'symmetricKey' };
    if (key !== undefined) attestation.symmetricKey = { primaryKey: key, secondaryKey: key };
    const path = `dps/enrollments/${encodeURIComponent(registrationId)}`;
    const body = { registrationId, attestation, iotHubs: [this.hub] };
    let enrollment;
    try {
      enrollment = await this.#admin.request('PUT', path, body);
    } catch (error) {
      if (error.status !== 409) throw error;
      enrollment = await this.#admin.request('PUT', path, body, { replace: true });
    }
    return new Device(this, this.#admin, enrollment);
  }

  telemetry({ deviceId, ...options } = {}) {
    return telemetry.follow(this.#admin, this.hub, deviceId, options);
  }

  async received(deviceId) {
    return (await telemetry.received(this.#admin, this.hub, deviceId)).messages;
  }

  async events(first = 0) {
    const events = [];
    for (let from = first; ;) {
      const page = await this.#admin.request('GET', `api/events?format=json&from=${from}`);
      events.push(...page.events);
      if (page.next === from) return events;
      from = page.next;
    }
  }

  async reset() {
    await this.#admin.request('POST', 'api/reset', {});
    if (this.#seed) await this.#admin.request('POST', 'api/import', this.#seed);
  }

  admin(method, path, body, options) {
    return this.#admin.request(method, path, body, options);
  }

  async stop() {
    try {
      this.#endTrust();
    } finally {
      this.#endTrust = () => {};
      await this.#process.stop();
    }
  }

  /** Completes the start: an empty state or the seed, and the trust. */
  async prepare(isEmpty, isTrusted) {
    if (isEmpty) await this.reset();
    else if (this.#seed) await this.#admin.request('POST', 'api/import', this.#seed);
    const { variables: environment, end } = isTrusted ? trust(this.caFile) : variables(this.caFile);
    this.environment = environment;
    this.#endTrust = end;
  }

  #login(name) {
    const parts = this.#process.operator[name].split(';');
    return parts.map((it) => (it.startsWith('HostName=') ? `HostName=${this.host}` : it)).join(';');
  }
}

async function startEmulator(options = {}) {
  const {
    ports = 'standard', webSockets, trust: isTrusted = true, seed, dataDir, devKeys = false, retryAfterSeconds = 0,
    args = [], startTimeoutMs = START_TIMEOUT_MS, binary = binaryPath(),
  } = options;
  if (!['standard', 'free'].includes(ports)) throw new EmulatorError("ports is 'standard' or 'free'");
  const all = [
    ...(dataDir === undefined ? ['--in-memory'] : ['--data-dir', dataDir]),
    '--retry-after', `${retryAfterSeconds}s`,
    ...(devKeys ? ['--dev-keys'] : []),
    ...(typeof seed === 'string' ? ['--seed', seed] : []),
    ...args,
  ];
  const { host, process } = ports === 'free'
    ? await start.onFreePorts(binary, all, startTimeoutMs)
    : await start.onStandardPorts(binary, all, startTimeoutMs, webSockets);
  const emulator = new Emulator(host, process, typeof seed === 'object' ? seed : undefined);
  try {
    // Without a seed, the program creates a device for its first user. A test starts without it.
    await emulator.prepare(dataDir === undefined && !devKeys && typeof seed !== 'string', isTrusted);
  } catch (error) {
    await emulator.stop();
    throw error;
  }
  return emulator;
}

function port(addresses) {
  return Number(addresses[0].slice(addresses[0].lastIndexOf(':') + 1));
}

module.exports = { startEmulator };
