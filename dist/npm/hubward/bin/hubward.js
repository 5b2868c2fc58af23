#!/usr/bin/env node
// Runs the program hubward of the package for this platform.
'use strict';

const { spawn } = require('node:child_process');
const os = require('node:os');
const { binaryPath } = require('../lib/binary.js');

function main() {
  let binary;
  try {
    binary = binaryPath();
  } catch (error) {
    console.error(`hubward: ${error.message}`);
    process.exitCode = 1;
    return;
  }
  const child = spawn(binary, process.argv.slice(2), { stdio: 'inherit' });
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
    process.on(signal, () => {
      // A terminal sends Ctrl-C to both processes. A second SIGINT would end the program without a normal shutdown.
      if (signal !== 'SIGINT' || !process.stdin.isTTY) child.kill(signal);
    });
  }
  child.on('error', (error) => {
    console.error(`hubward: ${binary} cannot be started: ${error.message}`);
    process.exitCode = 1;
  });
  child.on('exit', (code, signal) => {
    // The shell's exit code for a program that a signal has ended.
    process.exit(code ?? 128 + (os.constants.signals[signal] ?? 0));
  });
}

main();
