import api from './index.js';

export const { EmulatorError, TelemetryTimeoutError, binaryPath, startEmulator } = api;
