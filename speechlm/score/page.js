"use strict";
// Tables sort by a click on a column's name: ascending, descending, as they were. Cells that begin
// with a number go by it ("19.1 [16.0, 22.3]"), others by their letters; "-" comes last.
function keyOf(cell) {
  const text = cell.textContent.trim();
  const number = /^[-+\u2212]?\d[\d,]*(\.\d+)?(e[-+]?\d+)?/i.exec(text);
  const value = number ? parseFloat(number[0].replace(/,/g, "").replace("\u2212", "-")) : NaN;
  return { text, value, empty: text === "" || text === "-" };
}
function compare(a, b) {
  if (!isNaN(a.value) && !isNaN(b.value)) return a.value - b.value;
  if (isNaN(a.value) !== isNaN(b.value)) return isNaN(a.value) ? 1 : -1;
  return a.text.localeCompare(b.text, undefined, { numeric: true });
}
function sort(table, column, way, original) {
  const rows = original.map((row, place) => ({ row, place, key: keyOf(row.cells[column]) }));
  rows.sort((a, b) => {
    if (way === 0) return a.place - b.place;
    if (a.key.empty !== b.key.empty) return a.key.empty ? 1 : -1;
    return way * compare(a.key, b.key) || a.place - b.place;
  });
  table.tBodies[0].append(...rows.map((entry) => entry.row));
}
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  const original = [...table.tBodies[0].rows];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const before = head.getAttribute("aria-sort");
      const way = before === "ascending" ? -1 : before === "descending" ? 0 : 1;
      for (const other of heads) other.removeAttribute("aria-sort");
      if (way !== 0) head.setAttribute("aria-sort", way > 0 ? "ascending" : "descending");
      sort(table, column, way, original);
    });
  });
}
