// Makes every call that Microsoft's unmodified package `azure-iothub` has for the service API of a hub. It works like
// service_hub.py. INTEROP_HUB_IOTHUBOWNER, INTEROP_HUB_REGISTRYREAD and so on are the connection strings of the shared
// access policies. INTEROP_CERTIFICATES lists the files of certificates.
'use strict';

const { deepStrictEqual: same, notStrictEqual: differ, ok } = require('node:assert');
const { readFileSync } = require('node:fs');
const iothub = require('azure-iothub');
const { Client: DeviceClient, ModuleClient } = require('azure-iot-device');
const { Mqtt } = require('azure-iot-device-mqtt');
const { Surface, fails, plain, run } = require('./surface');

const PREFIX = 'service-node';
const HUB = 'localhost';
const OWNER = process.env.INTEROP_HUB_IOTHUBOWNER;
const CERTIFICATES = JSON.parse(process.env.INTEROP_CERTIFICATES);
const KEYS = [0, 1, 2, 3].map((it) => Buffer.alloc(32, it).toString('base64'));
const NOT_FOUND = /DeviceNotFound|Not ?Found/i;
const NOT_EMULATED = /501|not emulate/i;
const surface = new Surface();

async function main() {
  const Registry = surface.watch('Registry', iothub.Registry);
  const registry = surface.watch('Registry', Registry.fromConnectionString(OWNER));
  await Promise.all([
    identities(registry), modules(registry), identitiesWithCertificates(registry),
    connectionsWithCertificates(registry), bulk(registry), twins(registry), queries(registry),
    methods(registry), logins(Registry), jobs(registry), configurations(registry), digitalTwins(),
  ]);
  surface.report();
}

// Creates a device identity, reads it, updates it, disables it and deletes it.
async function identities(registry) {
  const deviceId = `${PREFIX}-device`;
  const authentication = keys(0, 1);
  const created = plain(await registry.create({ deviceId, status: 'enabled', statusReason: 'first', authentication }));
  same(created.authentication.symmetricKey, authentication.symmetricKey, 'the keys');
  await fails(/DeviceAlreadyExists/, registry.create, { deviceId });
  const shown = plain(await registry.get(deviceId));
  same([shown.etag, shown.generationId], [created.etag, created.generationId], 'the created device');
  same([shown.status, shown.statusReason, shown.connectionState], ['enabled', 'first', 'Disconnected'], 'its state');
  const changed = plain(await registry.update({
    deviceId, status: 'disabled', statusReason: 'off', authentication: keys(2, 3),
  }));
  same(changed.authentication.symmetricKey.primaryKey, KEYS[2], 'the new key');
  same([changed.status, changed.statusReason, changed.generationId], ['disabled', 'off', created.generationId], 'its state');
  const listed = plain(await registry.list());
  ok(listed.some((it) => it.deviceId === deviceId), 'the list contains the device');
  const counted = plain(await registry.getRegistryStatistics());
  same(counted.totalDeviceCount, counted.enabledDeviceCount + counted.disabledDeviceCount, 'the total number of devices');
  await registry.delete(deviceId);
  await fails(NOT_FOUND, registry.get, deviceId);
  await fails(NOT_FOUND, registry.update, { deviceId, status: 'enabled' });
  // If the request contains no keys, the hub generates two keys.
  const again = plain(await registry.create({ deviceId }));
  ok([32, 64].includes(Buffer.from(again.authentication.symmetricKey.secondaryKey, 'base64').length), 'a generated key');
  differ(again.generationId, created.generationId, 'the generation ID of the new device');
  await registry.delete(deviceId);
}

// Creates a module identity. Reads, updates and deletes the identity and its twin.
async function modules(registry) {
  const deviceId = `${PREFIX}-with-modules`;
  const moduleId = 'mod-1';
  await fails(NOT_FOUND, registry.addModule, { deviceId, moduleId });
  await registry.create({ deviceId });
  await registry.addModule({ deviceId, moduleId, managedBy: 'me', authentication: keys(0, 1) });
  const shown = plain(await registry.getModule(deviceId, moduleId));
  same([shown.deviceId, shown.moduleId, shown.managedBy], [deviceId, moduleId, 'me'], 'the module');
  same(shown.authentication.symmetricKey, keys(0, 1).symmetricKey, 'the keys');
  await registry.updateModule({ ...shown, managedBy: 'you' });
  same(plain(await registry.getModule(deviceId, moduleId)).managedBy, 'you', 'the updated module');
  await fails(/InvalidEtag/, registry.updateModule, { ...shown, managedBy: 'them' });
  await registry.updateModule({ ...shown, managedBy: 'them' }, true);
  same(plain(await registry.getModulesOnDevice(deviceId)).map((it) => it.moduleId), [moduleId], 'its modules');

  const twin = plain(await registry.getModuleTwin(deviceId, moduleId));
  same([twin.deviceId, twin.moduleId, twin.properties.desired.$version], [deviceId, moduleId, 1], 'a new twin');
  const patched = plain(await registry.updateModuleTwin(deviceId, moduleId, desired({ led: 'red' }), twin.etag));
  same(data(patched.properties.desired), { led: 'red' }, 'patched');

  await registry.removeModule(deviceId, moduleId);
  await fails(NOT_FOUND, registry.getModule, deviceId, moduleId);
  same(plain(await registry.getModulesOnDevice(deviceId)), [], 'no module');
  await registry.delete(deviceId);
}

// Identities of devices and modules with thumbprints or with a certificate authority.
async function identitiesWithCertificates(registry) {
  const deviceId = `${PREFIX}-x509`;
  const moduleId = 'mod-1';
  const [first, second] = ['A'.repeat(40), 'B'.repeat(40)];
  const both = (primary, secondary) => (
    { x509Thumbprint: { primaryThumbprint: primary, secondaryThumbprint: secondary } });
  const authority = { type: 'certificateAuthority' };
  const shown = ({ authentication: it }) => [
    it.type, it.x509Thumbprint?.primaryThumbprint ?? null, it.x509Thumbprint?.secondaryThumbprint ?? null,
  ];
  // The SDK adds the type `selfSigned`.
  const created = plain(await registry.create({ deviceId, authentication: both(first, second) }));
  same(shown(created), ['selfSigned', first, second], 'the created device');
  same(shown(plain(await registry.get(deviceId))), ['selfSigned', first, second], 'the read device');
  same(plain(await registry.getTwin(deviceId)).authenticationType, 'selfSigned', 'the twin');
  await fails(/ArgumentError|400/, registry.update, { deviceId, authentication: both(first, 'C'.repeat(64)) });
  const changed = plain(await registry.update({ deviceId, authentication: authority }));
  same(shown(changed), ['certificateAuthority', null, null], 'the updated device');

  await registry.addModule({ deviceId, moduleId, authentication: both(first, second) });
  const module = plain(await registry.getModule(deviceId, moduleId));
  same(shown(module), ['selfSigned', first, second], 'the module');
  await registry.updateModule({ ...module, authentication: authority });
  const updated = plain(await registry.getModule(deviceId, moduleId));
  same(shown(updated), ['certificateAuthority', null, null], 'the updated module');
  await registry.delete(deviceId);

  const devices = [0, 1].map((it) => ({ deviceId: `${deviceId}-${it}`, authentication: both(first, second) }));
  same(plain(await registry.addDevices(devices)).errors, [], 'created');
  const last = plain(await registry.get(devices[1].deviceId));
  same(shown(last), ['selfSigned', first, second], 'a device of the bulk call');
  same(plain(await registry.removeDevices(devices, true)).errors, [], 'deleted');
}

// The hub accepts the certificates of the identities that the SDK has created.
async function connectionsWithCertificates(registry) {
  const { device, member } = CERTIFICATES;
  for (const [{ id, certificate, key }, authentication] of [
    [device, { x509Thumbprint: { primaryThumbprint: device.sha256 } }],
    [member, { type: 'certificateAuthority' }],
  ]) {
    await registry.create({ deviceId: id, authentication });
    const client = DeviceClient.fromConnectionString(`HostName=${HUB};DeviceId=${id};x509=true`, Mqtt);
    await client.setOptions({ cert: readFileSync(certificate, 'utf8'), key: readFileSync(key, 'utf8') });
    await client.open();
    same(plain(await registry.get(id)).connectionState, 'Connected', 'the state');
    await client.close();
    await registry.delete(id);
  }
}

// Bulk operations on device identities.
async function bulk(registry) {
  const devices = [0, 1, 2].map((it) => ({ deviceId: `${PREFIX}-bulk-${it}`, status: 'enabled' }));
  const done = (what, answer) => same([answer.isSuccessful, answer.errors], [true, []], what);
  done('created', plain(await registry.addDevices(devices)));
  const again = await registry.addDevices(devices.slice(0, 1)).then(plain, (error) => JSON.parse(error.responseBody));
  same([again.isSuccessful, again.errors[0].deviceId], [false, devices[0].deviceId], 'created twice');
  const off = devices.map((it) => ({ ...it, status: 'disabled' }));
  done('updated', plain(await registry.updateDevices(off, true)));
  same(plain(await registry.get(devices[2].deviceId)).status, 'disabled', 'its status');
  const etag = plain(await registry.get(devices[0].deviceId)).etag;
  const stale = { ...devices[1], etag };
  const refused = await registry.updateDevices([stale], false).then(plain, (error) => JSON.parse(error.responseBody));
  same(refused.isSuccessful, false, 'an update with the ETag of another device');
  done('deleted', plain(await registry.removeDevices(devices, true)));
  await fails(NOT_FOUND, registry.get, devices[1].deviceId);
}

// Reads and patches a twin, with the registry and with the twin object of the SDK.
async function twins(registry) {
  const deviceId = `${PREFIX}-twin`;
  await registry.create({ deviceId });
  const twin = surface.watch('Twin', plain(await registry.getTwin(deviceId)));
  same([twin.deviceId, twin.properties.desired.$version, twin.properties.reported.$version], [deviceId, 1, 1], 'new');
  const first = twin.etag;
  await twin.update({ tags: { site: 'é', gone: 1 }, ...desired({ interval: 30, fan: { on: true } }) });
  same([twin.tags, data(twin.properties.desired)], [{ site: 'é', gone: 1 }, { interval: 30, fan: { on: true } }], 'patched');
  await fails(/InvalidEtag/, registry.updateTwin, deviceId, { tags: { x: 1 } }, first);
  await registry.updateTwin(deviceId, { tags: { gone: null } }, '*');
  await twin.get();
  same(twin.tags, { site: 'é' }, 'the tags');
  same(twin.toJSON()._registry, undefined, 'JSON without the registry');
  await fails(NOT_FOUND, registry.getTwin, 'unknown');
  await registry.delete(deviceId);
}

// Queries twins by a tag. One query returns whole twins, page by page. Another query returns rows with selected
// columns.
async function queries(registry) {
  const ids = [0, 1, 2, 3, 4].map((it) => `${PREFIX}-query-${it}`);
  for (const [number, deviceId] of ids.entries()) {
    await registry.create({ deviceId });
    await registry.updateTwin(deviceId, { tags: { lot: `${PREFIX}-q`, number } }, '*');
  }
  const text = `SELECT * FROM devices WHERE tags.lot = '${PREFIX}-q'`;
  const query = surface.watch('Query', registry.createQuery(text, 2));
  const found = [];
  while (query.hasMoreResults) {
    const page = plain(await query.nextAsTwin());
    ok(page.length <= 2, 'a page has at most two twins');
    found.push(...page.map((it) => it.deviceId));
  }
  same(found.sort(), ids, 'the devices of the query');
  const rows = surface.watch('Query', registry.createQuery(`SELECT deviceId AS id FROM devices WHERE tags.lot = '${PREFIX}-q' AND tags.number >= 3`));
  same(plain(await rows.next()).map((it) => it.id).sort(), ids.slice(3), 'rows');
  await fails(/ArgumentError|Bad/, () => registry.createQuery('SELECT FROM').next());
  for (const deviceId of ids) await registry.delete(deviceId);
}

// A device and a module answer methods. A call to an offline or unknown device fails.
async function methods(registry) {
  const Client = surface.watch('Client', iothub.Client);
  const client = surface.watch('Client', Client.fromConnectionString(OWNER));
  const { NoRetry } = require('azure-iot-common');
  client.setRetryPolicy(new NoRetry());
  const deviceId = `${PREFIX}-method`;
  await registry.create({ deviceId, authentication: keys(0, 1) });
  await registry.addModule({ deviceId, moduleId: 'mod-1', authentication: keys(0, 1) });
  const params = () => ({ methodName: 'reboot', payload: { delay: 3 }, responseTimeoutInSeconds: 30 });
  await fails(NOT_FOUND, client.invokeDeviceMethod, deviceId, params());
  await fails(NOT_FOUND, client.invokeDeviceMethod, 'unknown', params());
  const login = `HostName=${HUB};DeviceId=${deviceId};SharedAccessKey=${KEYS[0]}`;
  for (const [Kind, more, invoke] of [
    [DeviceClient, '', () => client.invokeDeviceMethod(deviceId, params())],
    [ModuleClient, ';ModuleId=mod-1', () => client.invokeDeviceMethod(deviceId, 'mod-1', params())],
  ]) {
    const device = Kind.fromConnectionString(login + more, Mqtt);
    await device.open();
    const onMethod = (device.onDeviceMethod ?? device.onMethod).bind(device);
    onMethod('reboot', (request, response) => response.send(207, { heard: request.payload }));
    const answer = plain(await whenOnline(invoke));
    same(answer, { status: 207, payload: { heard: { delay: 3 } } }, 'the answer');
    await device.close();
  }
  await registry.delete(deviceId);

  const why = 'AMQP, at Azure too; the emulator has no AMQP';
  await surface.refused(why, /NotConnected|ECONNREFUSED/, client.open);
  surface.cannotCall(`${why}. \`POST /messages/{hub}/{device}\` of the admin port sends`, client.send);
  surface.cannotCall(why, client.close, client.getFeedbackReceiver, client.getFileNotificationReceiver);
}

// Logs in with other policies, wrong keys, SAS tokens and Microsoft Entra tokens.
async function logins(Registry) {
  const reader = Registry.fromConnectionString(process.env.INTEROP_HUB_REGISTRYREAD);
  ok(Array.isArray(plain(await reader.list())), 'a read with the policy registryRead');
  await fails(/Unauthorized/, () => reader.create({ deviceId: `${PREFIX}-x` }));
  const wrong = Registry.fromConnectionString(OWNER.replace(/SharedAccessKey=.*/, `SharedAccessKey=${KEYS[0]}`));
  await fails(/Unauthorized/, () => wrong.list());
  const { SharedAccessSignature, ConnectionString } = require('azure-iot-common');
  const { SharedAccessKeyName, SharedAccessKey } = ConnectionString.parse(OWNER);
  const hour = Math.floor(Date.now() / 1000) + 3600;
  const token = SharedAccessSignature.create(HUB, SharedAccessKeyName, SharedAccessKey, hour).toString();
  ok(Array.isArray(plain(await Registry.fromSharedAccessSignature(token).list())), 'a read with a SAS token');
  surface.watch('Client', iothub.Client).fromSharedAccessSignature(token);
  surface.watch('JobClient', iothub.JobClient).fromSharedAccessSignature(token);

  const credential = { getToken: async () => ({ token: 'x', expiresOnTimestamp: Date.now() + 3600e3 }) };
  for (const [name, ask] of [
    ['Registry', () => iothub.Registry.fromTokenCredential(HUB, credential).list()],
    ['Client', () => iothub.Client.fromTokenCredential(HUB, credential).invokeDeviceMethod('x', { methodName: 'y' })],
    ['JobClient', () => iothub.JobClient.fromTokenCredential(HUB, credential).getJob('x')],
  ]) {
    const call = Object.assign(async () => ask(), { call: `${name}.fromTokenCredential` });
    await surface.refused('Microsoft Entra tokens are not emulated: 401', /Unauthorized/, call);
  }
}

async function jobs(registry) {
  const why = 'jobs are not emulated: 501';
  const blob = 'https://example.invalid/x';
  await surface.refused(why, NOT_EMULATED, registry.importDevicesFromBlob, blob, blob);
  await surface.refused(why, NOT_EMULATED, registry.importDevicesFromBlobByIdentity, blob, blob);
  await surface.refused(why, NOT_EMULATED, registry.exportDevicesToBlob, blob, true);
  await surface.refused(why, NOT_EMULATED, registry.exportDevicesToBlobByIdentity, blob, true);
  await surface.refused(why, NOT_EMULATED, registry.listJobs);
  await surface.refused(why, NOT_EMULATED, registry.getJob, 'j1');
  await surface.refused(why, NOT_EMULATED, registry.cancelJob, 'j1');
  const JobClient = surface.watch('JobClient', iothub.JobClient);
  const client = surface.watch('JobClient', JobClient.fromConnectionString(OWNER));
  const soon = new Date();
  await surface.refused(why, NOT_EMULATED, client.getJob, 'j1');
  await surface.refused(why, NOT_EMULATED, client.cancelJob, 'j1');
  await surface.refused(why, NOT_EMULATED, client.scheduleTwinUpdate, 'j1', '*', { etag: '*', tags: {} }, soon, 60);
  await surface.refused(why, NOT_EMULATED, client.scheduleDeviceMethod, 'j1', '*', { methodName: 'x' }, soon, 60);
  const ask = Object.assign(async () => client.createQuery().next(), { call: 'JobClient.createQuery' });
  await surface.refused(why, NOT_EMULATED, ask);
}

async function configurations(registry) {
  const why = 'configurations are not emulated: 501';
  const one = { id: 'c1', schemaVersion: '1.0', content: { deviceContent: {} }, targetCondition: '*', priority: 1 };
  await surface.refused(why, NOT_EMULATED, registry.addConfiguration, one);
  await surface.refused(why, NOT_EMULATED, registry.getConfiguration, 'c1');
  await surface.refused(why, NOT_EMULATED, registry.getConfigurations);
  await surface.refused(why, NOT_EMULATED, registry.updateConfiguration, one, true);
  await surface.refused(why, NOT_EMULATED, registry.removeConfiguration, 'c1');
  await surface.refused(why, NOT_EMULATED, registry.applyConfigurationContentOnDevice, 'd1', { deviceContent: {} });
}

async function digitalTwins() {
  const why = 'digital twins are not emulated: 501; twins and methods reach the same device';
  const credentials = new iothub.IoTHubTokenCredentials(OWNER);
  const client = surface.watch('DigitalTwinClient', new iothub.DigitalTwinClient(credentials));
  const patch = [{ op: 'add', path: '/x', value: 1 }];
  await surface.refused(why, NOT_EMULATED, client.getDigitalTwin, 'd1');
  await surface.refused(why, NOT_EMULATED, client.updateDigitalTwin, 'd1', patch);
  await surface.refused(why, NOT_EMULATED, client.invokeCommand, 'd1', 'reboot', '{}');
  await surface.refused(why, NOT_EMULATED, client.invokeComponentCommand, 'd1', 'fan', 'reboot', '{}');
}

function keys(primary, secondary) {
  return { type: 'sas', symmetricKey: { primaryKey: KEYS[primary], secondaryKey: KEYS[secondary] } };
}

function desired(properties) {
  return { properties: { desired: properties } };
}

// Returns the properties without the service's own properties, whose names begin with `$`.
function data(properties) {
  return Object.fromEntries(Object.entries(properties).filter(([name]) => !name.startsWith('$')));
}

// Repeats a call until the device has subscribed to methods. Before that, the hub answers that the device is offline.
async function whenOnline(invoke) {
  for (const until = Date.now() + 20e3; ;) {
    try {
      return await invoke();
    } catch (error) {
      if (!NOT_FOUND.test(`${error.name} ${error.message}`) || Date.now() > until) throw error;
      await new Promise((resolve) => { setTimeout(resolve, 100); });
    }
  }
}

run(main);
