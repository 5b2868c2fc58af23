// A place to type JSON: what is wrong is said with its line and column, and can be jumped to.

import { field, fill, h, unique } from "./dom.js";
import { parse, parseObject } from "./json.js";

/**
 * `any`: whether it may be other than an object; `empty`: what nothing at all stands for. `changed`
 * is called after each change with the value, or `undefined` while it cannot be read.
 */
export function editor({ label, value = "", rows = 10, any = false, empty, changed }) {
  const problem = h("p", { class: "problem", id: unique("problem"), "aria-live": "polite" });
  const area = h("textarea", {
    class: "code", rows: String(rows), spellcheck: "false", autocapitalize: "off", autocomplete: "off", value,
    wrap: "off",
  });
  const element = field(label, area);
  element.append(problem);

  function look() {
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
      }, "Go there");
      fill(problem, `Not JSON: ${error.message}. `, jump);
      return undefined;
    }
  }
  area.addEventListener("input", () => {
    const read = look();
    changed?.(read);
  });

  return {
    element,
    area,
    /** The value, or `undefined`; then the place of what is wrong has the focus. */
    read() {
      const read = look();
      if (read === undefined) problem.querySelector("button")?.click();
      return read;
    },
    /** Shows another text. */
    write(text) {
      area.value = text;
      look();
    },
  };
}
