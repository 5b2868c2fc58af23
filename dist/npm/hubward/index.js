'use strict';

const { binaryPath } = require('./lib/binary.js');
const { startEmulator } = require('./lib/emulator.js');
const { EmulatorError, TelemetryTimeoutError } = require('./lib/errors.js');

module.exports = { EmulatorError, TelemetryTimeoutError, binaryPath, startEmulator };
