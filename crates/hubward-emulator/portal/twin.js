// The tab of a twin. It edits desired properties and tags, and shows reported properties.

import { hub as api, read, request, segments } from "./api.js";
import { action, fill, h, mark, say } from "./dom.js";
import { editor } from "./editor.js";
import { plain, pretty } from "./format.js";
import { collide, patch, patched } from "./json.js";

export function twin(body, hub, id) {
  const path = api(hub, "twins", ...segments(id));
  const reported = h("pre", { class: "code", tabindex: "0", "aria-label": "Reported properties" });
  const reportedVersion = h("span", { class: "dim" });
  const parts = [
    part("Desired properties", "Set by the cloud; the hub sends changes to the device at once.",
      (it) => plain(it.properties.desired), (changes) => ({ properties: { desired: changes } }),
      (it) => `version ${it.properties.desired.$version}`),
    part("Tags", "Not visible to the device.", (it) => it.tags ?? {}, (changes) => ({ tags: changes }), () => ""),
  ];
  fill(
    body,
    h("div", { class: "columns" },
      h("div", null, parts.map((it) => it.element)),
      h("div", null, h("div", { class: "part-head" }, h("h2", null, "Reported properties"), reportedVersion), h("p", { class: "hint" }, "Set by the device."), reported)),
  );

  function part(title, hint, take, wrap, version) {
    /** This part of the twin, and the ETag of the twin, from before the user began to edit. */
    let base = null;
    let etag = null;
    /** The latest twin. */
    let latest = null;
    const note = h("p", { class: "note", role: "status" });
    const preview = h("code", { class: "preview" });
    const versionText = h("span", { class: "dim" });
    const save = h("button", { type: "button", class: "primary", disabled: true, on: { click: action(send) } }, "Save");
    const revert = h("button", { type: "button", disabled: true, on: { click: reset } }, "Revert");
    const edit = editor({ label: [title, " as JSON"], rows: 10, empty: {}, changed: compare });
    edit.element.classList.add("bare");
    edit.area.addEventListener("keydown", (event) => {
      if (event.key === "s" && (event.ctrlKey || event.metaKey)) {
        event.preventDefault();
        save.click();
      }
    });

    const dirty = (value) => value === undefined || Object.keys(patch(base, value)).length > 0;
    function compare(value) {
      const changes = value === undefined ? null : patch(base, value);
      const some = changes !== null && Object.keys(changes).length > 0;
      save.disabled = !some;
      revert.disabled = value !== undefined && !some && edit.area.value === pretty(base);
      fill(preview, some ? `sends ${JSON.stringify(changes)}` : "");
    }
    function reset() {
      begin();
      edit.write(pretty(base));
      fill(note);
      compare(base);
    }
    function begin() {
      base = take(latest);
      etag = latest.etag;
    }
    async function send() {
      const value = edit.read();
      if (value === undefined || !dirty(value)) return;
      // Makes the text read-only while the page saves, because the answer replaces the text.
      edit.area.readOnly = true;
      try {
        await sent(patch(base, value));
      } finally {
        edit.area.readOnly = false;
      }
    }
    async function sent(mine) {
      for (;;) {
        try {
          const answer = await request("PATCH", path, { body: wrap(mine), headers: { "If-Match": `"${etag}"` } });
          say(`${title} of ${id} are saved`);
          show(answer.json, self);
          return;
        } catch (error) {
          if (error.status !== 412) throw error;
        }
        const before = base;
        latest = await read(path);
        begin();
        const theirs = patch(before, base);
        // Another client has changed the twin, but not the members that the user changed. Saves again.
        if (!collide(mine, theirs)) continue;
        // Another client has changed the same members. Applies the user's changes to the new twin.
        edit.write(pretty(patched(base, mine)));
        compare(edit.read());
        fill(note, mark("warn", "The twin was changed in the meantime: "), h("code", null, JSON.stringify(theirs)),
          " Your changes are now applied on top of that. Check them, and save again.");
        return;
      }
    }
    const self = {
      element: h("section", { class: "part" },
        h("div", { class: "part-head" }, h("h2", null, title), versionText),
        h("p", { class: "hint" }, hint),
        edit.element, preview, note, h("div", { class: "actions" }, save, revert)),
      /** Shows the twin `now`. While the user edits, keeps the text, and shows a note if this part has changed. */
      draw(now, saved) {
        const editing = base !== null && !saved && !revert.disabled;
        latest = now;
        fill(versionText, version(now));
        if (!editing) return reset();
        if (JSON.stringify(take(now)) !== JSON.stringify(base)) {
          fill(note, mark("warn", "The twin has been changed in the meantime. Revert shows the change; Save merges it with yours."));
        }
      },
    };
    return self;
  }

  /** Shows the twin `now`. `saved` is the part that the user has just saved; its text is replaced. */
  function show(now, saved = null) {
    for (const it of parts) it.draw(now, it === saved);
    fill(reported, pretty(plain(now.properties.reported)));
    fill(reportedVersion, `version ${now.properties.reported.$version}`);
  }
  async function draw() {
    show(await read(path));
  }
  draw().catch((error) => say(error.message, "error"));
  return { draw };
}
