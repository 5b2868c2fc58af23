'use strict';

const http = require('node:http');
const { EmulatorError } = require('./errors.js');

const TIMEOUT_MS = 30_000;

/** The admin port of a running emulator. */
class AdminPort {
  constructor(process) {
    this.process = process;
    this.url = process.ready.admin;
  }

  /** Sends a request. Returns the JSON of the answer, or undefined if the answer has no body. */
  async request(method, path, body, { timeoutMs = TIMEOUT_MS, replace = false } = {}) {
    const content = body === undefined ? undefined : JSON.stringify(body);
    const headers = content === undefined ? {} : { 'Content-Type': 'application/json' };
    // The services change an existing record only with this header. The value means any version of the record.
    if (replace || method === 'DELETE') headers['If-Match'] = '*';
    const where = `${method} ${path}`;
    let answer;
    try {
      answer = await send(`${this.url}/${path.replace(/^\//, '')}`, { method, headers, timeout: timeoutMs }, content);
    } catch (error) {
      this.process.check();
      throw new EmulatorError(`${where}: the emulator does not answer: ${error.message}`);
    }
    const { status, text } = answer;
    if (status >= 300) {
      throw new EmulatorError(`${where}: the emulator answered ${status}: ${reason(text)}`, { status });
    }
    return text.trim() ? JSON.parse(text) : undefined;
  }
}

function send(url, options, content) {
  return new Promise((resolve, reject) => {
    const request = http.request(url, { ...options, agent: false }, (response) => {
      const chunks = [];
      response.on('data', (chunk) => chunks.push(chunk));
      response.on('error', reject);
      response.on('end', () => resolve({ status: response.statusCode, text: Buffer.concat(chunks).toString() }));
    });
    request.on('timeout', () => request.destroy(new Error(`no answer within ${options.timeout} ms`)));
    request.on('error', reject);
    request.end(content);
  });
}

/** The reason in an answer of DPS, of a hub or of the admin API. */
function reason(text) {
  try {
    const parsed = JSON.parse(text);
    return parsed.message ?? parsed.Message ?? text;
  } catch {
    return text;
  }
}

module.exports = { AdminPort };
