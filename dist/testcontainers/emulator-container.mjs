// The emulator as a container of Testcontainers. UNTESTED: there is no container engine where hubward is developed.
//
// Needs the package testcontainers, and the image of the file hubward-emulator_VERSION_ARCHITECTURE.oci.tar:
// docker load --input FILE
import { GenericContainer, Wait } from "testcontainers";

const IMAGE = "hubward-emulator:0.1.0";

/**
 * Starts the emulator with a seed file.
 *
 * Returns the container, and the variables of the first device of the seed. Microsoft's SDKs use only the ports 8883 and
 * 443, so run one container at a time. Do not publish the admin port, 8480.
 */
export async function startEmulator(seed) {
  const container = await new GenericContainer(IMAGE)
    .withExposedPorts({ container: 8883, host: 8883 }, { container: 443, host: 443 })
    .withCopyFilesToContainer([{ source: seed, target: "/seed.json" }])
    .withEnvironment({ HUBWARD_SEED: "/seed.json" })
    .withWaitStrategy(Wait.forLogMessage(/"type":"ready"/))
    .start();
  const { output } = await container.exec(["hubward", "emulator", "env", "--output", "json"]);
  const lines = output.trim().split("\n").map((line) => JSON.parse(line));
  const variables = Object.assign({}, ...lines.map((line) => line.variables ?? {}));
  // Node reads NODE_EXTRA_CA_CERTS only when it starts. Write this tar stream to a file with the package tar-stream, and
  // pass the file to the client as an option, or to the process as NODE_EXTRA_CA_CERTS.
  const ca = await container.copyArchiveFromContainer("/data/ca.pem");
  return { container, variables, ca };
}
