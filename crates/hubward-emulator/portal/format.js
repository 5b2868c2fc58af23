// Times, numbers and keys as people read them.

/** A moment by the clock of this machine, with its day if that is not today. */
export function when(iso, precise = false) {
  const date = new Date(iso ?? "");
  if (Number.isNaN(date.getTime()) || date.getUTCFullYear() < 2000) return "never";
  const time = date.toTimeString().slice(0, 8) + (precise ? `.${String(date.getMilliseconds()).padStart(3, "0")}` : "");
  return sameDay(date, new Date()) ? time : `${day(date)} ${time}`;
}

const day = (date) =>
  [date.getFullYear(), date.getMonth() + 1, date.getDate()].map((it) => String(it).padStart(2, "0")).join("-");

const sameDay = (one, other) => day(one) === day(other);

/** `1 device`, `2,000 devices`. */
export const count = (number, one, many = `${one}s`) => `${number.toLocaleString("en")} ${number === 1 ? one : many}`;

/** A secret that is not shown. Always of one length: the length of a key is nobody's business. */
export const MASK = "•".repeat(12);

/** JSON to read. */
export const pretty = (value) => JSON.stringify(value, null, 2);

/** What a text is, if it is JSON: indented, else itself. */
export function readable(text) {
  try {
    const value = JSON.parse(text);
    return typeof value === "object" ? pretty(value) : text;
  } catch {
    return text;
  }
}

/** A twin's properties without what the service keeps about them. */
export function plain(properties) {
  const { $metadata, $version, ...rest } = properties ?? {};
  return rest;
}

/** An event as a sentence. */
export function sentence(event) {
  const words = event.kind.replace(/([A-Z])/g, (letter) => ` ${letter.toLowerCase()}`);
  const code = event.code === undefined || event.code === null ? "" : `, ${event.code}`;
  const why = event.message ? `: ${event.message}` : "";
  return `${event.id ? `${event.id} ` : ""}${words}${why}${code}`;
}
