// The query page, which uses the hub's own query API.

import { check, equal } from "../harness/scene.mjs";

export const scenarios = [
  {
    name: "a query shows a table and JSON, and an error of the hub",
    async run(scene) {
      const { page, emulator } = scene;
      for (const [id, site] of [["pump-1", "a"], ["pump-2", "b"], ["valve-1", "a"]]) {
        await emulator.hub("PUT", `/devices/${id}`, { deviceId: id, authentication: { type: "sas" }, status: "enabled" });
        await emulator.hub("PATCH", `/twins/${id}`, { tags: { site }, properties: { desired: { interval: 30 } } });
      }
      await scene.open("#/query");
      await page.getByRole("button", { name: /all devices/ }).click();
      await page.getByText("3 rows").waitFor();
      equal(await page.locator("tbody tr").count(), 3);
      const headings = await page.locator("thead th").allInnerTexts();
      check(["deviceId", "status", "tags", "properties"].every((it) => headings.includes(it)), `the headings: ${headings}`);
      check(!(await page.locator("tbody").innerText()).includes("$metadata"), "the table leaves out the metadata");
      await page.getByRole("button", { name: "JSON" }).click();
      await page.getByLabel("The result as JSON").getByText('"$metadata"').first().waitFor();
      await page.getByRole("button", { name: "Table" }).click();

      await page.getByRole("button", { name: /devices by a tag/ }).click();
      await page.getByText("2 rows").waitFor();
      equal(await page.locator("tbody tr td:first-child").allInnerTexts(), ["pump-1", "valve-1"]);
      equal(await page.getByRole("textbox", { name: "Query" }).inputValue(), "SELECT deviceId, tags FROM devices WHERE tags.site = 'a'");

      // An error leaves the last result.
      await page.getByRole("textbox", { name: "Query" }).fill("SELECT * FRM devices");
      scene.expected.push(/400 \(Bad Request\)/);
      await page.getByRole("textbox", { name: "Query" }).press("Control+Enter");
      await page.locator(".problem").getByText("FRM").waitFor();
      equal(await page.locator("tbody tr").count(), 2);

      // The address contains the query, and each device is a link.
      await page.getByRole("textbox", { name: "Query" }).fill("SELECT deviceId FROM devices WHERE deviceId = 'pump-2'");
      await page.getByRole("button", { name: "Run", exact: true }).click();
      await page.getByText("1 row").waitFor();
      equal(await page.locator(".problem").innerText(), "");
      await page.reload();
      await page.getByText("1 row").waitFor();
      await page.getByRole("link", { name: "pump-2" }).click();
      await page.getByRole("heading", { name: "pump-2" }).waitFor();
    },
  },
  {
    name: "every example of the query page runs",
    async run(scene) {
      const { page, emulator } = scene;
      equal((await emulator.device(["provision"], await emulator.enroll("dev-1"))).code, 0);
      await scene.open("#/query");
      const examples = page.locator(".example");
      const number = await examples.count();
      check(number >= 5, `${number} examples`);
      for (let at = 0; at < number; at += 1) {
        const [answer] = await Promise.all([
          page.waitForResponse((response) => response.url().includes("/devices/query")),
          examples.nth(at).click(),
        ]);
        check(answer.ok(), `${answer.status()} ${await answer.text()}`);
      }
      await page.getByText(/^(1 row|The query has no result\.)$/).waitFor();
    },
  },
  {
    name: "a long result is loaded page by page, at most 500 rows",
    async run(scene) {
      const { page, emulator } = scene;
      for (let at = 0; at < 600; at += 100) {
        const ids = Array.from({ length: 100 }, (_, it) => `d-${String(at + it).padStart(3, "0")}`);
        await emulator.hub("POST", "/devices", ids.map((id) => ({ id, importMode: "create", status: "enabled", authentication: { type: "sas" } })));
      }
      await scene.open(`#/query/localhost?q=${encodeURIComponent("SELECT deviceId FROM devices")}`);
      const rows = (wanted) => scene.until((number) => document.querySelectorAll("tbody tr").length === number, wanted);
      await rows(100);
      for (const number of [200, 300, 400, 500]) {
        await page.getByRole("button", { name: "Load more" }).click();
        await rows(number);
      }
      await page.getByText("500 rows; the page shows at most 500.").waitFor();
      check(!(await page.getByRole("button", { name: "Load more" }).isVisible()), "no more rows are offered");
    },
  },
];
