'use strict';

const { spawn } = require('node:child_process');
const { once } = require('node:events');
const { createInterface } = require('node:readline');
const { EmulatorError } = require('./errors.js');
const { Tail } = require('./tail.js');

// Milliseconds that the emulator has to end after SIGTERM.
const END_LIMIT = 10_000;

/**
 * A running program `hubward emulator`. It ends with this process, even if this process is killed: the system then
 * closes its standard input.
 */
class EmulatorProcess {
  /** Starts the program, and waits until it is ready. */
  static async start(binary, args, timeoutMs) {
    const started = new EmulatorProcess(binary, args);
    try {
      await started.waitUntilReady(timeoutMs);
    } catch (error) {
      await started.stop();
      throw error;
    }
    started.unref();
    return started;
  }

  constructor(binary, args) {
    this.ready = undefined;
    this.operator = undefined;
    const env = Object.fromEntries(Object.entries(process.env)
      .filter(([name]) => !name.startsWith('HUBWARD_') || name === 'HUBWARD_LOG'));
    this.child = spawn(binary, ['emulator', '--output', 'json', '--exit-on-stdin-close', ...args], { env });
    // The error of a program that cannot be started. It has no pipes that could end.
    this.failed = new Promise((resolve) => this.child.once('error', resolve));
    this.ended = new Promise((resolve) => this.child.once('close', resolve));
    this.child.stdin.on('error', () => {});
    this.stderr = new Tail(this.child.stderr);
  }

  /** Throws if the emulator has ended. */
  check() {
    if (this.child.exitCode !== null || this.child.signalCode !== null) {
      const how = this.child.exitCode ?? this.child.signalCode;
      throw new EmulatorError(`the emulator has ended with ${how}${this.reported()}`);
    }
  }

  /** Ends the emulator, and waits for its end. A second call has no effect. */
  async stop() {
    if (this.child.pid === undefined) return;
    this.child.ref();
    this.child.stdin.end();
    // On Windows, `kill` would not let the emulator shut down.
    if (process.platform !== 'win32') this.child.kill('SIGTERM');
    const kill = setTimeout(() => this.child.kill('SIGKILL'), END_LIMIT);
    await this.ended;
    clearTimeout(kill);
  }

  async waitUntilReady(timeoutMs) {
    let timer;
    const late = new Promise((resolve) => { timer = setTimeout(resolve, timeoutMs, 'late'); });
    let outcome;
    try {
      outcome = await Promise.race([this.readStart(), late, this.failed]);
    } finally {
      clearTimeout(timer);
    }
    if (outcome === 'late') {
      throw new EmulatorError(`the emulator was not ready within ${timeoutMs} ms${this.reported()}`);
    }
    if (outcome instanceof Error) {
      throw new EmulatorError(`the program ${this.child.spawnfile} cannot be started: ${outcome.message}`);
    }
  }

  /** Reads the first lines of the output. Later lines are dropped. */
  async readStart() {
    const lines = createInterface({ input: this.child.stdout });
    let problem;
    const done = new Promise((resolve) => {
      lines.on('line', (text) => {
        if (this.operator || problem) return;
        problem = this.take(text);
        if (this.operator || problem) resolve();
      });
    });
    await Promise.race([done, this.ended]);
    if (problem) {
      // The rest of stderr belongs to the error.
      await Promise.race([this.ended, once(this.child, 'exit')]);
      problem.message += this.reported();
      throw problem;
    }
    if (!this.operator) throw new EmulatorError(`the emulator did not start${this.reported()}`);
  }

  /** Takes the facts of a line. Returns the problem if the line says that the emulator does not start. */
  take(text) {
    let line;
    try {
      line = JSON.parse(text);
    } catch {
      return new EmulatorError('the program wrote a line that is not JSON; is it hubward?');
    }
    if (line.type === 'ready') this.ready = line;
    if (line.type === 'operator') this.operator = line.variables;
    return line.type === 'error' ? refused(line) : undefined;
  }

  reported() {
    const text = this.stderr.text.trim();
    return text ? `; its stderr ends with:\n${text}` : '';
  }

  /** Lets this process end while the emulator runs. */
  unref() {
    this.child.unref();
    for (const pipe of [this.child.stdin, this.child.stdout, this.child.stderr]) pipe.unref?.();
  }
}

function refused(line) {
  const causes = line.causes ?? [];
  const hint = line.hint ? `; ${line.hint}` : '';
  const errno = /\(os error (\d+)\)/.exec(causes.join(' '));
  return new EmulatorError(`the emulator did not start: ${[line.message, ...causes].join(': ')}${hint}`, {
    listening: /^cannot listen on \S+ for (.+)/.exec(line.message)?.[1],
    errno: errno ? Number(errno[1]) : undefined,
  });
}

module.exports = { EmulatorProcess };
