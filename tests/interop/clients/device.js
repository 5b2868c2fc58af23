// A device or module that does what it is told, one JSON object a line.
//
// The same as device.py, through the public API of Microsoft's unmodified npm packages.
// INTEROP_CONNECTION_STRING says who it is, INTEROP_TELEMETRY is mqtt or mqtt-ws.
'use strict';

const readline = require('readline');
const { Client, Message, ModuleClient } = require('azure-iot-device');
const { Mqtt, MqttWs } = require('azure-iot-device-mqtt');

const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);

class Device {
  constructor(connectionString, transport) {
    this.isModule = connectionString.includes('ModuleId=');
    const Kind = this.isModule ? ModuleClient : Client;
    this.client = Kind.fromConnectionString(connectionString, transport);
  }

  async connect() {
    await this.client.open();
  }

  async disconnect() {
    // The twin of a closed connection is of no use on the next one.
    this.cached = undefined;
    await this.client.close();
  }

  async send({ body, properties, output, ...system }) {
    const message = new Message(body);
    Object.assign(message, system);
    for (const [name, value] of Object.entries(properties)) message.properties.add(name, value);
    if (output === undefined) await this.client.sendEvent(message);
    else await this.client.sendOutputEvent(output, message);
  }

  async getTwin() {
    this.cached ??= await this.client.getTwin();
    return this.cached;
  }

  async twin() {
    const twin = await this.getTwin();
    await twin.get();
    // What else stands there are functions.
    return JSON.parse(JSON.stringify({ desired: twin.properties.desired, reported: twin.properties.reported }));
  }

  async report({ patch }) {
    const twin = await this.getTwin();
    await new Promise((done, failed) =>
      twin.properties.reported.update(patch, (error) => (error ? failed(error) : done())));
  }

  async desired() {
    const twin = await this.getTwin();
    // The SDK says what it fetched first, then each change.
    twin.on('properties.desired', (patch) => say({ event: 'desired', patch }));
    await this.settled();
  }

  async methods({ answers }) {
    for (const [name, { status, payload }] of Object.entries(answers)) {
      const called = (request, response) => {
        say({ event: 'method', name: request.methodName, payload: request.payload });
        response.send(status, payload, (error) => error && say({ event: 'failed', text: `${error}` }));
      };
      if (this.isModule) this.client.onMethod(name, called);
      else this.client.onDeviceMethod(name, called);
    }
    await this.settled();
  }

  async messages() {
    const received = (input, message) => {
      const properties = {};
      for (const { key, value } of message.properties.propertyList) properties[key] = value;
      say({
        event: 'message',
        body: message.getData().toString(),
        messageId: message.messageId,
        correlationId: message.correlationId,
        userId: message.userId,
        contentType: message.contentType,
        contentEncoding: message.contentEncoding,
        input,
        properties,
      });
      this.client.complete(message, (error) => error && say({ event: 'failed', text: `${error}` }));
    };
    if (this.isModule) this.client.on('inputMessage', received);
    else this.client.on('message', (message) => received(undefined, message));
    await this.settled();
  }

  // The SDK subscribes without saying when that is done. A question behind the SUBSCRIBE on the same
  // connection is answered after it.
  async settled() {
    await this.twin();
  }

  async close() {
    await this.client.close();
  }
}

async function main(env) {
  const device = new Device(env.INTEROP_CONNECTION_STRING, env.INTEROP_TELEMETRY === 'mqtt-ws' ? MqttWs : Mqtt);
  device.client.on('error', (error) => say({ event: 'failed', text: `${error}` }));
  say({ event: 'ready' });
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const { id, do: what, ...rest } = JSON.parse(line);
    try {
      say({ id, ok: (await device[what](rest)) ?? null });
    } catch (error) {
      say({ id, error: `${error.name}: ${error.message}` });
    }
  }
}

// A hang ends here.
const limit = setTimeout(() => {
  console.error('out of time');
  process.exit(75);
}, Number(process.env.INTEROP_TIME_LIMIT) * 1000);

main(process.env)
  .catch((error) => {
    console.error(`${error.name}: ${error.message}`);
    process.exitCode = 1;
  })
  // From here on the program must end by itself: the SDKs may leave nothing open.
  .finally(() => limit.unref());
