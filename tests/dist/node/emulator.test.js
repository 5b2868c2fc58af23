// A project that uses the installed package `hubward` with Microsoft's unmodified SDK.
//
// `cargo xtask dist --only npm --test` runs this file with `node --test`, and checks types.ts with tsc.
'use strict';

const assert = require('node:assert');
const { spawn, spawnSync } = require('node:child_process');
const { createHmac } = require('node:crypto');
const { once } = require('node:events');
const fs = require('node:fs');
const https = require('node:https');
const os = require('node:os');
const path = require('node:path');
const { after, before, test } = require('node:test');
const { setTimeout: sleep } = require('node:timers/promises');
const { Client, Message } = require('azure-iot-device');
const { Mqtt, MqttWs } = require('azure-iot-device-mqtt');
const { ProvisioningDeviceClient } = require('azure-iot-provisioning-device');
const { Mqtt: DpsMqtt, MqttWs: DpsMqttWs } = require('azure-iot-provisioning-device-mqtt');
const { SymmetricKeySecurityClient } = require('azure-iot-security-symmetric-key');
const { EmulatorError, TelemetryTimeoutError, binaryPath, startEmulator } = require('hubward');

// Milliseconds after which a test gives up. Far longer than a slow machine needs.
const LIMIT = 90_000;
const NO_PORT_443 = 'this user may not listen on port 443, or the port is in use';

let shared;
before(async () => { shared = await startEmulator(); });
after(() => shared?.stop());

async function register(device, Dps, Hub) {
  const security = new SymmetricKeySecurityClient(device.registrationId, device.key);
  const result = await ProvisioningDeviceClient.create(device.host, device.idScope, new Dps(), security).register();
  const login = `HostName=${result.assignedHub};DeviceId=${result.deviceId};SharedAccessKey=${device.key}`;
  return Client.fromConnectionString(login, Hub);
}

async function send(client, ...bodies) {
  await client.open();
  for (const body of bodies) {
    const message = new Message(body);
    message.contentType = 'application/json';
    message.properties.add('unit', '°C');
    await client.sendEvent(message);
  }
  await client.close();
}

async function all(messages) {
  const list = [];
  for await (const message of messages) list.push(message);
  return list;
}

for (const [name, Dps, Hub] of [['MQTT', DpsMqtt, Mqtt], ['WebSockets', DpsMqttWs, MqttWs]]) {
  test(`registration and telemetry over ${name}`, { timeout: LIMIT }, async (t) => {
    if (Hub === MqttWs && !shared.webSockets) {
      t.skip(NO_PORT_443);
      return;
    }
    const device = await shared.enroll(`sends-${name}`);
    await send(await register(device, Dps, Hub), '{"t":21.5}', Buffer.from([0xff, 0]));
    const [first, second] = await all(device.telemetry({ count: 2, timeoutMs: LIMIT }));
    assert.deepStrictEqual(JSON.parse(first.body), { t: 21.5 });
    assert.deepStrictEqual(second.body, Buffer.from([0xff, 0]));
    assert.deepStrictEqual([first.properties, first.systemProperties['$.ct']], [{ unit: '°C' }, 'application/json']);
    assert.deepStrictEqual(await device.received(), [first, second]);
    const kinds = (await shared.events()).filter((it) => it.id === device.registrationId).map((it) => it.kind);
    assert.ok(kinds.includes('registered') && kinds.includes('connected'), kinds.join());
  });
}

test('the cloud side of a device', { timeout: LIMIT }, async () => {
  const device = await shared.enroll('cloud-1');
  const client = Client.fromConnectionString(await device.connectionString(), Mqtt);
  await client.open();
  const twin = await client.getTwin();
  const patches = [];
  const patched = new Promise((resolve) => {
    twin.on('properties.desired', (patch) => {
      patches.push(patch);
      if (patch.interval === 30) resolve(patch);
    });
  });
  client.onDeviceMethod('reboot', (request, response) => response.send(202, { got: request.payload }));
  const message = new Promise((resolve) => {
    client.on('message', (it) => client.complete(it).then(() => resolve(it)));
  });
  // The hub answers this request after it has handled the subscriptions above.
  await twin.get();
  await device.updateTwin({ desired: { interval: 30 }, tags: { site: 'a' } });
  assert.strictEqual((await patched).interval, 30);
  assert.deepStrictEqual((await device.twin()).tags, { site: 'a' });
  assert.deepStrictEqual(
    await device.invokeMethod('reboot', { delay: 3 }), { status: 202, payload: { got: { delay: 3 } } });
  await device.sendMessage('hello', { k: 'v' });
  assert.strictEqual((await message).getData().toString(), 'hello');
  await client.close();
  await device.remove();
  await assert.rejects(device.twin(), (error) => error instanceof EmulatorError && error.status === 404);
});

test('two emulators at the same time, each with its own address', { timeout: LIMIT }, async () => {
  const other = await startEmulator();
  try {
    assert.notStrictEqual(other.host, shared.host);
    assert.deepStrictEqual([other.mqttPort, shared.mqttPort], [8883, 8883]);
    const device = await other.enroll('two-1');
    await send(await register(device, DpsMqtt, Mqtt), '1');
    assert.strictEqual((await all(other.telemetry({ count: 1, timeoutMs: LIMIT })))[0].deviceId, 'two-1');
    assert.deepStrictEqual(await shared.received('two-1'), []);
  } finally {
    await other.stop();
  }
  // The trust in the emulator that still runs remains.
  const device = await shared.enroll('two-2');
  await send(await register(device, DpsMqtt, Mqtt), '2');
});

test('the login of an operator, and the end of the trust', { timeout: LIMIT }, async (t) => {
  if (!shared.webSockets) {
    t.skip(NO_PORT_443);
    return;
  }
  const emulator = await startEmulator();
  const { hostname, token } = signed(emulator.hubLogin);
  const device = await emulator.enroll('operated-1');
  await device.connectionString();
  const options = {
    hostname, path: '/devices/operated-1?api-version=2021-04-12', headers: { Authorization: token }, agent: false,
  };
  assert.strictEqual((await get(options)).deviceId, 'operated-1');
  // A connection with its own certificates does not trust the emulator.
  await assert.rejects(get({ ...options, ca: [] }), /certificate/);
  const ca = fs.readFileSync(emulator.caFile);
  const data = fs.mkdtempSync(path.join(os.tmpdir(), 'hubward-test-'));
  await emulator.stop();
  const untrusted = await startEmulator({ trust: false, dataDir: data });
  try {
    await assert.rejects(get({ ...options, hostname: untrusted.host }), /certificate/);
    assert.notDeepStrictEqual(fs.readFileSync(untrusted.caFile), ca);
  } finally {
    await untrusted.stop();
    fs.rmSync(data, { recursive: true });
  }
});

test('emulators stop in any order, and the last one restores the trust', { timeout: LIMIT }, async () => {
  // A process without other emulators, once without and once with certificates of the user.
  const program = `
    const fs = require('node:fs');
    const tls = require('node:tls');
    const { startEmulator } = require('hubward');
    const secure = (it) => new Promise((resolve) => {
      const socket = tls.connect({ host: it.host, port: it.mqttPort });
      socket.on('secureConnect', () => { socket.destroy(); resolve(true); });
      socket.on('error', () => resolve(false));
    });
    (async () => {
      const seen = [];
      const see = () => {
        const file = process.env.NODE_EXTRA_CA_CERTS;
        seen.push([file ?? null, file ? fs.readFileSync(file, 'utf8') : '']);
      };
      const start = (dataDir) => startEmulator({ ports: 'free', dataDir });
      see();
      const a = await start(process.argv[1]);
      const b = await start(process.argv[2]);
      const cas = [a, b].map((it) => fs.readFileSync(it.caFile, 'utf8'));
      see();
      await a.stop();
      see();
      const c = await startEmulator({ ports: 'free', trust: false });
      const trusted = [await secure(b), await secure(c)];
      const separate = c.environment.NODE_EXTRA_CA_CERTS;
      const own = [fs.readFileSync(c.caFile, 'utf8'), fs.readFileSync(separate, 'utf8')];
      await c.stop();
      const b2 = b.environment.NODE_EXTRA_CA_CERTS === process.env.NODE_EXTRA_CA_CERTS;
      await b.stop();
      await b.stop();
      see();
      console.log(JSON.stringify({ seen, cas, trusted, own, separate, b2 }));
    })();`;
  const root = fs.mkdtempSync(path.join(os.tmpdir(), 'hubward-test-'));
  const folders = ['a', 'b', 'tmp'].map((it) => path.join(root, it));
  const user = path.join(root, 'user.pem');
  fs.copyFileSync(shared.caFile, user);
  const pem = fs.readFileSync(user, 'utf8');
  for (const folder of folders) fs.mkdirSync(folder);
  for (const before of [undefined, user]) {
    const env = { ...process.env, TMPDIR: folders[2], NODE_EXTRA_CA_CERTS: before };
    const options = { cwd: __dirname, encoding: 'utf8', env, timeout: LIMIT };
    const ran = spawnSync(process.execPath, ['-e', program, ...folders.slice(0, 2)], options);
    assert.strictEqual(ran.status, 0, ran.stderr);
    const { seen: [first, both, one, last], cas, trusted, own, separate, b2 } = JSON.parse(ran.stdout);
    assert.deepStrictEqual([first[0], last[0]], [before ?? null, before ?? null]);
    assert.deepStrictEqual([cas[0], cas[1], pem].map((it) => both[1].includes(it)), [true, true, before === user]);
    assert.deepStrictEqual([cas[0], cas[1], pem].map((it) => one[1].includes(it)), [false, true, before === user]);
    assert.deepStrictEqual([trusted, b2], [[true, false], true]);
    assert.deepStrictEqual([own[0], cas[1]].map((it) => own[1].includes(it)), [true, true]);
    // The files with several certificates are gone, and none was written beside the CA of a `dataDir`.
    for (const file of [both[0], one[0], separate]) assert.ok(!fs.existsSync(file), file);
    assert.deepStrictEqual(fs.readdirSync(folders[2]), []);
    for (const folder of folders.slice(0, 2)) {
      assert.deepStrictEqual(fs.readdirSync(folder, { recursive: true }).filter((it) => /extra/.test(it)), []);
    }
  }
  fs.rmSync(root, { recursive: true });
});

test('port 443 in use on all addresses', { timeout: LIMIT }, async () => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'hubward-test-'));
  // Plays the program on a machine with a web server: each start with port 443 fails as the program reports it.
  const binary = path.join(folder, 'hubward');
  const refused = JSON.stringify({
    type: 'error',
    message: 'cannot listen on 127.0.0.1:443 for HTTPS',
    causes: [`Address already in use (os error ${os.constants.errno.EADDRINUSE})`],
  });
  fs.writeFileSync(binary, `#!/bin/sh
case "$*" in *'--https-port 443 '*) echo '${refused}'; exit 1;; esac
exec '${binaryPath()}' "$@"
`, { mode: 0o755 });
  const emulator = await startEmulator({ binary });
  try {
    assert.deepStrictEqual([emulator.mqttPort, emulator.webSockets], [8883, false]);
    const device = await emulator.enroll('web-1');
    await send(await register(device, DpsMqtt, Mqtt), '1');
    assert.strictEqual((await all(device.telemetry({ count: 1, timeoutMs: LIMIT }))).length, 1);
  } finally {
    await emulator.stop();
  }
  await assert.rejects(startEmulator({ binary, webSockets: true }), /need the ports 8883 and 443.*for HTTPS/);
  fs.rmSync(folder, { recursive: true });
});

test('free ports, a seed, and further options', { timeout: LIMIT }, async () => {
  const seed = { enrollments: [{ registrationId: 'seeded-1', attestation: { type: 'symmetricKey' } }] };
  const emulator = await startEmulator({ ports: 'free', seed, args: ['--id-scope', '0ne00ABCDEF'] });
  try {
    assert.ok(![0, 8883].includes(emulator.mqttPort) && !emulator.webSockets);
    assert.strictEqual(emulator.idScope, '0ne00ABCDEF');
    const first = await emulator.enroll('other-1');
    assert.strictEqual((await emulator.enroll('other-1')).key, first.key);
    const key = Buffer.alloc(32, 7).toString('base64');
    assert.strictEqual((await emulator.enroll('other-1', key)).key, key);
    await emulator.reset();
    await assert.rejects(emulator.admin('GET', 'dps/enrollments/other-1'), { status: 404 });
    assert.strictEqual((await emulator.admin('GET', 'dps/enrollments/seeded-1')).registrationId, 'seeded-1');
    await assert.rejects(emulator.telemetry({ deviceId: 'x', timeoutMs: 0 }).next(), TelemetryTimeoutError);
  } finally {
    await emulator.stop();
  }
  await assert.rejects(emulator.enroll('late-1'), /the emulator has ended with 0/);
});

test('a failed start says why', async () => {
  const seed = path.join(fs.mkdtempSync(path.join(os.tmpdir(), 'hubward-test-')), 'seed.json');
  fs.writeFileSync(seed, '{');
  await assert.rejects(startEmulator({ seed }), /did not start: .*seed\.json/);
  await assert.rejects(startEmulator({ binary: 'no-such-program' }), /no-such-program cannot be started/);
  await assert.rejects(startEmulator({ args: ['--no-such-option'] }), /unexpected argument '--no-such-option'/);
  fs.rmSync(path.dirname(seed), { recursive: true });
});

test('the emulator ends with a killed process', { timeout: LIMIT }, async () => {
  const program = "require('hubward').startEmulator({ ports: 'free' })"
    + '.then((it) => { console.log(it.caFile); process.stdin.resume(); })';
  // With certificates of a user, the killed process would leave a temporary file.
  const env = { ...process.env, NODE_EXTRA_CA_CERTS: undefined };
  const child = spawn(process.execPath, ['-e', program], { cwd: __dirname, env, stdio: ['pipe', 'pipe', 'inherit'] });
  const [line] = await once(child.stdout.setEncoding('utf8'), 'data');
  // The emulator deletes this file when it ends.
  const file = line.trim();
  assert.ok(fs.existsSync(file));
  child.kill('SIGKILL');
  while (fs.existsSync(file)) await sleep(50);
});

test('a forgotten emulator does not keep the process alive', { timeout: LIMIT }, async () => {
  const program = "require('hubward').startEmulator({ ports: 'free' }).then((it) => console.log(it.idScope))";
  const ran = spawnSync(process.execPath, ['-e', program], { cwd: __dirname, encoding: 'utf8', timeout: LIMIT });
  assert.deepStrictEqual([ran.status, ran.stdout], [0, '0ne000DECADE\n'], ran.stderr);
});

test('ES modules import the same package', { timeout: LIMIT }, async () => {
  const imported = await import('hubward');
  assert.strictEqual(imported.startEmulator, startEmulator);
  assert.strictEqual(imported.EmulatorError, EmulatorError);
});

test('npx hubward runs the program, and passes signals and exit codes', { timeout: LIMIT }, async () => {
  const launcher = require.resolve('hubward/package.json').replace('package.json', 'bin/hubward.js');
  const wrong = spawnSync(process.execPath, [launcher, 'no-such-command'], { encoding: 'utf8' });
  const direct = spawnSync(binaryPath(), ['no-such-command'], { encoding: 'utf8' });
  assert.deepStrictEqual([wrong.status, wrong.stderr], [2, direct.stderr]);

  const ports = ['--mqtt-port', '0', '--https-port', '0', '--admin-port', '0'];
  const args = [launcher, 'emulator', '--in-memory', '--output', 'json', ...ports];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  const [line] = await once(child.stdout.setEncoding('utf8'), 'data');
  const { caFile } = JSON.parse(line.split('\n')[0]);
  child.kill('SIGTERM');
  assert.deepStrictEqual(await once(child, 'exit'), [0, null]);
  assert.ok(!fs.existsSync(caFile), 'the emulator shut down normally');
});

function signed(login) {
  const parts = Object.fromEntries(login.split(';').map((it) => it.split(/=(.*)/s)));
  const resource = encodeURIComponent(parts.HostName);
  const expiry = Math.floor(Date.now() / 1000) + 600;
  const signature = createHmac('sha256', Buffer.from(parts.SharedAccessKey, 'base64'))
    .update(`${resource}\n${expiry}`).digest('base64');
  const token = `SharedAccessSignature sr=${resource}&sig=${encodeURIComponent(signature)}&se=${expiry}`
    + `&skn=${parts.SharedAccessKeyName}`;
  return { hostname: parts.HostName, token };
}

function get(options) {
  return new Promise((resolve, reject) => {
    https.get({ timeout: LIMIT, ...options }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk) => { text += chunk; }).on('error', reject);
      response.on('end', () => resolve(JSON.parse(text)));
    }).on('error', reject);
  });
}
