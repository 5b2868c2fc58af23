// Computes the ticks of a chart's axes and formats numbers. This file does not use the page.

/** Maximum magnitude of a value that a chart shows. Larger values could overflow. */
export const LARGEST = 1e100;

/**
 * Returns the range and the ticks of an axis of numbers: about `wanted` round values. The range contains all values
 * from `least` to `most`.
 */
export function numbers(least, most, wanted = 3) {
  let [from, to] = [least, most];
  if (from === to) {
    const margin = from === 0 ? 1 : Math.abs(from) * 0.05;
    [from, to] = [from - margin, to + margin];
  }
  const rough = (to - from) / wanted;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((it) => it * power).find((it) => it >= rough * 0.999) ?? 10 * power;
  const first = Math.floor(from / step + 1e-9);
  const last = Math.ceil(to / step - 1e-9);
  const ticks = [];
  for (let at = first; at <= last && ticks.length < 20; at += 1) ticks.push(at * step);
  return { from: first * step, to: last * step, ticks, step };
}

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const STEPS = [
  ...[1, 2, 5, 10, 15, 30].map((it) => it * SECOND), ...[1, 2, 5, 10, 15, 30].map((it) => it * MINUTE),
  ...[1, 2, 3, 6, 12].map((it) => it * HOUR), DAY, 2 * DAY, 7 * DAY, 30 * DAY, 365 * DAY, 3650 * DAY,
];

/**
 * Returns the ticks of a time axis, at most `most`, each as `[milliseconds, label]`. `zone` is the difference between
 * UTC and local time, in minutes, as `Date.getTimezoneOffset` returns it.
 */
export function times(from, to, most, zone = new Date(to).getTimezoneOffset()) {
  const step = STEPS.find((it) => (to - from) / it <= most) ?? STEPS.at(-1);
  const shift = zone * MINUTE;
  const ticks = [];
  for (let at = Math.ceil((from - shift) / step) * step + shift; at <= to && ticks.length < 20; at += step) {
    ticks.push([at, label(at - shift, step)]);
  }
  return ticks;
}

function label(local, step) {
  const iso = new Date(local).toISOString();
  if (step >= DAY) return iso.slice(0, 10);
  return step >= MINUTE ? iso.slice(11, 16) : iso.slice(11, 19);
}

/** Formats a value with as many decimals as `step` needs, or with at most six significant digits. */
export function shown(value, step = null) {
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e9 || size < 1e-4) {
    return step !== null && size < step / 1000 ? "0" : value.toExponential(2).replace(/\.?0+e/, "e").replace("e+", "e");
  }
  const decimals = step === null ? Math.min(6, Math.max(0, 5 - Math.floor(Math.log10(size)))) : Math.max(0, Math.ceil(-Math.log10(step) - 1e-9));
  return Number(value.toFixed(Math.min(decimals, 20))).toLocaleString("en", { maximumFractionDigits: 20 });
}
