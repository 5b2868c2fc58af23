// Starts the emulator with Testcontainers for Node. NOT RUN: see ../README.md.
//
// Copy this file into your project. `npm install testcontainers`
import { text } from 'node:stream/consumers';
import { GenericContainer, Wait, type StartedTestContainer } from 'testcontainers';

// A public key, for tests only.
const KEY = 'AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=';
const SEED = {
  enrollments: [{
    registrationId: 'dev-1',
    attestation: { type: 'symmetricKey', symmetricKey: { primaryKey: KEY, secondaryKey: KEY } },
  }],
};

export interface Hubward {
  container: StartedTestContainer;
  /** The certificate to trust: `setOptions({ ca })` of the SDK's clients. */
  ca: string;
  host: string;
  idScope: string;
  registrationId: string;
  key: string;
}

/** Starts the emulator. End it with `container.stop()`. */
export async function startHubward(): Promise<Hubward> {
  const container = await new GenericContainer('hubward-emulator')
    .withExposedPorts({ container: 8883, host: 8883 }, { container: 443, host: 443 })
    .withCopyContentToContainer([{ content: JSON.stringify(SEED), target: '/seed.json' }])
    .withEnvironment({ HUBWARD_SEED: '/seed.json' })
    .withWaitStrategy(Wait.forLogMessage(/"type":"ready"/))
    .start();
  // The archive is a tar file with one PEM file.
  const archive = await text(await container.copyArchiveFromContainer('/data/ca.pem'));
  const ca = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----\n/.exec(archive)?.[0];
  if (ca === undefined) throw new Error('the container has no file /data/ca.pem');
  return { container, ca, host: 'localhost', idScope: '0ne000DECADE', registrationId: 'dev-1', key: KEY };
}
