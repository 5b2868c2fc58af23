'use strict';

const telemetry = require('./telemetry.js');

// Milliseconds that the admin port has to answer, in addition to the time of a method call.
const GRACE_MS = 10_000;

/** A device that can register at DPS, seen from the cloud. */
class Device {
  #admin;
  #hub;
  #secondaryKey;

  constructor(emulator, admin, enrollment) {
    this.#admin = admin;
    this.#hub = emulator.hub;
    const { primaryKey, secondaryKey } = enrollment.attestation.symmetricKey;
    this.registrationId = enrollment.registrationId;
    this.key = primaryKey;
    this.#secondaryKey = secondaryKey;
    this.host = emulator.host;
    this.idScope = emulator.idScope;
    this.environment = {
      ...emulator.environment,
      PROVISIONING_HOST: this.host,
      PROVISIONING_IDSCOPE: this.idScope,
      PROVISIONING_REGISTRATION_ID: this.registrationId,
      PROVISIONING_SYMMETRIC_KEY: this.key,
    };
  }

  async connectionString() {
    let identity;
    try {
      identity = await this.#admin.request('GET', this.#identity);
    } catch (error) {
      if (error.status !== 404) throw error;
      identity = await this.#admin.request('PUT', this.#identity, {
        deviceId: this.registrationId,
        authentication: {
          type: 'sas', symmetricKey: { primaryKey: this.key, secondaryKey: this.#secondaryKey },
        },
      });
    }
    const key = identity.authentication.symmetricKey.primaryKey;
    return `HostName=${this.#hub};DeviceId=${this.registrationId};SharedAccessKey=${key}`;
  }

  telemetry(options) {
    return telemetry.follow(this.#admin, this.#hub, this.registrationId, options);
  }

  async received() {
    return (await telemetry.received(this.#admin, this.#hub, this.registrationId)).messages;
  }

  twin() {
    return this.#admin.request('GET', this.#twin);
  }

  updateTwin({ desired, tags }) {
    return this.#admin.request('PATCH', this.#twin, { properties: desired && { desired }, tags });
  }

  async invokeMethod(methodName, payload = null, { timeoutSeconds = 30 } = {}) {
    const body = { methodName, payload, responseTimeoutInSeconds: timeoutSeconds };
    const timeoutMs = timeoutSeconds * 1000 + GRACE_MS;
    const answer = await this.#admin.request('POST', `${this.#twin}/methods`, body, { timeoutMs });
    return { status: answer.status, payload: answer.payload };
  }

  async sendMessage(body, properties = {}) {
    const content = typeof body === 'string' ? { body } : { bodyBase64: Buffer.from(body).toString('base64') };
    await this.#admin.request('POST', `messages/${this.#hub}/${this.#id}`, { ...content, properties });
  }

  async disconnect() {
    await this.#admin.request('POST', `api/devices/${this.#hub}/${this.#id}/disconnect`, {});
  }

  async remove() {
    for (const path of [`dps/enrollments/${this.#id}`, this.#identity]) {
      try {
        await this.#admin.request('DELETE', path);
      } catch (error) {
        if (error.status !== 404) throw error;
      }
    }
  }

  get #id() {
    return encodeURIComponent(this.registrationId);
  }

  get #identity() {
    return `hubs/${this.#hub}/devices/${this.#id}`;
  }

  get #twin() {
    return `hubs/${this.#hub}/twins/${this.#id}`;
  }
}

module.exports = { Device };
