// Makes this process, and the programs that it starts, trust the emulator's certificates.
//
// Node reads NODE_EXTRA_CA_CERTS only when it starts. For this process, the certificate is added to the default
// certificates: with `tls.setDefaultCACertificates` (Node 22.19 and 24.5 or newer), or in older versions by a wrapper
// of `tls.createSecureContext`. A connection with its own option `ca` does not change.
'use strict';

const fs = require('node:fs');
const path = require('node:path');
const tls = require('node:tls');

const trusted = new Set();
// The certificates, or the function, before the first emulator.
let earlier;

/** Trusts the certificate in a file. Returns the variables for other programs, and a function that ends the trust. */
function trust(caFile) {
  const pem = fs.readFileSync(caFile, 'utf8');
  const before = process.env.NODE_EXTRA_CA_CERTS;
  const variables = { NODE_EXTRA_CA_CERTS: extraFile(caFile, pem, before) };
  trusted.add(pem);
  apply();
  Object.assign(process.env, variables);
  return () => {
    trusted.delete(pem);
    apply();
    if (before === undefined) delete process.env.NODE_EXTRA_CA_CERTS;
    else process.env.NODE_EXTRA_CA_CERTS = before;
  };
}

/** The variables with which another program trusts the certificate. */
function variables(caFile) {
  const pem = fs.readFileSync(caFile, 'utf8');
  return { NODE_EXTRA_CA_CERTS: extraFile(caFile, pem, process.env.NODE_EXTRA_CA_CERTS) };
}

/** Node reads one file. If the user has named one, returns a file with the certificates of both. */
function extraFile(caFile, pem, before) {
  if (!before || !fs.existsSync(before)) return caFile;
  const both = path.join(path.dirname(caFile), `extra-${process.pid}.pem`);
  fs.writeFileSync(both, `${pem}\n${fs.readFileSync(before, 'utf8')}`);
  return both;
}

function apply() {
  if (tls.setDefaultCACertificates) {
    earlier ??= tls.getCACertificates('default');
    tls.setDefaultCACertificates([...earlier, ...trusted]);
  } else {
    earlier ??= tls.createSecureContext;
    tls.createSecureContext = trusted.size === 0 ? earlier : createSecureContext;
  }
}

function createSecureContext(options, ...rest) {
  const created = earlier.call(tls, options, ...rest);
  if (!options?.ca) {
    for (const pem of trusted) created.context.addCACert(pem);
  }
  return created;
}

module.exports = { trust, variables };
