'use strict';

const { EmulatorError } = require('./errors.js');

/** Returns the path of the program hubward: the variable HUBWARD_BINARY, or the package for this platform. */
function binaryPath() {
  if (process.env.HUBWARD_BINARY) return process.env.HUBWARD_BINARY;
  const platform = `${process.platform}-${process.arch}`;
  const name = `@hubward/${platform}`;
  try {
    return require.resolve(`${name}/bin/hubward${process.platform === 'win32' ? '.exe' : ''}`);
  } catch {
    const known = Object.keys(require('../package.json').optionalDependencies);
    throw new EmulatorError(known.includes(name)
      ? `the package ${name} is missing; install hubward again without --omit=optional, and with glibc on Linux`
      : `there is no program for ${platform}; the packages are: ${known.join(', ')}; `
        + 'build hubward from source, and set HUBWARD_BINARY to its path');
  }
}

module.exports = { binaryPath };
