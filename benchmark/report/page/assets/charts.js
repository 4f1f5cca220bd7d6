// Pictures are drawn when they come into view, and anew when theme or legend change.
const pending = new IntersectionObserver((entries) => {
  for (const entry of entries) if (entry.isIntersecting) { pending.unobserve(entry.target); entry.target.draw(); }
}, { rootMargin: "400px" });
const charts = [];
addEventListener("beforeprint", () => { for (const chart of charts) chart.draw(); });

function chart(label, make, kind) {
  const node = h("div", { class: "chart" + (kind ? " " + kind : ""), role: "img", "aria-label": label });
  let drawn = false;
  node.draw = () => {
    drawn = true;
    const { traces, layout } = make();
    Plotly.react(node, traces, framed(layout), { displaylogo: false, responsive: true, displayModeBar: false });
  };
  redraws.add(() => { if (drawn) node.draw(); });
  charts.push(node);
  pending.observe(node);
  return node;
}

// 1, 2 and 5 of each power of ten, written out.
function logTicks(xs) {
  const ticks = [];
  for (let power = Math.floor(Math.log10(Math.min(...xs))); power <= Math.log10(Math.max(...xs)) + 0.1; power += 1) {
    for (const digit of [1, 2, 5]) ticks.push(Number((digit * 10 ** power).toPrecision(1)));
  }
  return { type: "log", tickvals: ticks, ticktext: ticks.map(String) };
}

function framed(layout) {
  const axis = { automargin: true, fixedrange: true };
  const [line, ink, soft, card] = ["--line", "--ink", "--soft", "--card"].map(resolved);
  const base = { ...axis, gridcolor: line, zerolinecolor: line, linecolor: soft, tickfont: { size: 11 } };
  return {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", showlegend: false, hovermode: "closest", dragmode: false,
    font: { family: "system-ui, sans-serif", color: ink, size: 12 }, margin: { l: 48, r: 12, t: 12, b: 44 },
    hoverlabel: { bgcolor: card, bordercolor: soft, font: { color: ink, size: 12 }, align: "left" },
    ...layout, xaxis: { ...base, ...layout.xaxis }, yaxis: { ...base, ...layout.yaxis },
  };
}

// A colour variable as Plotly reads it: light-dark() must be worked out by the browser.
function resolved(name) {
  const probe = h("span", { style: "color: var(" + name + ")" });
  document.body.append(probe);
  const colour = getComputedStyle(probe).color;
  probe.remove();
  return colour;
}

// Plotly reads some tags in texts.
function plain(text) { return String(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;"); }

function honest(cell) { return cell.held_out_score || cell.score; }
function honestDifference(cell) { return cell.held_out_score ? cell.held_out_dense_difference : cell.dense_difference; }

function hoverText(config, cell) {
  const score = honest(cell), difference = honestDifference(cell);
  const lines = ["<b>" + plain(config.label) + "</b>", wrapped(config.description),
    (cell.held_out_score ? "held-out score " : "score ") + fixed(score[0], 3) + " " + range(score, 2, fixed)];
  if (difference) lines.push("to dense " + signed(difference[0], 3) + " " + range(difference, 2, signed));
  lines.push("density " + fixed(cell.density, 3) + ", bytes " + fixed(cell.bytes_read, 3) + ", kept " + fixed(cell.kept_share, 3));
  if (cell.attention_error !== null) lines.push("attention error " + cell.attention_error.toPrecision(3));
  lines.push(cell.answered + " of " + cell.samples + " samples answered");
  return lines.join("<br>");
}
function wrapped(text) {
  const lines = [""];
  for (const word of text.split(" ")) {
    if ((lines.at(-1) + word).length > 48) lines.push("");
    lines[lines.length - 1] += word + " ";
  }
  return lines.map(plain).join("<br>");
}

// The points of each visible method in a panel, by cost.
function series(group, panel, cost, hidden) {
  return group.methods.map((method, at) => ({ method, at, points: hidden.has(at) ? [] : group.configs
    .filter((config) => config.method === at && config.cells[panel] && honest(config.cells[panel]) && cost(config.cells[panel]) !== null)
    .map((config) => ({ config, cell: config.cells[panel], x: cost(config.cells[panel]), y: honest(config.cells[panel]) }))
    .sort((a, b) => a.x - b.x) })).filter((one) => one.points.length);
}

function lowest(group, panels) {
  const all = panels.flatMap((panel) => group.configs.map((config) => config.cells[panel]).filter((cell) => cell && honest(cell)).map((cell) => honest(cell)[1]));
  return Math.min(1, ...all);
}

function methodTraces(one, isSmall) {
  const { method, points } = one;
  const colour = methodColour(method, isDark()), given = points.filter((point) => !point.config.tuning);
  const oracle = points.every((point) => point.config.oracle), traces = [];
  if (given.length > 1) {
    const xs = given.map((point) => point.x);
    traces.push({ x: [...xs, ...xs.toReversed()], y: [...given.map((p) => p.y[2]), ...given.map((p) => p.y[1]).toReversed()],
      fill: "toself", fillcolor: withAlpha(colour, 0.1), line: { width: 0 }, mode: "lines", hoverinfo: "skip" });
  }
  const errors = (list) => list.length === 1 ? { type: "data", symmetric: false, array: list.map((p) => p.y[2] - p.y[0]), arrayminus: list.map((p) => p.y[0] - p.y[1]), color: withAlpha(colour, 0.55), thickness: 1.2, width: 3 } : undefined;
  const draw = (list, symbol, size, mode) => traces.push({
    x: list.map((p) => p.x), y: list.map((p) => p.y[0]), mode, text: list.map((p) => hoverText(p.config, p.cell)), hovertemplate: "%{text}<extra></extra>",
    line: { color: colour, width: isSmall ? 1.5 : 2, dash: oracle ? "dot" : "solid" }, error_y: errors(list),
    marker: { symbol, size, color: list.map((p) => shaded(method, p.config.shade, isDark())), line: { color: colour, width: 1.4 } },
  });
  const symbol = (SYMBOLS[method.marker] || "circle") + (oracle ? "-open" : "");
  if (given.length) draw(given, symbol, isSmall ? 7 : 10, given.length > 1 ? "lines+markers" : "markers");
  const tuned = points.filter((point) => point.config.tuning);
  for (const point of tuned) draw([point], "star", isSmall ? 10 : 16, "markers");
  return traces;
}

function denseShapes(group, panel, hidden) {
  const at = group.configs.findIndex((config) => config.dense && config.cells[panel] && config.cells[panel].score);
  if (at < 0 || hidden.has(group.configs[at].method)) return { shapes: [], annotations: [] };
  const [mean, low, high] = group.configs[at].cells[panel].score, ink = resolved("--ink");
  return {
    shapes: [{ type: "rect", xref: "paper", x0: 0, x1: 1, y0: low, y1: high, line: { width: 0 }, fillcolor: ink, opacity: 0.06, layer: "below" },
      { type: "line", xref: "paper", x0: 0, x1: 1, y0: mean, y1: mean, line: { color: ink, width: 1.4 }, layer: "below" }],
    annotations: [{ xref: "paper", x: 0, xanchor: "left", y: mean, yanchor: "bottom", text: "dense " + fixed(mean, 3), showarrow: false, font: { size: 11, color: resolved("--soft") } }],
  };
}

function costChart(group, hidden, state) {
  const label = group.title + ": score against cost, a line for each method; the table below has the same numbers";
  return chart(label, () => {
    const { panel, cost } = state, found = series(group, panel, (cell) => cell[cost], hidden).filter((one) => !one.points[0].config.dense);
    const xs = found.flatMap((one) => one.points.map((point) => point.x)).filter((x) => x > 0);
    const isLog = cost !== "kept_share" && Math.min(...xs) < 0.12 * Math.max(...xs);
    const best = (group.fronts[panel] || {})[cost] || [];
    const steps = best.map((at) => group.configs[at]).filter((config) => !hidden.has(config.method));
    const traces = [{ x: steps.map((config) => config.cells[panel][cost]), y: steps.map((config) => honest(config.cells[panel])[0]), mode: "lines",
      line: { shape: "hv", color: resolved("--soft"), width: 1.6, dash: "dash" }, hoverinfo: "skip" }, ...found.flatMap((one) => methodTraces(one, false))];
    const dense = denseShapes(group, panel, hidden), from = lowest(group, [panel]);
    return { traces, layout: { ...dense, xaxis: { title: { text: FACTS.costs[cost], font: { size: 12 } }, ...(isLog ? logTicks(xs) : {}) },
      yaxis: { title: { text: "score" }, range: [from - 0.04, 1.04] } } };
  });
}

function compressionChart(group, hidden, panel, title) {
  return chart(group.title + ", " + title + ": score over compression ratio, a line for each method", () => {
    const found = series(group, panel, (cell) => cell.density === null ? null : 1 - cell.density, hidden);
    return { traces: found.flatMap((one) => methodTraces(one, true)), layout: {
      xaxis: { range: [-0.04, 1.04], title: { text: "compression ratio", font: { size: 11 } }, dtick: 0.25 }, yaxis: { range: [-0.05, 1.08], dtick: 0.25 }, margin: { l: 34, r: 8, t: 6, b: 36 } } };
  });
}
