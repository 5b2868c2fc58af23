// A device registers at DPS and sends telemetry, with Microsoft's SDK. The emulator plays the cloud.
'use strict';

const assert = require('node:assert');
const { after, before, test } = require('node:test');
const { Client, Message } = require('azure-iot-device');
const { Mqtt } = require('azure-iot-device-mqtt');
const { ProvisioningDeviceClient } = require('azure-iot-provisioning-device');
const { Mqtt: ProvisioningMqtt } = require('azure-iot-provisioning-device-mqtt');
const { SymmetricKeySecurityClient } = require('azure-iot-security-symmetric-key');
const { startEmulator } = require('hubward');

let emulator;
before(async () => { emulator = await startEmulator(); });
after(() => emulator?.stop());

test('a device registers and sends', async () => {
  const device = await emulator.enroll('dev-1');
  const security = new SymmetricKeySecurityClient(device.registrationId, device.key);
  const registration = await ProvisioningDeviceClient
    .create(device.host, device.idScope, new ProvisioningMqtt(), security)
    .register();
  assert.strictEqual(registration.status, 'assigned');

  const login = `HostName=${registration.assignedHub};DeviceId=${registration.deviceId};SharedAccessKey=${device.key}`;
  const client = Client.fromConnectionString(login, Mqtt);
  await client.open();
  await client.sendEvent(new Message('21.5'));
  await client.close();

  for await (const message of device.telemetry({ count: 1 })) {
    assert.strictEqual(message.body.toString(), '21.5');
  }
});
