// The section for an address that names no section.

import { fill, h } from "./dom.js";
import { here } from "./route.js";

const SECTIONS = ["Overview", "Devices", "Enrollments", "Certificates", "Telemetry", "Query", "Faults", "Activity", "Connect", "Quickstart"];

export function missing({ list, detail }) {
  return {
    show() {
      fill(
        list,
        h("h1", null, "This address has no page"),
        h("p", { class: "quiet" }, "The portal has no section “", h("code", null, here().section), "”. Its sections:"),
        h("ul", { class: "next" }, SECTIONS.map((it) => h("li", null, h("a", { href: `#/${it.toLowerCase()}` }, it)))),
      );
      fill(detail);
    },
  };
}
