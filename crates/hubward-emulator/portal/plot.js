// The charts of a device's numeric telemetry: one chart for each selected field, with one time axis.

import { chart } from "./chart.js";
import { fill, h } from "./dom.js";
import { LARGEST } from "./scale.js";

/** Maximum number of points of a field. */
const POINTS = 600;
/** Maximum number of fields. The plot ignores further fields. */
const FIELDS = 12;
/** Number of fields that are selected at first. */
const SELECTED = 3;
/** Maximum depth of objects in a message. */
const DEPTH = 4;

/** Creates a plot. It is hidden until a message contains a number. */
export function plot() {
  const boxes = h("fieldset", { class: "plot-fields" }, h("legend", { class: "away" }, "Fields to plot"));
  const note = h("p", { class: "hint" });
  const charts = h("div", { class: "charts" });
  const element = h("section", { class: "plot", "aria-label": "Plot of the numeric fields", hidden: true }, boxes, charts, note);
  /** The fields, by name, in the order of their first value. */
  const fields = new Map();
  let ignored = new Set();
  let latest = 0;

  function field(name) {
    const known = fields.get(name);
    if (known || fields.size >= FIELDS) return known;
    const box = h("input", { type: "checkbox", checked: fields.size < SELECTED, on: { change: draw } });
    const made = { points: [], box, chart: chart({ name, selected: (time) => fields.forEach((it) => it.chart.select(time)) }) };
    fields.set(name, made);
    boxes.append(h("label", { class: "check" }, box, h("span", null, name)));
    return made;
  }

  function draw() {
    const shown = [...fields.values()].filter((it) => it.box.checked && it.points.length > 0);
    const from = Math.min(...shown.map((it) => it.points[0].time));
    const to = Math.max(...shown.map((it) => it.points.at(-1).time));
    const present = shown.map((it) => it.chart.element);
    if (present.length !== charts.childElementCount || present.some((it, at) => it !== charts.children[at])) fill(charts, present);
    for (const it of shown) it.chart.draw(it.points, [from, to]);
    fill(note, ignored.size > 0 && `The plot shows the first ${FIELDS} fields. The device sends more.`);
    element.hidden = fields.size === 0;
  }

  return {
    element,
    /** Adds the numbers of messages, oldest first. */
    add(messages) {
      for (const message of messages) {
        const time = Date.parse(message.enqueuedTime);
        // The emulator's clock was set back.
        if (time < latest) fields.forEach((it) => it.points.splice(0));
        latest = time;
        for (const [name, value] of numbers(message.body)) {
          const points = field(name)?.points;
          if (!points) ignored.add(name);
          points?.push({ time, value });
          if (points?.length > POINTS) points.splice(0, points.length - POINTS);
        }
        // The text of the note needs no names.
        if (ignored.size > FIELDS) ignored = new Set([""]);
      }
      if (messages.length > 0) draw();
    },
    clear() {
      fields.forEach((it) => it.box.parentElement.remove());
      fields.clear();
      ignored.clear();
      latest = 0;
      draw();
    },
  };
}

/** Returns the numbers in a message as `[name, value]`. The name of a nested number is its path, such as `motor.rpm`. */
function numbers(body) {
  let value;
  try {
    value = JSON.parse(body ?? "");
  } catch {
    return [];
  }
  if (typeof value === "number") return usable(value) ? [["value", value]] : [];
  const found = [];
  const walk = (object, path) => {
    for (const [name, it] of Object.entries(object)) {
      if (found.length >= 4 * FIELDS) return;
      if (typeof it === "number" && usable(it)) found.push([[...path, name].join("."), it]);
      else if (isObject(it) && path.length + 1 < DEPTH) walk(it, [...path, name]);
    }
  };
  if (isObject(value)) walk(value, []);
  return found;
}

const usable = (it) => Math.abs(it) < LARGEST;
const isObject = (it) => it !== null && typeof it === "object" && !Array.isArray(it);
