// The tab that invokes methods of a device or module, and sends messages to it.

import { admin, hub as api, read, request, segments } from "./api.js";
import { action, field, fill, h, headings, mark, say, select } from "./dom.js";
import { editor } from "./editor.js";
import { count, pretty, when } from "./format.js";

export function act(body, hub, id) {
  const messages = sending(hub, id);
  fill(body, h("div", { class: "columns" }, calling(hub, id), messages.element));
  return { draw: messages.draw };
}

function calling(hub, id) {
  const name = h("input", { type: "text", required: true, autocomplete: "off", spellcheck: "false", class: "mono", value: "ping" });
  const payload = editor({ label: "Payload as JSON", rows: 4, any: true, empty: null, value: "" });
  const response = seconds(30, 5, 300);
  const connecting = seconds(0, 0, 300);
  const result = h("div", { class: "result", role: "status", "aria-live": "polite" });
  const button = h("button", { type: "submit", class: "primary" }, "Invoke");

  async function submit(event) {
    event.preventDefault();
    if (button.getAttribute("aria-busy")) return;
    const value = payload.read();
    if (value === undefined) return;
    button.setAttribute("aria-busy", "true");
    fill(result, mark("wait", `waiting for ${id}…`));
    const begun = performance.now();
    try {
      const answer = await request("POST", api(hub, "twins", ...segments(id), "methods"), {
        body: {
          methodName: name.value, payload: value,
          responseTimeoutInSeconds: Number(response.value), connectTimeoutInSeconds: Number(connecting.value),
        },
      });
      if (answer.json === null) {
        fill(result,
          mark("bad", `${id} answered with text that is not JSON, so a caller cannot parse it`),
          h("pre", { class: "code", tabindex: "0", "aria-label": "Answer" }, answer.text));
        return;
      }
      const { status } = answer.json;
      fill(result,
        mark(status < 400 ? "good" : "bad", `${id} answered ${status} in ${Math.round(performance.now() - begun)} ms`),
        h("pre", { class: "code", tabindex: "0", "aria-label": "Answer" }, pretty(answer.json.payload ?? null)));
    } catch (error) {
      fill(result, mark("bad", error.message));
    } finally {
      button.removeAttribute("aria-busy");
    }
  }
  return h("section", { class: "part" },
    h("h2", null, "Invoke a method"),
    h("form", { on: { submit } },
      field("Method", name),
      payload.element,
      h("div", { class: "pair" },
        field("Answer within (s)", response),
        field("Wait for connection (s)", connecting)),
      h("div", { class: "actions" }, button)),
    result);
}

const seconds = (value, min, max) => h("input", { type: "number", value: String(value), min: String(min), max: String(max), required: true });

function sending(hub, id) {
  const isModule = id.includes("/");
  const path = admin("messages", hub, ...segments(id));
  const text = h("textarea", { rows: "4", spellcheck: "false", class: "code" });
  const input = h("input", { type: "text", value: "input1", required: true, autocomplete: "off", class: "mono" });
  const properties = h("textarea", { rows: "2", spellcheck: "false", class: "code", placeholder: "name=value" });
  const messageId = h("input", { type: "text", autocomplete: "off", spellcheck: "false", class: "mono", maxlength: "128" });
  const ack = select([["none", "none"], ["positive", "positive: when completed"], ["negative", "negative: when not completed"], ["full", "full: both"]], "none");
  const life = h("input", { type: "number", min: "1", max: "172800", placeholder: "3600" });
  const waiting = h("ul", { class: "rows three", "aria-label": "Waiting messages" });
  const number = h("p", { class: "hint", role: "status" });
  const heads = headings("three", ["Message id", "State", "Queued, expires"]);
  const problem = h("p", { role: "alert", class: "problem" });
  const button = h("button", { type: "submit", class: "primary" }, "Send");
  const purge = h("button", { type: "button", hidden: true, on: { click: action(clear) } }, "Purge");

  async function submit(event) {
    event.preventDefault();
    if (button.getAttribute("aria-busy")) return;
    fill(problem);
    const body = { body: text.value, properties: {}, ack: ack.value };
    for (const line of properties.value.split("\n").filter((it) => it.trim())) {
      const at = line.indexOf("=");
      body.properties[(at < 0 ? line : line.slice(0, at)).trim()] = at < 0 ? null : line.slice(at + 1).trim();
    }
    if (messageId.value) body.messageId = messageId.value;
    if (life.value) body.timeToLiveInSeconds = Number(life.value);
    if (isModule) body.inputName = input.value;
    button.setAttribute("aria-busy", "true");
    try {
      const answer = await request("POST", path, { body });
      say(`Message ${answer.json.messageId} is queued for ${id}`);
      await draw();
    } catch (error) {
      fill(problem, error.message);
    } finally {
      button.removeAttribute("aria-busy");
    }
  }

  async function clear() {
    const answer = await request("DELETE", api(hub, "devices", ...segments(id), "commands"));
    say(`${count(answer.json.totalMessagesPurged, "message")} purged`);
    await draw();
  }

  async function draw() {
    const { messages } = await read(path);
    fill(number, messages.length === 0 ? "No message waits. Completed messages are not listed." : `${count(messages.length, "message waits", "messages wait")} for ${id}.`);
    purge.hidden = messages.length === 0 || isModule;
    heads.hidden = messages.length === 0;
    fill(waiting, messages.map((it) => h("li", null, h("span", { class: "row" },
      h("span", { class: "id" }, it.messageId),
      h("span", null, it.deliveryCount > 0 ? `${it.state}, delivered ${count(it.deliveryCount, "time")}` : it.state),
      h("span", { class: "dim" }, `since ${when(it.enqueuedTimeUtc)}, until ${when(it.expiryTimeUtc)}`)))));
    // There is no event for a completed message, so the page polls.
    clearTimeout(timer);
    if (messages.length > 0 && waiting.isConnected) timer = setTimeout(poll, 2000);
  }
  let timer = 0;
  const poll = () => waiting.isConnected && (document.hidden ? (timer = setTimeout(poll, 2000)) : draw().catch(() => {}));
  draw().catch((error) => say(error.message, "error"));
  return {
    draw,
    element: h("section", { class: "part" },
      h("h2", null, isModule ? "Send to an input" : "Send a message"),
      h("form", { on: { submit } },
        isModule && field("Input", input),
        field("Body", text),
        h("details", { class: "more" }, h("summary", null, "Properties, id, acknowledgement"),
          field("Properties", properties, "One property on each line."),
          field("Message id", messageId, "If empty, the device gets no id."),
          field("Feedback", ack),
          field("Time to live (s)", life)),
        problem,
        h("div", { class: "actions" }, button, purge)),
      h("h3", null, "Waiting"), number, heads, waiting),
  };
}
