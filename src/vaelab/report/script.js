"use strict";
(() => {
  const table = document.getElementById("trial-table");
  const source = document.getElementById("trial-keys");
  if (!table || !source) return;
  const keys = JSON.parse(source.textContent);
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  const compare = (a, b) =>
    typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), undefined, { numeric: true });
  const sortBy = (column, down) => {
    const rows = [...body.rows].map((row) => [keys[Number(row.dataset.row)][column], row]);
    // What has no value stays last in either direction.
    rows.sort(([a], [b]) => (a === null) - (b === null) || (a === null ? 0 : down ? compare(b, a) : compare(a, b)));
    body.append(...rows.map(([, row]) => row));
    heads.forEach((head, i) =>
      i === column ? head.setAttribute("aria-sort", down ? "descending" : "ascending") : head.removeAttribute("aria-sort"));
  };
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    head.replaceChildren(button);
    button.addEventListener("click", () => sortBy(column, head.getAttribute("aria-sort") === "ascending"));
  });
  document.querySelectorAll(".needs-script").forEach((hint) => { hint.hidden = false; });
})();
