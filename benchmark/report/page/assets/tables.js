// Tables that sort, filter, and are copied as CSV or Markdown.
// A column: {title, value: row => number|string|null, text: row => string, cell: row => td or th}.
const FIRST_ROWS = 60;

function dataTable(caption, columns, rows, sortBy) {
  let order = sortBy === undefined ? null : { column: sortBy.column, down: sortBy.down };
  let wanted = "", all = false;
  const body = h("tbody", {});
  const heads = columns.map((column, at) => h("th", { scope: "col", class: column.isText ? "text" : null },
    h("button", { type: "button", onclick: () => sort(at) }, column.title)));
  const table = h("table", {}, h("caption", {}, caption), h("thead", {}, h("tr", {}, heads)), body);
  const more = h("button", { type: "button", class: "more", onclick: () => { all = true; fill(); } });
  const count = h("span", { class: "small soft", role: "status" });

  function sort(at) {
    const down = order && order.column === at ? !order.down : !columns[at].isText;
    order = { column: at, down };
    fill();
    say("Sorted by " + columns[at].title + (down ? ", descending" : ", ascending"));
  }
  function chosen() {
    const found = rows.filter((row) => !wanted || columns.some((column) => column.text(row).toLowerCase().includes(wanted)));
    if (order) {
      const value = columns[order.column].value;
      found.sort((a, b) => compare(value(a), value(b), order.down));
    }
    return found;
  }
  function fill() {
    const found = chosen();
    const shown = all ? found : found.slice(0, FIRST_ROWS);
    heads.forEach((head, at) => {
      if (order && order.column === at) head.setAttribute("aria-sort", order.down ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    });
    body.replaceChildren(...shown.map((row) => h("tr", {}, columns.map((column, at) => tableCell(column, row, at)))));
    more.hidden = shown.length === found.length;
    more.textContent = "Show all " + found.length + " rows";
    count.textContent = found.length === rows.length ? rows.length + " rows" : found.length + " of " + rows.length + " rows";
  }
  const id = newId("filter");
  const filter = h("input", { id, type: "search", placeholder: "filter", oninput: (event) => { wanted = event.target.value.trim().toLowerCase(); fill(); } });
  fill();
  return h("div", { class: "table" },
    h("div", { class: "controls" },
      h("label", { for: id, class: "sr" }, "Filter: " + caption), filter,
      h("button", { type: "button", onclick: () => copy(asCsv(columns, chosen()), "CSV") }, "Copy CSV"),
      h("button", { type: "button", onclick: () => copy(asMarkdown(columns, chosen()), "Markdown") }, "Copy Markdown"), count),
    h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": unique("Table: " + caption) }, table), more);
}

function tableCell(column, row, at) {
  const content = column.cell ? column.cell(row) : column.text(row);
  const attributes = { class: column.isText && at ? "text" : null, ...(column.attributes ? column.attributes(row) : {}) };
  return at ? h("td", attributes, content) : h("th", { scope: "row", ...attributes }, content);
}

function compare(a, b, down) {
  if (a === b) return 0;
  if (a === null || a === undefined) return 1;  // what is missing comes last, either way
  if (b === null || b === undefined) return -1;
  const ahead = typeof a === "string" ? a.localeCompare(b, "en", { numeric: true }) : a - b;
  return down ? -ahead : ahead;
}

function asCsv(columns, rows) {
  // A spreadsheet takes a text that begins with one of these signs for a formula.
  const quote = (value) => {
    const text = value === null || value === undefined ? "" : String(value);
    const safe = typeof value === "string" && /^[=+\-@\t\r]/.test(text) ? "'" + text : text;
    return /[",\n\r]/.test(safe) ? '"' + safe.replaceAll('"', '""') + '"' : safe;
  };
  const lines = [columns.map((column) => quote(column.title)), ...rows.map((row) => columns.map((column) => quote(column.value(row))))];
  return lines.map((line) => line.join(",")).join("\n") + "\n";
}

function asMarkdown(columns, rows) {
  const plain = (text) => text.replace(/[\\`*_<>&|~$\[\]#!]/g, "\\$&").replaceAll("\n", " ");
  const line = (cells) => "| " + cells.join(" | ") + " |";
  return [line(columns.map((column) => plain(column.title))),
    line(columns.map((column) => column.isText ? "---" : "---:")),
    ...rows.map((row) => line(columns.map((column) => plain(column.text(row)))))].join("\n") + "\n";
}

async function copy(text, kind) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = h("textarea", { class: "sr" }, text);  // browsers that trust no file from disk
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  say("Copied as " + kind);
}
