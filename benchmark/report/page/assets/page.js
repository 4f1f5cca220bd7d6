// The page: what to take, what to beware of, pictures, tables, samples, searches, where it comes from.
function configName(group, config) {
  return h("span", {}, glyph(group.methods[config.method], config.shade), " " + config.label,
    config.oracle ? h("span", { class: "badge" }, "oracle") : null, config.tuning ? h("span", { class: "badge" }, "\u2605 tuned") : null);
}

function estimateCell(estimate, write) {
  return estimate ? [write(estimate[0], 3), h("span", { class: "ci" }, range(estimate, 2, write))] : "\u2013";
}
function estimateColumn(title, get, write) {
  return { title, value: (row) => { const found = get(row); return found ? found[0] : null; },
    text: (row) => { const found = get(row); return found ? write(found[0], 3) + " " + range(found, 2, write) : "\u2013"; },
    cell: (row) => estimateCell(get(row), write) };
}

function overview(group) {
  const panel = Object.keys(group.panels)[0], dense = group.configs.find((config) => config.dense && config.cells[panel] && config.cells[panel].score);
  const card = h("div", { class: "card" });
  const tile = (value, text) => h("div", { class: "tile" }, h("b", {}, value), h("span", {}, text));
  const tiles = [tile(String(group.configs.length), group.configs.length === 1 ? "configuration" : "configurations"), tile(String(group.samples.length), group.samples.length === 1 ? "task" : "tasks")];
  if (dense) tiles.push(tile(fixed(dense.cells[panel].score[0], 3), "score of dense attention " + range(dense.cells[panel].score, 2, fixed)));
  if (group.verdict) {
    const config = group.configs[group.verdict.config], cell = config.cells[panel], score = honest(cell), difference = honestDifference(cell);
    card.append(h("p", { class: "lead" }, "Fewest keys of those that keep the score: ", h("b", {}, glyph(group.methods[config.method]), " " + config.label),
      " reads " + percent(cell.density) + " of the keys" + (cell.bytes_read === null ? "" : " (" + percent(cell.bytes_read) + " of the bytes, with what it reads to choose)") + " and scores " + fixed(score[0], 3) + ", " + signed(difference[0], 3) + " to dense attention " + range(difference, 2, signed) + "."),
      h("p", { class: "soft small" }, "Of " + group.verdict.considered + " configurations that can be deployed and ran on every task, the one that reads the fewest keys and scores at most " + FACTS.tolerance + " below dense attention" + (cell.held_out_score ? ", on samples held out." : ".")),
      difference[1] < -FACTS.tolerance ? h("p", { class: "small" }, "That it keeps the score is not certain: with these samples, a loss of up to " + fixed(-difference[1], 2) + " is within the 95% interval. More samples would say.") : "",
      h("p", { class: "soft small" }, config.description));
    tiles.push(tile(percent(cell.density), "of the keys read"), tile(percent(cell.kept_share), "of the memory kept"));
  } else {
    card.append(h("p", { class: "lead" }, dense ? "No configuration that can be deployed keeps dense attention's score within " + FACTS.tolerance + " on all tasks." : "There is no dense attention here to compare with."));
  }
  card.append(h("div", { class: "tiles" }, tiles));
  return card;
}

function costCard(group, hidden) {
  const state = { panel: Object.keys(group.panels)[0], cost: "density" };
  const titles = { density: "Density", bytes_read: "Bytes read", kept_share: "Kept memory", seconds_per_sample: "Seconds" };
  const picture = costChart(group, hidden, state);
  const note = h("p", { class: "small soft" });
  const change = () => {
    const cells = group.configs.map((config) => config.cells[state.panel]).filter((cell) => cell);
    const same = state.cost === "kept_share" && cells.every((cell) => cell.kept_share === null || cell.kept_share === 1);
    const seconds = new Set(cells.map((cell) => cell.seconds_per_sample));
    const shared = state.cost === "seconds_per_sample" && cells.length > 1 && seconds.size === 1;
    note.textContent = same ? "No configuration here frees memory: there is no press in any."
      : shared ? "All configurations shared their batches: seconds are equal shares and tell nothing of any of them." : "";
    picture.draw();
  };
  return h("div", { class: "card" }, h("h3", {}, "Score against cost"),
    h("div", { class: "controls" }, segments("Cost", titles, "density", (value) => { state.cost = value; change(); }),
      Object.keys(group.panels).length > 1 ? choice("task", Object.entries(group.panels), (value) => { state.panel = value; change(); }) : null),
    legend(group, hidden), note,
    figure(picture, "Bands and bars: 95% intervals. Dashed: the front, which no configuration beats in both. Stars: tuned settings, with their score on samples held out. Open markers: oracles. Lighter: sparser settings of a method."));
}

function compressionCard(group, hidden) {
  const tasks = Object.entries(group.panels).filter(([panel]) => panel !== "" || Object.keys(group.panels).length === 1);
  return h("div", { class: "card" }, h("h3", {}, "Score over compression ratio, task by task"),
    h("p", { class: "small soft" }, "Compression ratio: 1 \u2212 density, the share of keys that is not read. The legend above hides methods here too."),
    h("div", { class: "grid" }, tasks.map(([panel, title]) => h("figure", {}, h("b", { class: "small" }, title), compressionChart(group, hidden, panel, title)))));
}

function heatCard(group) {
  const rows = group.configs.filter((config) => !config.dense);
  if (!rows.some((config) => Object.values(config.cells).some((cell) => honestDifference(cell)))) return null;
  const difference = (config, panel) => config.cells[panel] ? honestDifference(config.cells[panel]) : null;
  const sure = (found) => found[1] > 0 || found[2] < 0;
  const columns = [{ title: "configuration", isText: true, value: (c) => c.label, text: (c) => c.label, cell: (c) => configName(group, c) },
    { title: "density", value: (c) => { const cell = Object.values(c.cells).at(-1); return cell ? cell.density : null; }, text: (c) => fixed(Object.values(c.cells).at(-1).density, 3) },
    ...Object.entries(group.panels).map(([panel, title]) => ({ title, value: (c) => { const found = difference(c, panel); return found ? found[0] : null; },
      text: (c) => { const found = difference(c, panel); return found ? signed(found[0], 3) + (sure(found) ? "" : " (not significant)") : "\u2013"; },
      cell: (c) => { const found = difference(c, panel); return found ? [signed(found[0], 2), h("span", { class: "sr" }, sure(found) ? " significant" : " not significant")] : "\u2013"; },
      attributes: (c) => {
        const found = difference(c, panel);
        if (!found) return { class: "heat soft" };
        if (!sure(found)) return { class: "heat unsure", title: range(found, 2, signed) };
        const strength = Math.min(0.62, 0.14 + 0.6 * Math.abs(found[0]));
        return { class: "heat", title: range(found, 2, signed), style: "background: rgb(var(" + (found[0] > 0 ? "--up" : "--down") + ") / " + strength.toFixed(2) + ")" };
      } }))];
  return h("div", { class: "card" }, h("h3", {}, "Difference to dense attention"),
    h("div", { class: "key" }, h("span", {}, h("i", { style: "background: rgb(var(--up) / .5)" }), "better"), h("span", {}, h("i", { style: "background: rgb(var(--down) / .5)" }), "worse"),
      h("span", {}, h("i", { style: "background: repeating-linear-gradient(135deg, transparent 0 3px, var(--line) 3px 4px)" }), "not significant: the 95% interval has 0 in it"), h("span", {}, "paired by sample; tuned settings on samples held out")),
    dataTable(group.title + ": difference to dense attention by task", columns, rows));
}

function resultsCard(group) {
  const state = { panel: Object.keys(group.panels)[0] };
  const place = h("div", {});
  const hasTuned = group.configs.some((config) => config.tuning);
  function fill() {
    const at = (config) => config.cells[state.panel] || null;
    const of = (name) => (config) => { const cell = at(config); return cell ? cell[name] : null; };
    const numeric = (title, name, digits) => ({ title, value: of(name), text: (c) => { const value = of(name)(c); return value === null ? "\u2013" : digits === "e" ? value.toPrecision(3) : fixed(value, digits); } });
    const columns = [{ title: "configuration", isText: true, value: (c) => c.label, text: (c) => c.label, cell: (c) => configName(group, c) },
      estimateColumn("score", of("score"), fixed), estimateColumn("to dense", of("dense_difference"), signed),
      ...(hasTuned ? [estimateColumn("held-out score", of("held_out_score"), fixed), estimateColumn("held-out to dense", of("held_out_dense_difference"), signed)] : []),
      numeric("density", "density", 3), numeric("bytes read", "bytes_read", 3), numeric("kept", "kept_share", 3), numeric("attention error", "attention_error", "e"), numeric("s / sample", "seconds_per_sample", 3),
      { title: "answered", value: of("answered"), text: (c) => { const cell = at(c); return cell ? cell.answered + " of " + cell.samples : "\u2013"; } },
      { title: "status", isText: true, value: of("status"), text: (c) => at(c) ? at(c).status : state.panel ? "not run" : "not on all tasks" },
      { title: "settings", isText: true, value: (c) => c.description, text: (c) => c.description, attributes: () => ({ class: "text broad" }) }];
    place.replaceChildren(dataTable(group.title + ", " + group.panels[state.panel], columns, group.configs));
  }
  fill();
  return h("div", { class: "card" }, h("h3", {}, "All results"),
    Object.keys(group.panels).length > 1 ? h("div", { class: "controls" }, choice("task", Object.entries(group.panels), (value) => { state.panel = value; fill(); })) : null, place);
}

function groupSection(group, at) {
  const hidden = new Set(), id = "group-" + at;
  return h("section", { class: "group", id, "aria-labelledby": id + "-title" },
    h("div", {}, h("h2", { id: id + "-title" }, group.title, group.sample_data ? h("span", { class: "badge" }, "sample data") : null), h("p", { class: "soft small" }, group.protocol)),
    overview(group),
    group.caveats.length ? h("div", { class: "card caveats", role: "note" }, h("h3", {}, "Read this with the numbers"), h("ul", {}, group.caveats.map((text) => h("li", {}, text)))) : null,
    costCard(group, hidden), compressionCard(group, hidden), heatCard(group), layerCard(group), resultsCard(group), sampleBrowser(group),
    h("details", { class: "card" }, h("summary", {}, "Provenance: what all of these results depend on"), h("pre", { tabindex: "0", role: "group", "aria-label": "Provenance" }, group.key)));
}

function themeButton() {
  const order = { auto: "dark", dark: "light", light: "auto" };
  let theme = "auto";
  const button = h("button", { type: "button", class: "toggle", onclick: () => {
    theme = order[theme];
    if (theme === "auto") delete document.documentElement.dataset.theme; else document.documentElement.dataset.theme = theme;
    button.textContent = "Theme: " + theme;
    redrawAll();
  } }, "Theme: auto");
  return button;
}

function draw() {
  document.getElementById("top").append(h("div", { class: "inner" }, h("div", {}, h("h1", {}, FACTS.title), h("p", { class: "soft small" }, FACTS.folder + ", read " + FACTS.created)), themeButton()));
  const main = document.getElementById("main");
  const links = FACTS.groups.map((group, at) => ["group-" + at, group.title]);
  if (FACTS.needles.length) links.push(["needles", "Needles"]);
  if (FACTS.searches.length) links.push(["searches", "Searches"]);
  if (FACTS.left_out_count) links.push(["left-out", "Left out"]);
  if (links.length > 1) main.before(h("nav", { "aria-label": "Parts of this page" }, h("ul", {}, links.map(([id, text]) => h("li", {}, h("a", { href: "#" + id }, text))))));
  if (!FACTS.groups.length) main.append(h("div", { class: "card" }, h("h2", {}, "Nothing to show yet"), h("p", {}, "No cell of this folder can be shown. sparse-bench run fills one.")));
  for (const [at, group] of FACTS.groups.entries()) main.append(groupSection(group, at));
  if (FACTS.needles.length) main.append(h("section", { class: "group", id: "needles", "aria-labelledby": "needles-title" }, h("h2", { id: "needles-title" }, "Needles by depth and length"), FACTS.needles.map(needleCard)));
  if (FACTS.searches.length) main.append(h("section", { class: "group", id: "searches", "aria-labelledby": "searches-title" }, h("h2", { id: "searches-title" }, "Searches"), FACTS.searches.map(searchCard)));
  if (FACTS.left_out_count) main.append(h("section", { class: "group", id: "left-out", "aria-labelledby": "left-out-title" }, h("h2", { id: "left-out-title" }, "Left out"),
    h("div", { class: "card caveats" }, h("p", {}, FACTS.left_out_count + " files or cells could not be read:"), h("ul", {}, FACTS.left_out.map((text) => h("li", {}, text))))));
  document.getElementById("end").append("Intervals have 95%, with contexts as the independent units; differences are paired by sample. Density: keys read / keys that dense attention would read. Made by sparse-bench.");
}
draw();
