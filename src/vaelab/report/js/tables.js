const sortable = (table) => {
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  const keyOf = (row, column) => {
    const cell = row.cells[column];
    if (cell.dataset.value !== undefined) return Number(cell.dataset.value);
    const text = cell.textContent.trim();
    return text === "–" ? null : text;
  };
  const compare = (a, b) =>
    typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), undefined, { numeric: true });
  const sortBy = (column, down) => {
    const rows = [...body.rows].map((row) => [keyOf(row, column), row]);
    // Missing values stay last in either direction.
    rows.sort(([a], [b]) => (a === null) - (b === null) || (a === null ? 0 : down ? compare(b, a) : compare(a, b)));
    body.append(...rows.map(([, row]) => row));
    heads.forEach((head, i) =>
      i === column ? head.setAttribute("aria-sort", down ? "descending" : "ascending") : head.removeAttribute("aria-sort"));
  };
  heads.forEach((head, column) => {
    const onclick = () => sortBy(column, head.getAttribute("aria-sort") === "ascending");
    head.replaceChildren(el("button", { type: "button", text: head.textContent, onclick }));
  });
};
document.querySelectorAll("table.sortable").forEach(sortable);
document.querySelectorAll(".needs-script").forEach((node) => { node.hidden = false; });
