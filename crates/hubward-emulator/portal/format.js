// Formats times, numbers and events for display.

/** Formats a time in the time zone of this machine. If the date is not today, the text includes the date. */
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

/** The text shown instead of a secret. Its length is constant, so it does not reveal the length of the secret. */
export const MASK = "•".repeat(12);

/** Indented JSON. */
export const pretty = (value) => JSON.stringify(value, null, 2);

/** Indents the text if it is a JSON object or array. Returns any other text unchanged. */
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

/** `90 seconds`, `10 minutes`, `2 days`. */
export function duration(seconds) {
  if (seconds % 86400 === 0) return count(seconds / 86400, "day");
  if (seconds % 3600 === 0) return count(seconds / 3600, "hour");
  return seconds % 60 === 0 ? count(seconds / 60, "minute") : count(seconds, "second");
}
