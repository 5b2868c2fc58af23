// Provisions a device with a symmetric key or a certificate, and sends ten telemetry messages at once.
//
// The steps are the same as in provision.py, with the public API of Microsoft's unmodified npm packages.
// INTEROP_PROVISIONING is http, mqtt or mqtt-ws. INTEROP_TELEMETRY is mqtt or mqtt-ws.
//
// If INTEROP_HUB_KEY, INTEROP_HUB_TOKEN or INTEROP_HUB_CERT_FILE is set, the program uses this key, token or
// certificate to log in to the hub. The harness sets a wrong key or certificate, or an expired token, so the hub
// refuses the device. The login to DPS does not change.
'use strict';

const { randomUUID } = require('crypto');
const { readFileSync } = require('fs');
const { ProvisioningDeviceClient } = require('azure-iot-provisioning-device');
const { SymmetricKeySecurityClient } = require('azure-iot-security-symmetric-key');
const { X509Security } = require('azure-iot-security-x509');
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
  const id = env.PROVISIONING_REGISTRATION_ID;
  const key = env.PROVISIONING_SYMMETRIC_KEY;
  const x509 = env.X509_CERT_FILE && readX509(env.X509_CERT_FILE, env.X509_KEY_FILE, env.X509_PASS_PHRASE);
  const Provisioning = PROVISIONING[env.INTEROP_PROVISIONING]();

  const provisioning = ProvisioningDeviceClient.create(
    env.PROVISIONING_HOST,
    env.PROVISIONING_IDSCOPE,
    new Provisioning(),
    x509 ? new X509Security(id, x509) : new SymmetricKeySecurityClient(id, key),
  );
  const result = await provisioning.register();
  console.log('The complete registration result is');
  console.log(result.deviceId);
  console.log(result.assignedHub);
  console.log(result.substatus);
  console.log(JSON.stringify(result.payload ?? null));

  console.log('Will send telemetry from the provisioned device');
  const device = await hubClient(env, result, x509);
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

async function hubClient(env, { assignedHub, deviceId }, x509) {
  const Telemetry = TELEMETRY[env.INTEROP_TELEMETRY]();
  if (env.INTEROP_HUB_TOKEN) return Client.fromSharedAccessSignature(env.INTEROP_HUB_TOKEN, Telemetry);
  if (x509) {
    const device = Client.fromConnectionString(`HostName=${assignedHub};DeviceId=${deviceId};x509=true`, Telemetry);
    const other = env.INTEROP_HUB_CERT_FILE && readX509(env.INTEROP_HUB_CERT_FILE, env.INTEROP_HUB_KEY_FILE);
    await device.setOptions(other ?? x509);
    return device;
  }
  const key = env.INTEROP_HUB_KEY ?? env.PROVISIONING_SYMMETRIC_KEY;
  return Client.fromConnectionString(
    ConnectionString.createWithSharedAccessKey(assignedHub, deviceId, key), Telemetry);
}

// The SDK takes the certificate and the key as PEM text.
function readX509(certificate, key, passphrase) {
  return { cert: readFileSync(certificate, 'utf8'), key: readFileSync(key, 'utf8'), passphrase };
}

run(main);
