// A chart of one value over time, as SVG. The pointer or the arrow keys select a point.

import { fill, h, svg } from "./dom.js";
import { when } from "./format.js";
import { numbers, shown, times } from "./scale.js";

const HEIGHT = 124;
const EDGE = { left: 46, right: 10, top: 8, bottom: 20 };
/** Minimum distance of the labels of the time axis, in pixels. */
const LABEL = 66;

/**
 * Creates a chart. `name` is its title. With `fromZero`, the axis of the values begins at 0. `selected` is called with
 * the time of the selected point in milliseconds, or with `null` if the chart shows the last point.
 */
export function chart({ name, unit = "", fromZero = false, selected = () => {} }) {
  const reading = h("span", { class: "reading num" });
  const picture = svg("svg", { class: "picture", role: "img", tabindex: "0", height: HEIGHT });
  const element = h("figure", { class: "chart" }, h("figcaption", null, h("span", { class: "chart-name" }, name), reading), picture);
  let points = [];
  let range = null;
  /** The time of the selected point. */
  let chosen = null;
  /** The point that was selected in this chart. Several points can have the same time. */
  let own = null;
  let place = null;

  picture.addEventListener("pointermove", (event) => place && choose(nearest(place.time(event.clientX - picture.getBoundingClientRect().left))));
  picture.addEventListener("pointerleave", () => choose(null));
  picture.addEventListener("focus", () => reading.setAttribute("aria-live", "polite"));
  picture.addEventListener("blur", () => {
    reading.removeAttribute("aria-live");
    choose(null);
  });
  picture.addEventListener("keydown", (event) => {
    const at = chosen === null ? points.length - 1 : points.indexOf(point());
    const to = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: points.length - 1 }[event.key];
    if (event.key === "Escape") choose(null);
    if (to === undefined || !points[to]) return;
    event.preventDefault();
    choose(points[to]);
  });
  new ResizeObserver(paint).observe(picture);

  function choose(it) {
    if (it === own && (it?.time ?? null) === chosen) return;
    own = it;
    selected(it?.time ?? null);
  }

  /** Returns the point to show. */
  function point() {
    if (chosen === null) return points.at(-1);
    return own?.time === chosen && points.includes(own) ? own : nearest(chosen);
  }

  function nearest(time) {
    return points.reduce((best, it) => (best === null || Math.abs(it.time - time) < Math.abs(best.time - time) ? it : best), null);
  }

  function paint() {
    const width = picture.clientWidth;
    const it = point();
    fill(reading, it ? [`${shown(it.value)}${unit}`, chosen !== null && h("span", { class: "dim" }, ` at ${when(new Date(it.time))}`)] : "no value yet");
    picture.setAttribute("aria-label", summary());
    place = null;
    if (width === 0 || points.length === 0) return fill(picture);
    place = scales(width);
    fill(picture, axes(width), curve(), it && cursor(it));
  }

  function summary() {
    if (points.length === 0) return `${name}: no value yet`;
    const values = points.map((it) => it.value);
    const [least, most] = [Math.min(...values), Math.max(...values)];
    return `${name}: ${shown(points.at(-1).value)}${unit}; between ${shown(least)} and ${shown(most)} since ${when(new Date(points[0].time))}`;
  }

  function scales(width) {
    const values = points.map((it) => it.value);
    const y = numbers(fromZero ? 0 : Math.min(...values), Math.max(...values, fromZero ? 1 : -Infinity));
    const [from, to] = range ?? [points[0].time, points.at(-1).time];
    const span = Math.max(1, to - from);
    const [wide, high] = [width - EDGE.left - EDGE.right, HEIGHT - EDGE.top - EDGE.bottom];
    return {
      y, from, to,
      left: (time) => EDGE.left + ((time - from) / span) * wide,
      top: (value) => EDGE.top + (1 - (value - y.from) / (y.to - y.from)) * high,
      time: (left) => from + ((left - EDGE.left) / wide) * span,
      ticks: times(from, to, Math.max(1, Math.floor(wide / LABEL))),
    };
  }

  function axes(width) {
    const { y, top, left, ticks } = place;
    return [
      y.ticks.map((value) => [
        svg("line", { class: "grid", x1: EDGE.left, x2: width - EDGE.right, y1: round(top(value)), y2: round(top(value)) }),
        svg("text", { class: "label end", x: EDGE.left - 6, y: round(top(value) + 4) }, shown(value, y.step)),
      ]),
      // A label at the very edge would be cut off.
      ticks.filter(([time]) => left(time) > EDGE.left + 14 && left(time) < width - 28)
        .map(([time, text]) => svg("text", { class: "label middle", x: round(left(time)), y: HEIGHT - 4 }, text)),
    ];
  }

  function curve() {
    const { left, top } = place;
    const gap = gapOf(points);
    const path = points.map(({ time, value }, at) =>
      `${at === 0 || time - points[at - 1].time > gap ? "M" : "L"}${round(left(time))} ${round(top(value))}`);
    return svg("path", { class: "curve", d: path.join("") });
  }

  function cursor({ time, value }) {
    const { left, top } = place;
    return [
      chosen !== null && svg("line", { class: "cursor", x1: round(left(time)), x2: round(left(time)), y1: EDGE.top, y2: HEIGHT - EDGE.bottom }),
      svg("circle", { class: "point", cx: round(left(time)), cy: round(top(value)), r: "3" }),
    ];
  }

  return {
    element,
    /** Shows points `{ time, value }`, oldest first. `between` is the range of the time axis in milliseconds. */
    draw(those, between = null) {
      points = those;
      range = between;
      paint();
    },
    /** Selects the point at this time; `null` for the last one. */
    select(time) {
      chosen = time;
      paint();
    },
  };
}

/** A longer time between two points is a gap in the curve: the device sent nothing. */
function gapOf(points) {
  const steps = points.slice(1).map((it, at) => it.time - points[at].time).sort((one, other) => one - other);
  return Math.max(5000, 8 * (steps[Math.floor(steps.length / 2)] ?? 0));
}

const round = (it) => Math.round(it * 10) / 10;
