// Density and attention error by layer: a line for each configuration.
const MIDDLES = "middles";

// Of each method the setting in the middle: more lines than methods could not be told apart.
function middles(group, known) {
  return group.methods.flatMap((_, at) => {
    const own = known.filter((config) => config.method === at);
    return own.length ? [own[Math.floor(own.length / 2)]] : [];
  });
}

function layerChart(group, state, pick, column, title) {
  return chart(group.title + ": " + title + " by layer, a line for each configuration; the table below has the same numbers", () => {
    const traces = pick().filter((config) => config.cells[state.panel][column]).map((config) => {
      const method = group.methods[config.method], values = config.cells[state.panel][column];
      return { x: values.map((_, layer) => layer), y: values, mode: "lines+markers", name: plain(config.label),
        hovertemplate: plain(config.label) + "<br>layer %{x}: %{y:.3~g}<extra></extra>",
        line: { color: shaded(method, config.shade, isDark()), width: 1.6, dash: config.oracle ? "dot" : "solid" },
        marker: { symbol: SYMBOLS[method.marker] || "circle", size: 6, color: shaded(method, config.shade, isDark()), line: { color: methodColour(method, isDark()), width: 1 } } };
    });
    const isShare = column === "layer_density", positive = traces.flatMap((trace) => trace.y).filter((y) => y > 0);
    const isLog = !isShare && positive.length > 0 && Math.min(...positive) < 0.05 * Math.max(...positive);
    const last = Math.max(1, ...traces.map((trace) => trace.x.length - 1));
    return { traces, layout: { xaxis: { title: { text: "layer", font: { size: 11 } }, dtick: Math.ceil(last / 8) }, margin: { l: 44, r: 8, t: 6, b: 36 },
      yaxis: isShare ? { range: [-0.03, 1.05] } : isLog ? { type: "log", dtick: 1, exponentformat: "power" } : { rangemode: "tozero" } } };
  });
}

function layerCard(group) {
  const panel = Object.keys(group.panels)[0], state = { panel, method: MIDDLES };
  const known = () => group.configs.filter((config) => !config.dense && config.cells[state.panel] && config.cells[state.panel].layer_density);
  const panels = Object.entries(group.panels).filter(([key]) => group.configs.some((config) => config.cells[key] && config.cells[key].layer_density && !config.dense));
  if (!panels.length) return null;
  state.panel = panels[0][0];
  const pick = () => state.method === MIDDLES ? middles(group, known()) : known().filter((config) => config.method === Number(state.method));
  const pictures = [["layer_density", "density"], ["layer_error", "attention error"]].map(([column, title]) => [title, layerChart(group, state, pick, column, title)]);
  const key = h("ul", { class: "chips small" }), place = h("div", {});
  const layers = Math.max(...known().map((config) => config.cells[state.panel].layer_density.length));
  const columns = (column, title) => Array.from({ length: layers }, (_, layer) => {
    const value = (config) => { const found = config.cells[state.panel][column]; return found && layer < found.length ? found[layer] : null; };
    return { title: title + " " + layer, value, text: (config) => { const found = value(config); return found === null ? "\u2013" : found.toPrecision(3); } };
  });
  function change() {
    key.replaceChildren(...pick().map((config) => h("li", {}, configName(group, config))));
    for (const [, picture] of pictures) picture.draw();
    if (details.open) fill();
  }
  function fill() {
    place.replaceChildren(dataTable(group.title + ", " + group.panels[state.panel] + ": by layer",
      [{ title: "configuration", isText: true, value: (c) => c.label, text: (c) => c.label, cell: (c) => configName(group, c) }, ...columns("layer_density", "density"), ...columns("layer_error", "error")], known()));
  }
  const details = h("details", { ontoggle: () => { if (details.open && !place.firstChild) fill(); } }, h("summary", {}, "Numbers by layer"), place);
  const methods = group.methods.map((method, at) => [String(at), "all settings of " + method.name]).filter(([at]) => known().some((config) => config.method === Number(at)));
  key.replaceChildren(...pick().map((config) => h("li", {}, configName(group, config))));
  return h("div", { class: "card" }, h("h3", {}, "Density and attention error by layer"),
    h("p", { class: "small soft" }, "Means over the answers. Layers that keep keys, counted from 0. Attention error: squared difference of a layer's attention output to dense attention on the same queries, keys and values, relative to dense; it does not rank methods."),
    h("div", { class: "controls" }, choice("lines", [[MIDDLES, "the middle setting of each method"], ...methods], (value) => { state.method = value; change(); }),
      panels.length > 1 ? choice("task", panels, (value) => { state.panel = value; change(); }) : null),
    key, h("div", { class: "grid" }, pictures.map(([title, picture]) => h("figure", {}, h("b", { class: "small" }, title), picture))), details);
}
