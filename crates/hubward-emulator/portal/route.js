// Addresses inside of the page: #/devices/localhost/dev-1/twin

/** What the address names: `{ section, path, query }`. */
export function here() {
  const [path, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  const parts = path.split("/").filter(Boolean).map(decoded);
  return { section: parts[0] ?? "", path: parts.slice(1), query: new URLSearchParams(query) };
}

/** The address of something; ids may contain anything. */
export const link = (...parts) => `#/${parts.map(encodeURIComponent).join("/")}`;

/** Goes there. */
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
