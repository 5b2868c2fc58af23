// Uses the browser's own dialogs. The Esc key closes them, and the browser restores the focus.

import { field, fill, h, unique } from "./dom.js";

/** Opens a dialog. `body` creates the contents; its parameter is a function that closes the dialog. */
export function open(title, body, { wide = false } = {}) {
  const heading = unique("title");
  const dialog = h("dialog", { "aria-labelledby": heading, class: wide ? "wide" : null });
  const close = () => dialog.close();
  const content = h("div", { class: "dialog-body" });
  fill(
    dialog,
    h(
      "header",
      null,
      h("h2", { id: heading }, title),
      h("button", { type: "button", class: "plain", title: "Esc", on: { click: close } }, "Close"),
    ),
    content,
  );
  fill(content, body(close, content));
  dialog.addEventListener("close", () => {
    const notes = dialog.querySelector("#notes");
    if (notes) document.body.append(notes);
    dialog.remove();
  });
  // If the user clicks the backdrop, the target of the click is the dialog itself.
  dialog.addEventListener("mousedown", (event) => {
    if (event.target === dialog && !inside(dialog, event)) close();
  });
  document.body.append(dialog);
  dialog.showModal();
  content.querySelector("[autofocus]")?.focus();
  return dialog;
}

function inside(dialog, { clientX, clientY }) {
  const box = dialog.getBoundingClientRect();
  return clientX >= box.left && clientX <= box.right && clientY >= box.top && clientY <= box.bottom;
}

/**
 * Asks the user to type the name of the object, and then calls `work` to delete the object. If `work` fails, the dialog
 * shows the error. Each `[name, label]` in `options` adds a check box to the dialog.
 */
export function confirmByName({ title, text, name, verb = "Delete", options = [], work }) {
  open(title, (close) => {
    const typed = h("input", {
      type: "text", autocomplete: "off", spellcheck: "false", autofocus: true, class: "mono", autocapitalize: "off",
    });
    const button = h("button", { type: "submit", class: "danger", disabled: true }, verb);
    const problem = h("p", { role: "alert", class: "problem" });
    const boxes = options.map(([key, label]) => [key, h("input", { type: "checkbox", checked: true }), label]);
    typed.addEventListener("input", () => {
      button.disabled = typed.value !== name;
    });
    const submit = async (event) => {
      event.preventDefault();
      if (typed.value !== name || button.getAttribute("aria-busy")) return;
      button.setAttribute("aria-busy", "true");
      try {
        await work(Object.fromEntries(boxes.map(([key, box]) => [key, box.checked])));
        close();
      } catch (error) {
        fill(problem, error.message);
      } finally {
        button.removeAttribute("aria-busy");
      }
    };
    return h(
      "form",
      { on: { submit } },
      h("p", null, text),
      boxes.map(([, box, label]) => h("label", { class: "check" }, box, label)),
      field(["Type ", h("b", { class: "mono" }, name), " to confirm"], typed),
      problem,
      h("div", { class: "actions" }, button, h("button", { type: "button", on: { click: close } }, "Cancel")),
    );
  });
}
