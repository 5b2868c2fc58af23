// Provisions a device with a symmetric key, and sends ten telemetry messages at once.
//
// The steps are the same as in provision.py, with the public API of Microsoft's unmodified npm packages.
// INTEROP_PROVISIONING is http, mqtt or mqtt-ws. INTEROP_TELEMETRY is mqtt or mqtt-ws.
//
// If INTEROP_HUB_KEY or INTEROP_HUB_TOKEN is set, the program uses this key or token to log in to the hub. The harness
// sets a wrong key or an expired token, so the hub refuses the device. The login to DPS does not change.
'use strict';

const { randomUUID } = require('crypto');
const { ProvisioningDeviceClient } = require('azure-iot-provisioning-device');
const { SymmetricKeySecurityClient } = require('azure-iot-security-symmetric-key');
const { Client, ConnectionString, Message } = require('azure-iot-device');
const run = require('./run');

const MESSAGES = 10;

const PROVISIONING = {
  http: () => require('azure-iot-provisioning-device-http').Http,
  mqtt: () => require('azure-iot-provisioning-device-mqtt').Mqtt,
  'mqtt-ws': () => require('azure-iot-provisioning-device-mqtt').MqttWs,
};

const TELEMETRY = {
  mqtt: () => require('azure-iot-device-mqtt').Mqtt,
  'mqtt-ws': () => require('azure-iot-device-mqtt').MqttWs,
};

async function main(env) {
  const key = env.PROVISIONING_SYMMETRIC_KEY;
  const Provisioning = PROVISIONING[env.INTEROP_PROVISIONING]();

  const provisioning = ProvisioningDeviceClient.create(
    env.PROVISIONING_HOST,
    env.PROVISIONING_IDSCOPE,
    new Provisioning(),
    new SymmetricKeySecurityClient(env.PROVISIONING_REGISTRATION_ID, key),
  );
  const result = await provisioning.register();
  console.log('The complete registration result is');
  console.log(result.deviceId);
  console.log(result.assignedHub);
  console.log(result.substatus);
  console.log(JSON.stringify(result.payload ?? null));

  console.log('Will send telemetry from the provisioned device');
  const Telemetry = TELEMETRY[env.INTEROP_TELEMETRY]();
  const device = env.INTEROP_HUB_TOKEN
    ? Client.fromSharedAccessSignature(env.INTEROP_HUB_TOKEN, Telemetry)
    : Client.fromConnectionString(
      ConnectionString.createWithSharedAccessKey(
        result.assignedHub, result.deviceId, env.INTEROP_HUB_KEY ?? key),
      Telemetry,
    );
  await device.open();

  const send = async (number) => {
    console.log(`sending message #${number}`);
    const message = new Message(`test wind speed ${number}`);
    message.messageId = randomUUID();
    await device.sendEvent(message);
    console.log(`done sending message #${number}`);
  };
  await Promise.all(Array.from({ length: MESSAGES }, (_, i) => send(i + 1)));
  await device.close();
}

run(main);
