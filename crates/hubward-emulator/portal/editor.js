// A text area for JSON. For an error, shows the line and column, and a button that moves the cursor to the error.

import { field, fill, h, unique } from "./dom.js";
import { parse, parseObject } from "./json.js";

/**
 * Creates an editor. If `any` is true, every JSON value is allowed, otherwise only objects. `empty` is the value of an
 * empty text.
 *
 * After each change, the editor calls `changed` with the value, or with `undefined` if the text is not valid.
 */
export function editor({ label, value = "", rows = 10, any = false, empty, changed }) {
  const problem = h("p", { class: "problem", id: unique("problem"), "aria-live": "polite" });
  const area = h("textarea", {
    class: "code", rows: String(rows), spellcheck: "false", autocapitalize: "off", autocomplete: "off", value,
    wrap: "off",
  });
  const element = field(label, area);
  element.append(problem);

  function check() {
    fill(problem);
    area.removeAttribute("aria-invalid");
    area.removeAttribute("aria-errormessage");
    if (area.value.trim() === "" && empty !== undefined) return empty;
    try {
      return (any ? parse : parseObject)(area.value);
    } catch (error) {
      area.setAttribute("aria-invalid", "true");
      area.setAttribute("aria-errormessage", problem.id);
      const jump = h("button", {
        type: "button", class: "plain",
        on: {
          click() {
            area.focus();
            area.setSelectionRange(error.offset, Math.min(error.offset + 1, area.value.length));
            const height = area.scrollHeight / area.value.split("\n").length;
            area.scrollTop = Math.max(0, (error.line - 3) * height);
          },
        },
      }, "Go to the error");
      fill(problem, `Not JSON: ${error.message}. `, jump);
      return undefined;
    }
  }
  area.addEventListener("input", () => {
    const read = check();
    changed?.(read);
  });

  return {
    element,
    area,
    /** Returns the value. If the text is invalid, returns `undefined` and moves the focus to the error. */
    read() {
      const read = check();
      if (read === undefined) problem.querySelector("button")?.click();
      return read;
    },
    /** Replaces the text. */
    write(text) {
      area.value = text;
      check();
    },
  };
}
