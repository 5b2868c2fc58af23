// The service API of DPS, every call of Microsoft's unmodified package
// `azure-iot-provisioning-service`. The same as service_dps.py; INTEROP_DPS is the connection string
// of the policy, PROVISIONING_HOST and PROVISIONING_IDSCOPE are where its devices register.
'use strict';

const { deepStrictEqual: same, ok } = require('node:assert');
const { createHmac, randomBytes } = require('node:crypto');
const { ProvisioningServiceClient } = require('azure-iot-provisioning-service');
const { ProvisioningDeviceClient } = require('azure-iot-provisioning-device');
const { Http } = require('azure-iot-provisioning-device-http');
const { SymmetricKeySecurityClient } = require('azure-iot-security-symmetric-key');
const { Surface, called, fails, plain, run } = require('./surface');

const PREFIX = 'service-node';
const surface = new Surface();

async function main() {
  const Client = surface.watch('ProvisioningServiceClient', ProvisioningServiceClient);
  const client = surface.watch('ProvisioningServiceClient', Client.fromConnectionString(process.env.INTEROP_DPS));
  await Promise.all([individual(client), group(client), many(client), strangers(Client)]);
  surface.report();
}

// Created with generated keys, used, updated, rolled over, deleted.
async function individual(client) {
  const name = `${PREFIX}-1`;
  const body = {
    registrationId: name,
    deviceId: `${name}-device`,
    attestation: { type: 'symmetricKey', symmetricKey: { primaryKey: '', secondaryKey: '' } },
    capabilities: { iotEdge: false },
    provisioningStatus: 'enabled',
    reprovisionPolicy: { updateHubAssignment: true, migrateDeviceData: false },
    allocationPolicy: 'static',
    iotHubs: ['localhost'],
    initialTwin: { tags: { site: 'a' }, properties: { desired: { interval: 30 } } },
    optionalDeviceInformation: { note: 'é' },
  };
  const created = plain(await client.createOrUpdateIndividualEnrollment(body));
  const { attestation, ...rest } = body;
  for (const member of Object.keys(rest)) same(created[member], body[member], member);
  const key = created.attestation.symmetricKey.primaryKey;
  same(Buffer.from(key, 'base64').length, 64, 'a generated key');

  const shown = plain(await client.getIndividualEnrollment(name));
  same(shown.attestation, { type: 'symmetricKey' }, 'no keys in what is shown');
  const mechanism = plain(await client.getIndividualEnrollmentAttestationMechanism(name));
  same(mechanism, created.attestation, 'the attestation');
  await fails(/ConflictError|DeviceAlreadyExists|409/, client.createOrUpdateIndividualEnrollment, body);

  same((await register(name, key)).deviceId, `${name}-device`, 'the device id');
  const { registrationState } = plain(await client.getIndividualEnrollment(name));
  same([registrationState.status, registrationState.assignedHub], ['assigned', 'localhost'], 'what became of it');
  const record = plain(await client.getDeviceRegistrationState(name));
  same(record.etag, registrationState.etag, 'the record');

  // The keys change by an update, and the new one opens.
  const keys = { primaryKey: randomBytes(32).toString('base64'), secondaryKey: mechanism.symmetricKey.primaryKey };
  const changed = { ...shown, attestation: { type: 'symmetricKey', symmetricKey: keys } };
  await fails(/InvalidEtagError/, client.createOrUpdateIndividualEnrollment, { ...changed, etag: '"stale"' });
  const updated = plain(await client.createOrUpdateIndividualEnrollment(changed));
  same(updated.attestation.symmetricKey, keys, 'the new keys');
  await register(name, keys.primaryKey);
  await refusedDevice(name, mechanism.symmetricKey.secondaryKey);

  const found = await all(client.createIndividualEnrollmentQuery({ query: 'SELECT * FROM enrollments' }));
  same(found.filter((it) => it.registrationId === name).length, 1, 'found by a query');
  const disabled = { ...updated, provisioningStatus: 'disabled' };
  plain(await client.createOrUpdateIndividualEnrollment(disabled));
  await refusedDevice(name, keys.primaryKey);

  // An object with an old etag, the id with an etag, the id alone.
  await fails(/InvalidEtagError/, client.deleteIndividualEnrollment, updated);
  await fails(/InvalidEtagError/, client.deleteIndividualEnrollment, name, 'stale');
  await called((done) => client.deleteIndividualEnrollment(name, done));
  await fails(/Not ?[Ff]ound/, client.getIndividualEnrollment, name);
  // The record stays until it is deleted.
  await client.deleteDeviceRegistrationState(plain(await client.getDeviceRegistrationState(name)));
  await fails(/Not ?[Ff]ound/, client.getDeviceRegistrationState, name);
}

// Its devices derive their keys; their records are listed.
async function group(client) {
  const name = `${PREFIX}-group`;
  const created = plain(await client.createOrUpdateEnrollmentGroup({
    enrollmentGroupId: name, attestation: { type: 'symmetricKey' }, allocationPolicy: 'hashed',
  }));
  const shown = plain(await client.getEnrollmentGroup(name));
  same(shown.attestation, { type: 'symmetricKey' }, 'no keys in what is shown');
  same(plain(await client.getEnrollmentGroupAttestationMechanism(name)), created.attestation, 'the attestation');
  const key = Buffer.from(created.attestation.symmetricKey.secondaryKey, 'base64');
  const devices = [0, 1, 2].map((number) => `${name}-${number}`);
  await Promise.all(devices.map((it) => register(it, createHmac('sha256', key).update(it).digest('base64'))));
  const records = await all(client.createEnrollmentGroupDeviceRegistrationStateQuery({ query: 'SELECT *' }, name, 2), 2);
  same(records.map((it) => it.registrationId), devices, 'its devices, in pages of two');
  const groups = await all(client.createEnrollmentGroupQuery({ query: 'SELECT *' }));
  ok(groups.some((it) => it.enrollmentGroupId === name), 'found by a query');
  await client.createOrUpdateEnrollmentGroup({ ...shown, provisioningStatus: 'disabled' });
  await fails(/InvalidEtagError/, client.deleteEnrollmentGroup, shown);
  await client.deleteEnrollmentGroup(plain(await client.getEnrollmentGroup(name)));
  await fails(/Not ?[Ff]ound/, client.getEnrollmentGroup, name);
}

// In bulk, and page by page. The SDK's bulk call answers to a callback only: its promise never ends.
async function many(client) {
  const names = [0, 1, 2, 3, 4].map((number) => `${PREFIX}-bulk-${number}`);
  const enrollments = names.map((it) => ({ registrationId: it, attestation: { type: 'symmetricKey' } }));
  const bulk = (mode, some) => called((done) => client.runBulkEnrollmentOperation({ mode, enrollments: some }, done));
  same(await bulk('create', enrollments), { isSuccessful: true, errors: [] }, 'made at once');
  const twice = await bulk('create', enrollments.slice(0, 1));
  same([twice.isSuccessful, twice.errors[0].registrationId], [false, names[0]], 'made twice');
  const found = await all(client.createIndividualEnrollmentQuery({ query: 'SELECT * FROM enrollments' }, 2), 2);
  const mine = found.map((it) => it.registrationId).filter((it) => names.includes(it));
  same(mine, names, 'every one of them');
  for (const mode of ['update', 'delete']) {
    same(await bulk(mode, enrollments), { isSuccessful: true, errors: [] }, mode);
  }
  await fails(/Not ?[Ff]ound/, client.getIndividualEnrollment, names[0]);
}

// A wrong key, a wrong policy, and a token of Microsoft Entra.
async function strangers(Client) {
  const right = process.env.INTEROP_DPS;
  for (const wrong of [
    right.replace(/SharedAccessKey=.*/, 'SharedAccessKey=AAECAwQFBgcICQoLDA0ODw=='),
    right.replace('provisioningserviceowner', 'somebody'),
  ]) {
    const stranger = Client.fromConnectionString(wrong);
    await fails(/Unauthorized/, () => stranger.getIndividualEnrollment('x'));
  }
  const credential = { getToken: async () => ({ token: 'x', expiresOnTimestamp: Date.now() + 3600e3 }) };
  const host = /HostName=([^;]*)/.exec(right)[1];
  const entra = async () => ProvisioningServiceClient.fromTokenCredential(host, credential).getIndividualEnrollment('x');
  entra.call = 'ProvisioningServiceClient.fromTokenCredential';
  await surface.refused('Microsoft Entra tokens are not emulated: 401', /Unauthorized.*Entra/, entra);
}

// All pages of a query.
async function all(query, most = 1000) {
  const watched = surface.watch('Query', query);
  const found = [];
  while (query.hasMoreResults) {
    const page = plain(await watched.next(query.continuationToken));
    ok(page.length <= most, 'a page is too long');
    found.push(...page);
  }
  return found;
}

function register(registrationId, key) {
  const security = new SymmetricKeySecurityClient(registrationId, key);
  const { PROVISIONING_HOST, PROVISIONING_IDSCOPE } = process.env;
  return ProvisioningDeviceClient.create(PROVISIONING_HOST, PROVISIONING_IDSCOPE, new Http(), security).register();
}

async function refusedDevice(registrationId, key) {
  const registered = await register(registrationId, key).then(() => true, () => false);
  ok(!registered, `${registrationId} was not refused`);
}

run(main);
