// Makes this process, and the programs that it starts, trust the certificates of the emulators.
//
// Node reads NODE_EXTRA_CA_CERTS only when it starts. For this process, the certificate is added to the default
// certificates: with `tls.setDefaultCACertificates` (Node 22.19 and 24.5 or newer), or in older versions by a wrapper
// of `tls.createSecureContext`. A connection with its own option `ca` does not change.
'use strict';

const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const tls = require('node:tls');

// One entry `{ pem, caFile }` for each emulator that this process trusts. Emulators can stop in any order.
const active = new Set();
// While `active` has entries: NODE_EXTRA_CA_CERTS as it was before the first emulator, and its certificates.
let original;
// While `active` has entries, and one file of an emulator is not enough: the file with all certificates.
let shared;
// The certificates, or the function, before the first emulator.
let earlier;

/**
 * Makes this process trust the certificate in a file. Returns the variables for other programs, and a function that
 * ends the trust. A second call of this function has no effect.
 */
function trust(caFile) {
  const entry = { pem: fs.readFileSync(caFile, 'utf8'), caFile };
  if (active.size === 0) original = userFile();
  active.add(entry);
  const end = () => {
    if (active.delete(entry)) update();
  };
  try {
    update();
  } catch (error) {
    end();
    throw error;
  }
  return { variables: { NODE_EXTRA_CA_CERTS: process.env.NODE_EXTRA_CA_CERTS }, end };
}

/**
 * Returns the variables with which another program trusts the certificate, and a function that deletes their file. This
 * process does not change.
 */
function variables(caFile) {
  const others = [userFile().pem].filter(Boolean);
  if (others.length === 0) return { variables: { NODE_EXTRA_CA_CERTS: caFile }, end() {} };
  const bundle = new Bundle();
  bundle.write([fs.readFileSync(caFile, 'utf8'), ...others]);
  return { variables: { NODE_EXTRA_CA_CERTS: bundle.file }, end: () => bundle.delete() };
}

/** The present value of NODE_EXTRA_CA_CERTS, and the certificates in the file. Node ignores a file it cannot read. */
function userFile() {
  const value = process.env.NODE_EXTRA_CA_CERTS;
  try {
    return { value, pem: value ? fs.readFileSync(value, 'utf8') : undefined };
  } catch {
    return { value };
  }
}

/** Makes the default certificates and NODE_EXTRA_CA_CERTS follow `active`. */
function update() {
  apply();
  if (active.size === 0) {
    if (original.value === undefined) delete process.env.NODE_EXTRA_CA_CERTS;
    else process.env.NODE_EXTRA_CA_CERTS = original.value;
    shared?.delete();
    shared = undefined;
    return;
  }
  const [first] = active;
  // The shared file keeps its path until the last emulator stops: a program that got the path may read it later.
  if (original.pem || active.size > 1) shared ??= new Bundle();
  shared?.write([...pems(), ...(original.pem ? [original.pem] : [])]);
  process.env.NODE_EXTRA_CA_CERTS = shared?.file ?? first.caFile;
}

function pems() {
  return new Set([...active].map((it) => it.pem));
}

function apply() {
  if (tls.setDefaultCACertificates) {
    earlier ??= tls.getCACertificates('default');
    tls.setDefaultCACertificates([...earlier, ...pems()]);
  } else {
    earlier ??= tls.createSecureContext;
    tls.createSecureContext = active.size === 0 ? earlier : createSecureContext;
  }
}

function createSecureContext(options, ...rest) {
  const created = earlier.call(tls, options, ...rest);
  if (!options?.ca) {
    for (const pem of pems()) created.context.addCACert(pem);
  }
  return created;
}

/** A file with several certificates, in its own temporary folder. Node reads only one file. */
class Bundle {
  static #folders = new Set();

  static {
    process.on('exit', () => Bundle.#folders.forEach(remove));
  }

  #folder = fs.mkdtempSync(path.join(os.tmpdir(), 'hubward-ca-'));

  constructor() {
    Bundle.#folders.add(this.#folder);
    this.file = path.join(this.#folder, 'ca.pem');
  }

  /** Replaces the content in one step, so that no program reads half a file. */
  write(certificates) {
    fs.writeFileSync(`${this.file}.new`, [...certificates, ''].join('\n'));
    fs.renameSync(`${this.file}.new`, this.file);
  }

  delete() {
    Bundle.#folders.delete(this.#folder);
    remove(this.#folder);
  }
}

function remove(folder) {
  fs.rmSync(folder, { recursive: true, force: true });
}

module.exports = { trust, variables };
