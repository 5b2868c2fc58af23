// A client program that is a device or a module. It reads commands from standard input, one JSON object per line.
//
// It works like device.py, but uses the public API of Microsoft's unmodified npm packages.
//
// INTEROP_CONNECTION_STRING is the connection string of the device or module. If it contains `x509=true`,
// X509_CERT_FILE and X509_KEY_FILE are the files of the certificate. INTEROP_TELEMETRY is mqtt or mqtt-ws.
'use strict';

const { readFileSync } = require('fs');
const readline = require('readline');
const { Client, Message, ModuleClient } = require('azure-iot-device');
const { Mqtt, MqttWs } = require('azure-iot-device-mqtt');
const run = require('./run');

const writeLine = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);

class Device {
  constructor(connectionString, transport) {
    this.isModule = connectionString.includes('ModuleId=');
    const Kind = this.isModule ? ModuleClient : Client;
    this.client = Kind.fromConnectionString(connectionString, transport);
  }

  async connect() {
    const { X509_CERT_FILE: cert, X509_KEY_FILE: key } = process.env;
    if (cert) await this.client.setOptions({ cert: readFileSync(cert, 'utf8'), key: readFileSync(key, 'utf8') });
    await this.client.open();
  }

  async disconnect() {
    // The twin object of the SDK works only on the connection on which it was created. So the next connection needs a
    // new one.
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
    // Converting these objects to JSON drops their functions.
    return JSON.parse(JSON.stringify({ desired: twin.properties.desired, reported: twin.properties.reported }));
  }

  async report({ patch }) {
    const twin = await this.getTwin();
    await new Promise((done, failed) =>
      twin.properties.reported.update(patch, (error) => (error ? failed(error) : done())));
  }

  async desired() {
    const twin = await this.getTwin();
    // The SDK first emits the current desired properties. Then it emits each change.
    twin.on('properties.desired', (patch) => writeLine({ event: 'desired', patch }));
    await this.subscribed();
  }

  async methods({ answers }) {
    for (const [name, { status, payload }] of Object.entries(answers)) {
      const answer = (request, response) => {
        writeLine({ event: 'method', name: request.methodName, payload: request.payload });
        response.send(status, payload, (error) => error && writeLine({ event: 'failed', text: `${error}` }));
      };
      if (this.isModule) this.client.onMethod(name, answer);
      else this.client.onDeviceMethod(name, answer);
    }
    await this.subscribed();
  }

  async messages() {
    const received = (input, message) => {
      const properties = {};
      for (const { key, value } of message.properties.propertyList) properties[key] = value;
      writeLine({
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
      this.client.complete(message, (error) => error && writeLine({ event: 'failed', text: `${error}` }));
    };
    if (this.isModule) this.client.on('inputMessage', received);
    else this.client.on('message', (message) => received(undefined, message));
    await this.subscribed();
  }

  // The SDK does not report when a subscription is complete. So the program reads the twin after the SUBSCRIBE. The hub
  // handles packets in order: when it answers with the twin, it has handled the SUBSCRIBE.
  async subscribed() {
    await this.twin();
  }

  async close() {
    await this.client.close();
  }
}

async function main(env) {
  const device = new Device(env.INTEROP_CONNECTION_STRING, env.INTEROP_TELEMETRY === 'mqtt-ws' ? MqttWs : Mqtt);
  device.client.on('error', (error) => writeLine({ event: 'failed', text: `${error}` }));
  writeLine({ event: 'ready' });
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const { id, do: command, ...rest } = JSON.parse(line);
    try {
      writeLine({ id, ok: (await device[command](rest)) ?? null });
    } catch (error) {
      writeLine({ id, error: `${error.name}: ${error.message}` });
    }
  }
}

run(main);
