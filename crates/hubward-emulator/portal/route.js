// Addresses inside the page, such as #/devices/localhost/dev-1/twin.

/** Returns the parts of the current address: `{ section, path, query }`. */
export function here() {
  const [path, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  const parts = path.split("/").filter(Boolean).map(decoded);
  return { section: parts[0] ?? "", path: parts.slice(1), query: new URLSearchParams(query) };
}

/** Returns the address that has these parts. An id may contain any character. */
export const link = (...parts) => `#/${parts.map(encodeURIComponent).join("/")}`;

/** Opens an address. */
export function go(address) {
  location.hash = address;
}

function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}
