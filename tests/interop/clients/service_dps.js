// Makes every call that Microsoft's unmodified package `azure-iot-provisioning-service` has for DPS. It works like
// service_dps.py. INTEROP_DPS is the connection string of the shared access policy. INTEROP_CERTIFICATES lists the
// files of certificates. Devices register at PROVISIONING_HOST with the ID scope PROVISIONING_IDSCOPE.
'use strict';

const { deepStrictEqual: same, ok } = require('node:assert');
const { createHmac, randomBytes } = require('node:crypto');
const { readFileSync } = require('node:fs');
const { parse } = require('node:path');
const { ProvisioningServiceClient } = require('azure-iot-provisioning-service');
const { ProvisioningDeviceClient } = require('azure-iot-provisioning-device');
const { Http } = require('azure-iot-provisioning-device-http');
const { SymmetricKeySecurityClient } = require('azure-iot-security-symmetric-key');
const { X509Security } = require('azure-iot-security-x509');
const { Surface, called, fails, plain, run } = require('./surface');

const PREFIX = 'service-node';
const CERTIFICATES = JSON.parse(process.env.INTEROP_CERTIFICATES);
// The members of `info`, which DPS reads from a certificate.
const INFO = [
  'issuerName', 'notAfterUtc', 'notBeforeUtc', 'serialNumber', 'sha1Thumbprint', 'sha256Thumbprint', 'subjectName',
  'version',
];
const surface = new Surface();

async function main() {
  const Client = surface.watch('ProvisioningServiceClient', ProvisioningServiceClient);
  const client = surface.watch('ProvisioningServiceClient', Client.fromConnectionString(process.env.INTEROP_DPS));
  await Promise.all([
    individual(client), group(client), individualWithCertificate(client), groupsWithCertificates(client), bulk(client),
    wrongCredentials(Client),
  ]);
  surface.report();
}

// Creates an individual enrollment with generated keys and registers a device with it. Then changes its keys, disables
// it and deletes it.
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
  same(shown.attestation, { type: 'symmetricKey' }, 'a read enrollment has no keys');
  const mechanism = plain(await client.getIndividualEnrollmentAttestationMechanism(name));
  same(mechanism, created.attestation, 'the attestation');
  await fails(/ConflictError|DeviceAlreadyExists|409/, client.createOrUpdateIndividualEnrollment, body);

  same((await register(name, key)).deviceId, `${name}-device`, 'the device id');
  const { registrationState } = plain(await client.getIndividualEnrollment(name));
  same([registrationState.status, registrationState.assignedHub], ['assigned', 'localhost'], 'the registration state');
  const record = plain(await client.getDeviceRegistrationState(name));
  same(record.etag, registrationState.etag, 'the record');

  // The update sets a new primary key, and makes the old primary key the secondary key. After that, a device can
  // register with the new primary key. DPS refuses the old secondary key.
  const keys = { primaryKey: randomBytes(32).toString('base64'), secondaryKey: mechanism.symmetricKey.primaryKey };
  const changed = { ...shown, attestation: { type: 'symmetricKey', symmetricKey: keys } };
  await fails(/InvalidEtagError/, client.createOrUpdateIndividualEnrollment, { ...changed, etag: '"stale"' });
  const updated = plain(await client.createOrUpdateIndividualEnrollment(changed));
  same(updated.attestation.symmetricKey, keys, 'the new keys');
  await register(name, keys.primaryKey);
  await refusedDevice(name, mechanism.symmetricKey.secondaryKey);

  const found = await all(client.createIndividualEnrollmentQuery({ query: 'SELECT * FROM enrollments' }));
  same(found.filter((it) => it.registrationId === name).length, 1, 'the query finds the enrollment');
  const disabled = { ...updated, provisioningStatus: 'disabled' };
  plain(await client.createOrUpdateIndividualEnrollment(disabled));
  await refusedDevice(name, keys.primaryKey);

  // `deleteIndividualEnrollment` accepts three forms of arguments: an enrollment that contains its ETag, an ID and an
  // ETag, or only an ID.
  await fails(/InvalidEtagError/, client.deleteIndividualEnrollment, updated);
  await fails(/InvalidEtagError/, client.deleteIndividualEnrollment, name, 'stale');
  await called((done) => client.deleteIndividualEnrollment(name, done));
  await fails(/Not ?[Ff]ound/, client.getIndividualEnrollment, name);
  // The registration record exists until the program deletes it.
  await client.deleteDeviceRegistrationState(plain(await client.getDeviceRegistrationState(name)));
  await fails(/Not ?[Ff]ound/, client.getDeviceRegistrationState, name);
}

// An enrollment group. Devices register with derived keys, and the group lists their registration records.
async function group(client) {
  const name = `${PREFIX}-group`;
  const created = plain(await client.createOrUpdateEnrollmentGroup({
    enrollmentGroupId: name, attestation: { type: 'symmetricKey' }, allocationPolicy: 'hashed',
  }));
  const shown = plain(await client.getEnrollmentGroup(name));
  same(shown.attestation, { type: 'symmetricKey' }, 'a read enrollment has no keys');
  same(plain(await client.getEnrollmentGroupAttestationMechanism(name)), created.attestation, 'the attestation');
  const key = Buffer.from(created.attestation.symmetricKey.secondaryKey, 'base64');
  const devices = [0, 1, 2].map((number) => `${name}-${number}`);
  await Promise.all(devices.map((it) => register(it, createHmac('sha256', key).update(it).digest('base64'))));
  const records = await all(client.createEnrollmentGroupDeviceRegistrationStateQuery({ query: 'SELECT *' }, name, 2), 2);
  same(records.map((it) => it.registrationId), devices, 'its devices, in pages of two');
  const groups = await all(client.createEnrollmentGroupQuery({ query: 'SELECT *' }));
  ok(groups.some((it) => it.enrollmentGroupId === name), 'the query finds the group');
  await client.createOrUpdateEnrollmentGroup({ ...shown, provisioningStatus: 'disabled' });
  await fails(/InvalidEtagError/, client.deleteEnrollmentGroup, shown);
  await client.deleteEnrollmentGroup(plain(await client.getEnrollmentGroup(name)));
  await fails(/Not ?[Ff]ound/, client.getEnrollmentGroup, name);
}

// An individual enrollment with a certificate. The operator adds a second certificate, and the device uses it.
async function individualWithCertificate(client) {
  const { device, nextDevice } = CERTIFICATES;
  const name = device.id;
  const attestation = { type: 'x509', x509: { clientCertificates: { primary: entry(device) } } };
  const created = plain(await client.createOrUpdateIndividualEnrollment({ registrationId: name, attestation }));
  const { info } = created.attestation.x509.clientCertificates.primary;
  checkInfo(info, device, `CN=${name}`, `CN=${name}`);
  const shown = plain(await client.getIndividualEnrollment(name));
  same(shown.attestation, created.attestation, 'the read enrollment');
  const mechanism = plain(await client.getIndividualEnrollmentAttestationMechanism(name));
  same(mechanism, created.attestation, 'the attestation');
  await registerWithCertificate(device);
  ok(await registerWithCertificate(nextDevice).then(() => false, () => true), 'the other certificate is refused');

  // The tool sends the first certificate back as it has read it, and adds the second one.
  const { primary } = shown.attestation.x509.clientCertificates;
  const both = { type: 'x509', x509: { clientCertificates: { primary, secondary: entry(nextDevice) } } };
  const read = plain(await client.getIndividualEnrollment(name));
  const updated = plain(await client.createOrUpdateIndividualEnrollment({ ...read, attestation: both }));
  const certificates = updated.attestation.x509.clientCertificates;
  same(certificates.primary.info, info, 'the first certificate');
  checkInfo(certificates.secondary.info, nextDevice, `CN=${name}`, `CN=${name}`);
  await registerWithCertificate(nextDevice);

  const found = await all(client.createIndividualEnrollmentQuery({ query: 'SELECT * FROM enrollments' }));
  const attestations = found.filter((it) => it.registrationId === name).map((it) => it.attestation);
  same(attestations, [updated.attestation], 'matches of the query');
  const broken = { type: 'x509', x509: { clientCertificates: { primary: { certificate: 'MIIB' } } } };
  const invalid = { registrationId: `${name}-broken`, attestation: broken };
  await fails(/ArgumentError|400/, client.createOrUpdateIndividualEnrollment, invalid);
  await called((done) => client.deleteIndividualEnrollment(name, done));
}

// A group with a signing certificate, and a group that names a CA certificate of DPS.
async function groupsWithCertificates(client) {
  const { line, member, authority } = CERTIFICATES;
  const signing = `${PREFIX}-signing`;
  const attestation = { type: 'x509', x509: { signingCertificates: { primary: entry(line) } } };
  const created = plain(await client.createOrUpdateEnrollmentGroup({ enrollmentGroupId: signing, attestation }));
  const { info } = created.attestation.x509.signingCertificates.primary;
  checkInfo(info, line, `CN=${parse(line.certificate).name}`, `CN=${authority}`);
  same(plain(await client.getEnrollmentGroup(signing)).attestation, created.attestation, 'the read group');
  const mechanism = plain(await client.getEnrollmentGroupAttestationMechanism(signing));
  same(mechanism, created.attestation, 'the attestation');
  await registerWithCertificate(member);
  const records = await all(client.createEnrollmentGroupDeviceRegistrationStateQuery({ query: 'SELECT *' }, signing));
  same(records.map((it) => it.registrationId), [member.id], 'its devices');
  await client.deleteEnrollmentGroup(plain(await client.getEnrollmentGroup(signing)));

  const reference = (primary) => ({
    enrollmentGroupId: `${PREFIX}-reference`, attestation: { type: 'x509', x509: { caReferences: { primary } } },
  });
  await fails(/ArgumentError|400/, client.createOrUpdateEnrollmentGroup, reference('no-such-authority'));
  const group = plain(await client.createOrUpdateEnrollmentGroup(reference(authority)));
  same(group.attestation.x509.caReferences.primary, authority, 'the reference');
  const read = plain(await client.getEnrollmentGroup(group.enrollmentGroupId));
  same(read.attestation, group.attestation, 'the read group');
  await client.deleteEnrollmentGroup(group);
}

// The certificate of a device, without those of its issuers, in the form of the service API.
function entry({ certificate }) {
  const end = '-----END CERTIFICATE-----';
  return { certificate: readFileSync(certificate, 'utf8').split(end)[0] + end };
}

function checkInfo(info, { sha256 }, subject, issuer) {
  same(Object.keys(info).sort(), INFO, 'the members of info');
  const { subjectName, issuerName, sha256Thumbprint, version } = info;
  same([subjectName, issuerName, sha256Thumbprint, version], [subject, issuer, sha256, 3], 'info');
}

// Bulk operations and paged queries. For the bulk call, the program uses a callback, because the promise that the SDK
// returns for this call never settles.
async function bulk(client) {
  const names = [0, 1, 2, 3, 4].map((number) => `${PREFIX}-bulk-${number}`);
  const enrollments = names.map((it) => ({ registrationId: it, attestation: { type: 'symmetricKey' } }));
  const runBulk = (mode, some) => called((done) => client.runBulkEnrollmentOperation({ mode, enrollments: some }, done));
  same(await runBulk('create', enrollments), { isSuccessful: true, errors: [] }, 'create');
  const twice = await runBulk('create', enrollments.slice(0, 1));
  same([twice.isSuccessful, twice.errors[0].registrationId], [false, names[0]], 'create an existing enrollment');
  const found = await all(client.createIndividualEnrollmentQuery({ query: 'SELECT * FROM enrollments' }, 2), 2);
  const created = found.map((it) => it.registrationId).filter((it) => names.includes(it));
  same(created, names, 'the query finds every created enrollment');
  for (const mode of ['update', 'delete']) {
    same(await runBulk(mode, enrollments), { isSuccessful: true, errors: [] }, mode);
  }
  await fails(/Not ?[Ff]ound/, client.getIndividualEnrollment, names[0]);
}

// DPS refuses a wrong key, a wrong policy, and a Microsoft Entra token.
async function wrongCredentials(Client) {
  const right = process.env.INTEROP_DPS;
  for (const wrong of [
    right.replace(/SharedAccessKey=.*/, 'SharedAccessKey=AAECAwQFBgcICQoLDA0ODw=='),
    right.replace('provisioningserviceowner', 'unknown'),
  ]) {
    const client = Client.fromConnectionString(wrong);
    await fails(/Unauthorized/, () => client.getIndividualEnrollment('x'));
  }
  const credential = { getToken: async () => ({ token: 'x', expiresOnTimestamp: Date.now() + 3600e3 }) };
  const host = /HostName=([^;]*)/.exec(right)[1];
  const entra = async () => ProvisioningServiceClient.fromTokenCredential(host, credential).getIndividualEnrollment('x');
  entra.call = 'ProvisioningServiceClient.fromTokenCredential';
  await surface.refused('Microsoft Entra tokens are not emulated: 401', /Unauthorized.*Entra/, entra);
}

// Returns the rows of all pages of a query. Checks that each page has at most `pageSize` rows.
async function all(query, pageSize = 1000) {
  const watched = surface.watch('Query', query);
  const found = [];
  while (query.hasMoreResults) {
    const page = plain(await watched.next(query.continuationToken));
    ok(page.length <= pageSize, 'a page is too long');
    found.push(...page);
  }
  return found;
}

function register(registrationId, key) {
  const security = new SymmetricKeySecurityClient(registrationId, key);
  const { PROVISIONING_HOST, PROVISIONING_IDSCOPE } = process.env;
  return ProvisioningDeviceClient.create(PROVISIONING_HOST, PROVISIONING_IDSCOPE, new Http(), security).register();
}

function registerWithCertificate({ id, certificate, key }) {
  const security = new X509Security(id, { cert: readFileSync(certificate, 'utf8'), key: readFileSync(key, 'utf8') });
  const { PROVISIONING_HOST, PROVISIONING_IDSCOPE } = process.env;
  return ProvisioningDeviceClient.create(PROVISIONING_HOST, PROVISIONING_IDSCOPE, new Http(), security).register();
}

async function refusedDevice(registrationId, key) {
  const registered = await register(registrationId, key).then(() => true, () => false);
  ok(!registered, `${registrationId} was not refused`);
}

run(main);
