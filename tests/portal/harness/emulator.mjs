// Runs `hubward emulator` and the device commands as processes.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

const running = new Set();
process.on("exit", () => running.forEach((it) => it.kill("SIGKILL")));
for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => process.exit(130));

/** The environment of a process: the given variables, and none of the shell's variables for hubward. */
function environment(variables = {}) {
  const kept = Object.entries(process.env).filter(([name]) => !/^(PROVISIONING_|HUBWARD_|IOTHUB_|RUST_LOG)/.test(name));
  return { ...Object.fromEntries(kept), ...variables };
}

function run(binary, args, variables, cwd) {
  const child = spawn(binary, args, { cwd, env: environment(variables), stdio: ["ignore", "pipe", "pipe"] });
  running.add(child);
  child.once("exit", () => running.delete(child));
  child.err = "";
  child.stderr.on("data", (data) => {
    child.err = (child.err + data).slice(-20_000);
  });
  return child;
}

/** An emulator on free ports with its own folder. */
export class Emulator {
  static async start(binary, args = ["--dev-keys"]) {
    const folder = mkdtempSync(join(tmpdir(), "hubward-portal-"));
    const it = new Emulator(binary, folder, args);
    await it.#begin(["--mqtt-port", "0", "--https-port", "0", "--admin-port", "0"]);
    return it;
  }

  constructor(binary, folder, args) {
    Object.assign(this, { binary, folder, args });
  }

  async #begin(ports) {
    const args = [
      "emulator", "--output", "json", "--data-dir", join(this.folder, "data"), "--retry-after", "0s", ...ports, ...this.args,
    ];
    this.process = run(this.binary, args, {}, this.folder);
    const lines = createInterface({ input: this.process.stdout });
    const line = await Promise.race([
      once(lines, "line").then(([it]) => it),
      once(this.process, "exit").then(([code]) => {
        throw new Error(`the emulator ended with ${code}: ${this.process.err}`);
      }),
    ]);
    const ready = JSON.parse(line);
    this.ready = ready.ready ?? ready;
    if (!this.ready.admin) throw new Error(`expected a ready line: ${line}`);
    this.url = this.ready.admin;
  }

  /** Kills the emulator and starts it again on the same ports. */
  async restart() {
    const port = (address) => address.split(":").pop();
    const { mqtt, https, admin } = this.ready;
    await this.kill();
    await this.#begin(["--mqtt-port", port(mqtt[0]), "--https-port", port(https[0]), "--admin-port", port(admin)]);
  }

  async kill() {
    if (this.process.exitCode !== null || this.process.signalCode !== null) return;
    const over = once(this.process, "exit");
    this.process.kill("SIGKILL");
    await over;
  }

  async stop() {
    await this.kill();
    rmSync(this.folder, { recursive: true, force: true });
  }

  /** Sends a request to the admin port, as a program does. */
  async request(method, path, body) {
    const response = await fetch(`${this.url}${path}`, {
      method,
      headers: body === undefined ? {} : { "Content-Type": "application/json" },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`);
    return text === "" ? null : JSON.parse(text);
  }

  dps(method, path, body) {
    return this.request(method, `/dps${path}?api-version=2021-10-01`, body);
  }

  hub(method, path, body) {
    return this.request(method, `/hubs/localhost${path}?api-version=2021-04-12`, body);
  }

  /** Creates an enrollment. Returns the variables that a user would set in a shell. */
  async enroll(registrationId) {
    const made = await this.dps("PUT", `/enrollments/${registrationId}`, {
      registrationId, attestation: { type: "symmetricKey" },
    });
    return this.variables(registrationId, made.attestation.symmetricKey.primaryKey);
  }

  /** The variables of a device with this key. */
  variables(registrationId, key) {
    const rule = (host, port, [address]) => `${host}:${port}:${address}`;
    const rules = ["localhost", "127.0.0.1", "[::1]"].flatMap((host) => [
      rule(host, 8883, this.ready.mqtt), rule(host, 443, this.ready.https),
    ]);
    return {
      PROVISIONING_HOST: "localhost",
      PROVISIONING_IDSCOPE: this.ready.idScope,
      PROVISIONING_REGISTRATION_ID: registrationId,
      PROVISIONING_SYMMETRIC_KEY: key,
      HUBWARD_CA_FILE: this.ready.caFile,
      HUBWARD_CONNECT_TO: rules.join(","),
    };
  }

  /** Runs a device command until it exits. */
  async device(args, variables) {
    const child = run(this.binary, args, variables, this.folder);
    let out = "";
    child.stdout.on("data", (data) => {
      out += data;
    });
    const [code] = await once(child, "close");
    return { code, out, err: child.err };
  }

  /** Starts a long-running device command; `stop` ends it. */
  begin(args, variables) {
    const child = run(this.binary, [...args, "--output", "json"], variables, this.folder);
    const lines = [];
    const waiting = new Set();
    createInterface({ input: child.stdout }).on("line", (line) => {
      lines.push(JSON.parse(line));
      for (const look of [...waiting]) look();
    });
    const over = once(child, "exit").then(() => {
      for (const look of [...waiting]) look(true);
    });
    return {
      lines,
      /** Waits for the first line that satisfies `wanted`. */
      line: (wanted) =>
        new Promise((resolve, reject) => {
          const look = (ended) => {
            const found = lines.find(wanted);
            if (!found && !ended) return;
            waiting.delete(look);
            if (found) resolve(found);
            else reject(new Error(`the device command ended without that line: ${child.err}\n${JSON.stringify(lines)}`));
          };
          waiting.add(look);
          look(child.exitCode !== null);
        }),
      async stop() {
        child.kill("SIGINT");
        await over;
      },
    };
  }
}
