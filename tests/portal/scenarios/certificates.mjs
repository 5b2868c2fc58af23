// Certificates: CA certificates with their proof, enrollments and groups with certificates, and devices that use them.

import { spawn, spawnSync } from "node:child_process";
import { mkdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";

import { check, equal } from "../harness/scene.mjs";

export const scenarios = [
  {
    name: "a CA certificate is uploaded, verified by its key, used by a group, and deleted",
    async run(scene) {
      const { page, emulator } = scene;
      const lab = new Lab(scene);
      lab.x509("new-ca", "--name", "root");
      await scene.open("#/certificates");
      await page.getByText("No CA certificate yet.").waitFor();
      await page.getByRole("button", { name: "New CA certificate…" }).click();
      const dialog = page.getByRole("dialog", { name: "New CA certificate" });
      await dialog.getByLabel("Name").fill("line-root");
      await dialog.getByRole("button", { name: "Upload" }).click();
      await dialog.getByText("Paste the certificate, or choose its file.").waitFor();
      await dialog.getByLabel("File: Certificate").setInputFiles(lab.file("root.pem"));
      await dialog.getByRole("button", { name: "Upload" }).click();
      await page.getByRole("heading", { name: "line-root" }).waitFor();
      await page.locator("dl.facts").getByText("not verified").waitFor();
      await page.locator("dl.facts").getByText("CN=root").waitFor();

      await page.getByRole("button", { name: "Generate code" }).click();
      const code = await page.locator("dd code").filter({ hasText: /^[0-9A-F]{48}$/ }).innerText();
      lab.x509("prove", "--code", code, "--issuer-cert", lab.file("root.pem"), "--issuer-key", lab.file("root.key"));
      scene.expected.push(/400.*verify/);
      const proof = page.getByLabel("Verification certificate", { exact: true });
      await proof.fill(lab.text("root.pem"));
      await page.getByRole("button", { name: "Verify" }).click();
      await page.getByRole("alert").getByText("is not the verification code").waitFor();
      await proof.fill(lab.text("proof.pem"));
      await page.getByRole("button", { name: "Verify" }).click();
      await page.getByText("line-root is verified").waitFor();
      equal((await emulator.request("GET", "/api/certificates/line-root")).properties.isVerified, true);
      equal(await scene.axe(), []);

      await page.goto(`${emulator.url}/#/enrollments`);
      await page.getByRole("button", { name: "New enrollment…" }).click();
      const enrolling = page.getByRole("dialog", { name: "New enrollment" });
      await enrolling.getByLabel("Many devices").check();
      await enrolling.getByLabel("Name of the group").fill("line-7");
      await enrolling.getByLabel("Devices authenticate with").selectOption("authority");
      await enrolling.getByLabel("CA certificate").selectOption("line-root");
      await enrolling.getByRole("button", { name: "Create" }).click();
      await enrolling.getByText("is created, with certificates.").waitFor();
      await enrolling.getByLabel("Registration id of the device").fill("robot-12");
      await enrolling.getByText("X509_CERT_FILE='robot-12.pem'").waitFor();
      await enrolling.getByRole("button", { name: "Copy", exact: true }).click();
      await page.getByText("Copied the lines").waitFor();
      lab.x509("new-device", "--name", "robot-12", "--issuer-cert", lab.file("root.pem"), "--issuer-key", lab.file("root.key"));
      const done = await lab.shell(`${await scene.clipboard()}\nhubward provision --messages 1`);
      equal(done.status, 0, done.stderr);
      await enrolling.getByRole("button", { name: "Show enrollment" }).click();
      await page.getByRole("link", { name: "line-root" }).waitFor();
      await page.getByRole("link", { name: /robot-12/ }).click();
      await page.getByText("X.509: a certificate with this thumbprint").waitFor();

      await page.goto(`${emulator.url}/#/certificates/line-root`);
      await page.getByRole("button", { name: "Delete…" }).click();
      await page.getByRole("dialog").getByRole("textbox").fill("line-root");
      await page.getByRole("dialog").getByRole("button", { name: "Delete" }).click();
      await page.getByText("No CA certificate yet.").waitFor();
    },
  },
  {
    name: "an enrollment with a certificate is created, shows its thumbprints, and registers",
    async run(scene) {
      const { page, emulator } = scene;
      const lab = new Lab(scene);
      lab.x509("new-device", "--name", "pump-7");
      await scene.open("#/enrollments");
      await page.getByRole("button", { name: "New enrollment…" }).click();
      const dialog = page.getByRole("dialog", { name: "New enrollment" });
      await dialog.getByLabel("Registration id").fill("pump-7");
      await dialog.getByLabel("Devices authenticate with").selectOption("x509");
      await dialog.getByRole("button", { name: "Create" }).click();
      await dialog.getByText("Paste the certificate, or choose its file.").waitFor();
      await dialog.getByLabel("Certificate", { exact: true }).fill(lab.text("pump-7.pem"));
      equal(await scene.axe(), []);
      await dialog.getByRole("button", { name: "Create" }).click();
      await dialog.getByText("is created, with certificates.").waitFor();
      equal(await dialog.getByRole("button", { name: "Reveal key" }).count(), 0, "there is no key to reveal");
      await dialog.getByRole("button", { name: "Copy", exact: true }).click();
      await page.getByText("Copied the lines").waitFor();
      const done = await lab.shell(`${await scene.clipboard()}\nhubward provision --messages 1`);
      equal(done.status, 0, done.stderr);
      await dialog.getByRole("button", { name: "Show enrollment" }).click();
      const made = await emulator.request("GET", "/dps/enrollments/pump-7?api-version=2021-10-01");
      const { info } = made.attestation.x509.clientCertificates.primary;
      for (const text of ["x509", "CN=pump-7", info.sha1Thumbprint, info.sha256Thumbprint]) {
        await page.locator("dl.facts").getByText(text, { exact: true }).waitFor();
      }
      await page.getByRole("link", { name: "localhost / pump-7" }).click();
      await page.locator("dl.facts").getByText(info.sha256Thumbprint).waitFor();
      await page.getByText("HostName=localhost;DeviceId=pump-7;x509=true").waitFor();
    },
  },
  {
    name: "a private key is removed from the page and never sent",
    async run(scene) {
      const { page } = scene;
      const lab = new Lab(scene);
      lab.x509("new-device", "--name", "pump-7");
      const sent = [];
      page.on("request", (request) => sent.push(request.postData() ?? ""));
      await scene.open("#/enrollments");
      await page.getByRole("button", { name: "New enrollment…" }).click();
      const dialog = page.getByRole("dialog", { name: "New enrollment" });
      await dialog.getByLabel("Registration id").fill("pump-7");
      await dialog.getByLabel("Devices authenticate with").selectOption("x509");
      const area = dialog.getByLabel("Certificate", { exact: true });
      const key = lab.text("pump-7.key");
      await area.fill(key + lab.text("pump-7.pem"));
      await dialog.getByText("This text contains a private key.").waitFor();
      equal(await area.inputValue(), "");
      await dialog.getByLabel("File: Certificate", { exact: true }).setInputFiles(lab.file("pump-7.key"));
      await dialog.getByText("This text contains a private key.").waitFor();
      await dialog.getByRole("button", { name: "Create" }).click();
      await dialog.getByText("Paste the certificate, or choose its file.").waitFor();
      await area.fill("hello!");
      await dialog.getByText("This is neither PEM nor base64.").waitFor();
      const secret = key.split("\n")[1];
      check(secret.length > 20 && !sent.some((it) => it.includes(secret)), "no request contains the key");
    },
  },
];

/** The certificates of a scenario, in the emulator's folder. */
class Lab {
  #scene;
  #folder;

  constructor(scene) {
    this.#scene = scene;
    this.#folder = join(scene.emulator.folder, "certificates");
    mkdirSync(this.#folder);
  }

  file(name) {
    return join(this.#folder, name);
  }

  text(name) {
    return readFileSync(this.file(name), "utf8");
  }

  /** Runs `hubward x509` in the folder. */
  x509(...args) {
    const done = spawnSync(this.#scene.hubward, ["x509", ...args], { cwd: this.#folder, encoding: "utf8" });
    equal(done.status, 0, done.stderr);
  }

  /** Runs lines in a shell that finds `hubward` and the files of the certificates. */
  shell(lines) {
    const PATH = `${dirname(this.#scene.hubward)}:${process.env.PATH}`;
    const child = spawn("bash", ["-c", lines], { env: { PATH, HOME: process.env.HOME }, cwd: this.#folder });
    let stderr = "";
    child.stderr.on("data", (data) => {
      stderr += data;
    });
    return new Promise((resolve) => {
      child.on("close", (status) => resolve({ status, stderr }));
    });
  }
}
