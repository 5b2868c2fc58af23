// Chooses the addresses of the emulator.
//
// Microsoft's SDKs connect to the fixed ports 8883 and 443. Several emulators on one machine cannot share a port of one
// address. So each emulator uses its own loopback address: the first uses `localhost`, the next 127.0.0.2, and so on.
'use strict';

const os = require('node:os');
const { EmulatorError } = require('./errors.js');
const { EmulatorProcess } = require('./process.js');

const MQTT_PORT = 8883;
const HTTPS_PORT = 443;
// The highest last byte of a loopback address.
const LAST = 120;

const { EADDRINUSE, EADDRNOTAVAIL, EACCES, EPERM } = os.constants.errno;
// The large numbers are those of Windows.
const IN_USE = [EADDRINUSE, 10048];
// macOS has only the loopback address 127.0.0.1, unless the user adds more.
const NO_ADDRESS = [EADDRNOTAVAIL, 10049];
const FORBIDDEN = [EACCES, EPERM, 10013];

/** Starts the emulator at `localhost`. The system chooses the ports. */
async function onFreePorts(binary, args, timeoutMs) {
  return { host: 'localhost', process: await EmulatorProcess.start(binary, [...ports(0, 0), ...args], timeoutMs) };
}

/**
 * Starts the emulator at the first loopback address on which the ports of the SDKs are free. `webSockets` says whether
 * port 443 must be used (true), may be used (undefined) or must not be used (false). If the port may be used, but this
 * user has no right to it or no address has both ports free, the emulator uses another port for HTTPS.
 */
async function onStandardPorts(binary, args, timeoutMs, webSockets) {
  let https = webSockets === false ? 0 : HTTPS_PORT;
  let problem;
  let isHttpsInUse = false;
  for (let last = 1; last <= LAST; last += 1) {
    const host = last === 1 ? 'localhost' : `127.0.0.${last}`;
    const address = last === 1 ? [] : ['--bind', host, '--hub', host];
    const start = () =>
      EmulatorProcess.start(binary, [...ports(MQTT_PORT, https), ...address, ...args], timeoutMs);
    try {
      try {
        return { host, process: await start() };
      } catch (error) {
        const optional = webSockets === undefined && https !== 0 && isHttps(error);
        if (!optional || !FORBIDDEN.includes(error.errno)) throw error;
        // Port 443 needs a right that this user does not have. MQTT works without it.
        https = 0;
        return { host, process: await start() };
      }
    } catch (error) {
      if (problem && NO_ADDRESS.includes(error.errno)) break;
      if (!IN_USE.includes(error.errno)) throw error;
      problem = error;
      isHttpsInUse ||= isHttps(error);
    }
  }
  // A program that listens on port 443 of all addresses occupies it on each loopback address. MQTT works without it.
  if (webSockets === undefined && https !== 0 && isHttpsInUse) return onStandardPorts(binary, args, timeoutMs, false);
  throw new EmulatorError(
    `Microsoft's SDKs need the ports ${MQTT_PORT} and ${HTTPS_PORT}, and other programs use them on every loopback `
    + "address; stop these programs, or use ports: 'free' with a client that can choose its ports; "
    + `the last attempt: ${problem.message}`,
  );
}

/** Whether an error of the start concerns the listener for HTTPS. */
function isHttps(error) {
  return error.listening?.startsWith('HTTPS') ?? false;
}

function ports(mqtt, https) {
  return ['--mqtt-port', String(mqtt), '--https-port', String(https), '--admin-port', '0'];
}

module.exports = { HTTPS_PORT, onFreePorts, onStandardPorts };
