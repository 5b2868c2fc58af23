// A field for a certificate: the user pastes PEM text, or chooses a file. A private key never leaves the page.

import { field, fill, h, unique } from "./dom.js";

/** Maximum size of a file in bytes. The emulator accepts requests of at most 1 MiB. */
const MOST = 256 * 1024;

/**
 * Creates the field. `read` returns the certificate in the form of the service APIs: PEM text, or the base64 of DER.
 * It returns null if the field is empty, and undefined if its content cannot be sent. In the latter case, the field
 * shows the reason.
 */
export function certificateField(label, hint) {
  const text = h("textarea", {
    rows: "4", class: "code", spellcheck: "false", autocomplete: "off", placeholder: "-----BEGIN CERTIFICATE-----",
  });
  const problem = h("p", { role: "alert", class: "problem" });
  const file = h("input", { type: "file", id: unique("file"), accept: ".pem,.crt,.cer,.der", "aria-label": `File: ${label}` });

  function check() {
    if (/PRIVATE KEY/.test(text.value)) {
      text.value = "";
      fill(problem, "This text contains a private key. The page has removed it and sends nothing. Use only the certificate.");
      return undefined;
    }
    const value = text.value.trim();
    if (value === "") return null;
    if (!value.includes("-----BEGIN CERTIFICATE-----") && !/^[A-Za-z0-9+/=\s]+$/.test(value)) {
      fill(problem, "This is neither PEM nor base64. A PEM text begins with -----BEGIN CERTIFICATE-----.");
      return undefined;
    }
    fill(problem);
    return value;
  }
  text.addEventListener("input", check);
  file.addEventListener("change", async () => {
    const [chosen] = file.files;
    if (!chosen) return;
    text.value = "";
    if (chosen.size > MOST) {
      fill(problem, `${chosen.name} has more than ${MOST / 1024} KiB. A certificate is much smaller.`);
    } else {
      const bytes = new Uint8Array(await chosen.arrayBuffer());
      // DER begins with the tag of a sequence.
      text.value = bytes[0] === 0x30 ? base64(bytes) : new TextDecoder().decode(bytes);
      check();
    }
    // The user may choose the same file again after a change.
    file.value = "";
  });
  return { element: h("div", { class: "pem" }, field(label, text, hint), file, problem), read: check };
}

/** The base64 of a certificate as Azure Resource Manager has it: of PEM text or of DER. */
export const armBase64 = (certificate) =>
  certificate.startsWith("-----") ? base64(new TextEncoder().encode(certificate)) : certificate.replace(/\s/g, "");

function base64(bytes) {
  let text = "";
  for (const it of bytes) text += String.fromCharCode(it);
  return btoa(text);
}
