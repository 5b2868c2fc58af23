// Formats times, numbers and events for display.

/** A time in the time zone of this machine, with its date if that is not today. */
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

/** Replaces a hidden secret. It always has the same length, so that it does not reveal the length of the key. */
export const MASK = "•".repeat(12);

/** Indented JSON. */
export const pretty = (value) => JSON.stringify(value, null, 2);

/** The text; indented if it is a JSON object or array. */
export function readable(text) {
  try {
    const value = JSON.parse(text);
    return typeof value === "object" ? pretty(value) : text;
  } catch {
    return text;
  }
}

/** A twin's properties without `$metadata` and `$version`. */
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
