'use strict';

/** The emulator did not start, has ended, or refused a request. */
class EmulatorError extends Error {
  constructor(message, facts = {}) {
    super(message);
    this.name = 'EmulatorError';
    // The HTTP status, if the admin port has refused a request.
    this.status = facts.status;
    // The listener and the error number, if the emulator could not use an address.
    this.listening = facts.listening;
    this.errno = facts.errno;
  }
}

/** No further message arrived in time. */
class TelemetryTimeoutError extends EmulatorError {
  constructor(message) {
    super(message);
    this.name = 'TelemetryTimeoutError';
  }
}

module.exports = { EmulatorError, TelemetryTimeoutError };
