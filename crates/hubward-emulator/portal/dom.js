// Creates elements without parsing markup. Every text becomes a text node, including text from devices.

const SVG = "http://www.w3.org/2000/svg";

/**
 * Creates an element. `props` contains attributes, event handlers (`on`), and `data-*` attributes (`data`). It can also
 * contain the properties `value`, `checked`, `disabled` and `open`. Ignores null and false.
 */
export function h(tag, props, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "on") {
      for (const [event, handler] of Object.entries(value)) element.addEventListener(event, handler);
    } else if (name === "data") {
      Object.assign(element.dataset, value);
    } else if (name === "value" || name === "checked" || name === "disabled" || name === "open") {
      element[name] = value;
    } else {
      element.setAttribute(name, value === true ? "" : String(value));
    }
  }
  fill(element, ...children);
  return element;
}

/** Creates an element of a picture. `attributes` may contain numbers. */
export function svg(tag, attributes, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  fill(element, ...children);
  return element;
}

/** Creates the headings of a list. The list is not a table for screen readers, so its rows name their values. */
export const headings = (list, names) =>
  h("div", { class: `heads ${list}`, "aria-hidden": "true" }, names.filter(Boolean).map((it) => h("span", null, it)));

/** Replaces the contents of an element. */
export function fill(element, ...children) {
  element.replaceChildren(...children.flat(3).filter((it) => it !== null && it !== undefined && it !== false));
  return element;
}

/** Returns a name that is unique in the page, for an `id` and for references to this `id`. */
export function unique(prefix) {
  counter += 1;
  return `${prefix}-${counter}`;
}
let counter = 0;

/** Creates a label and a control, with an optional hint below the control. */
export function field(label, control, hint) {
  control.id ||= unique("field");
  const described = hint ? unique("hint") : null;
  if (described) control.setAttribute("aria-describedby", described);
  return h(
    "div",
    { class: "field" },
    h("label", { for: control.id }, label),
    control,
    hint && h("p", { class: "hint", id: described }, hint),
  );
}

/** A select element. Each option is `[value, text]`. */
export function select(options, chosen, props) {
  const choices = options.map(([value, text]) => {
    const option = h("option", { value }, text);
    option.selected = value === chosen;
    return option;
  });
  return h("select", props, choices);
}

/** Creates a mark that shows a state by a shape and a word. The colour only repeats the state. */
export function mark(kind, text, extra) {
  const shape = svg("svg", { viewBox: "0 0 10 10", "aria-hidden": "true" }, svg("path", { d: SHAPES[kind] ?? SHAPES.off }));
  return h("span", { class: `mark ${kind}` }, shape, h("span", extra ?? null, text));
}

const SHAPES = {
  on: "M5 1a4 4 0 1 0 0 8a4 4 0 1 0 0-8z",
  off: "M5 1a4 4 0 1 0 0 8a4 4 0 1 0 0-8zm0 1.6a2.4 2.4 0 1 1 0 4.8a2.4 2.4 0 1 1 0-4.8z",
  bad: "M2 .8L5 3.8L8 .8L9.2 2L6.2 5L9.2 8L8 9.2L5 6.2L2 9.2L.8 8L3.8 5L.8 2z",
  good: "M8.4 1.4L9.7 2.7L4 8.6L.4 5.2L1.7 3.8L4 6z",
  wait: "M1 4h2v2H1zM4 4h2v2H4zM7 4h2v2H7z",
  warn: "M5 .6L9.6 9.2H.4zM4.5 3.6v2.8h1V3.6zm0 3.6v1h1v-1z",
};

/** The state of a device: connected, not connected, or disabled. */
export function condition({ status, connectionState }) {
  if (status === "disabled") return mark("bad", "disabled");
  return connectionState === "Connected" ? mark("on", "connected") : mark("off", "not connected");
}

/**
 * Makes a list a single stop of the Tab key. Inside the list, arrow keys, Home and End move between the items. `items`
 * is the CSS selector of the items.
 */
export function roving(container, items) {
  const all = () => [...container.querySelectorAll(items)].filter((it) => !it.closest("[hidden]"));
  const stop = (chosen) => {
    for (const it of all()) it.tabIndex = it === chosen ? 0 : -1;
  };
  container.addEventListener("focusin", (event) => {
    const item = event.target.closest(items);
    if (item && container.contains(item)) stop(item);
  });
  container.addEventListener("keydown", (event) => {
    const item = event.target.closest(items);
    if (!item || event.target !== item || event.altKey || event.ctrlKey || event.metaKey) return;
    const list = all();
    const at = list.indexOf(item);
    const to = {
      ArrowDown: at + 1, ArrowRight: at + 1, ArrowUp: at - 1, ArrowLeft: at - 1, Home: 0, End: list.length - 1,
    }[event.key];
    if (to === undefined || !list[to]) return;
    event.preventDefault();
    list[to].focus();
  });
  return {
    /** Call this after the items have changed. */
    refresh() {
      const list = all();
      const current = list.find((it) => it.tabIndex === 0 && it === document.activeElement)
        ?? list.find((it) => it.getAttribute("aria-current") === "true") ?? list[0];
      stop(current);
    },
  };
}

/** Shows a message, and announces it to screen readers. */
export function say(text, kind = "info") {
  // While a dialog is open, screen readers ignore elements outside it.
  (document.querySelector("dialog[open]") ?? document.body).append(document.getElementById("notes"));
  const place = document.getElementById(kind === "error" ? "alert" : "said");
  const other = document.getElementById(kind === "error" ? "said" : "alert");
  fill(other);
  // Keeps the message away from the control that the user has just used.
  const used = document.activeElement === document.body ? null : document.activeElement?.getBoundingClientRect();
  document.getElementById("notes").classList.toggle("high", (used?.bottom ?? 0) > window.innerHeight / 2);
  fill(place, mark(kind === "error" ? "bad" : "good", text));
  clearTimeout(silence);
  if (kind !== "error") silence = setTimeout(() => fill(place), 6000);
}
let silence = 0;

/** Returns a click handler that runs `work`. Ignores clicks while `work` runs. If `work` fails, shows the error. */
export function action(work) {
  return async (event) => {
    const button = event.currentTarget;
    if (button.getAttribute("aria-busy") === "true") return;
    button.setAttribute("aria-busy", "true");
    try {
      await work(event);
    } catch (error) {
      say(error.message, "error");
    } finally {
      button.removeAttribute("aria-busy");
    }
  };
}
