// Searches: how the loss went down, what mattered, which trials went on, and what they cost.
const STATUS = { complete: ["circle", "saw all samples"], pruned: ["circle-open", "stopped early"] };

function searchCard(search) {
  const titleId = newId("search");
  const held = search.held_out.map((found) => found.score
    ? found.task + ": " + fixed(found.score[0], 3) + " " + range(found.score, 2, fixed) + " at density " + fixed(found.density, 3)
    : found.task + ": " + (found.reason || "no score"));
  const counts = search.trials.reduce((all, trial) => ({ ...all, [trial.status]: (all[trial.status] || 0) + 1 }), {});
  const columns = [
    { title: "trial", value: (t) => t.number, text: (t) => String(t.number) + (t.number === search.winner ? " (winner)" : "") },
    { title: "settings", isText: true, value: (t) => t.settings, text: (t) => t.settings },
    { title: "status", isText: true, value: (t) => t.status, text: (t) => t.status },
    { title: "loss", value: (t) => t.loss, text: (t) => fixed(t.loss, 4) },
    { title: "score", value: (t) => t.score, text: (t) => fixed(t.score, 3) },
    { title: "density", value: (t) => t.density, text: (t) => fixed(t.density, 3) },
  ];
  return h("article", { class: "card", "aria-labelledby": titleId },
    h("h3", { id: titleId }, search.title, h("span", { class: "badge" }, search.objective), search.feasible ? null : h("span", { class: "badge" }, "infeasible")),
    h("p", { class: "soft small" }, search.model + ", " + search.trials.length + " trials: " + Object.entries(counts).map(([status, n]) => n + " " + status).join(", ") + "; finished " + search.created),
    h("dl", { class: "pairs" }, h("dt", {}, "winner"), h("dd", {}, search.settings), h("dt", {}, "held-out score"), h("dd", {}, held.join("; "))),
    search.remarks.length ? h("ul", { class: "plain small" }, search.remarks.map((remark) => h("li", {}, remark))) : null,
    h("div", { class: "grid wide" },
      figure(historyChart(search), "Loss of each trial; the line is the best so far of those that saw all samples."),
      figure(tradeChart(search), "Score and density on what the search saw. Star: the winner. Square: the same on samples held out."),
      Object.keys(search.importance).length
        ? figure(importanceChart(search), "Importance of each setting for being among the best trials (Optuna, PED-ANOVA).")
        : h("p", { class: "soft small" }, "Importance of settings: too few different trials."),
      figure(survivalChart(search), "Trials that reached each rung.")),
    h("details", {}, h("summary", {}, "All trials as a table"), dataTable("Trials of " + search.title, columns, search.trials, { column: 3, down: false })));
}

function figure(content, caption) { return h("figure", {}, content, h("figcaption", {}, caption)); }

function trialTraces(search, x, y) {
  const accent = resolved("--accent");
  return Object.entries(STATUS).map(([status, [symbol]]) => {
    const own = search.trials.filter((trial) => trial.status === status && y(trial) !== null);
    return { x: own.map(x), y: own.map(y), mode: "markers", marker: { symbol, size: 8, color: accent, line: { width: 1.3, color: accent } },
      text: own.map((trial) => "<b>trial " + trial.number + "</b>, " + STATUS[status][1] + "<br>" + wrapped(trial.settings) + "<br>score " + fixed(trial.score, 3) + ", density " + fixed(trial.density, 3)), hovertemplate: "%{text}<extra></extra>" };
  });
}

function historyChart(search) {
  return chart(search.title + ": loss of each trial in order", () => {
    let best = Infinity;
    const steps = search.trials.filter((trial) => trial.status === "complete").map((trial) => { best = Math.min(best, trial.loss); return [trial.number, best]; });
    return { traces: [{ x: steps.map((s) => s[0]), y: steps.map((s) => s[1]), mode: "lines", line: { shape: "hv", color: resolved("--soft"), width: 1.6 }, hoverinfo: "skip" },
      ...trialTraces(search, (trial) => trial.number, (trial) => trial.loss)], layout: { xaxis: { title: { text: "trial" } }, yaxis: { title: { text: "loss" } } } };
  }, "short");
}

function tradeChart(search) {
  return chart(search.title + ": score against density of all trials, and the winner", () => {
    const winner = search.trials.find((trial) => trial.number === search.winner), held = search.held_out.filter((found) => found.score);
    const front = search.front.map((number) => search.trials.find((trial) => trial.number === number));
    return { traces: [{ x: front.map((t) => t.density), y: front.map((t) => t.score), mode: "lines", line: { shape: "hv", dash: "dash", color: resolved("--soft"), width: 1.4 }, hoverinfo: "skip" },
      ...trialTraces(search, (trial) => trial.density, (trial) => trial.score),
      { x: [winner.density], y: [winner.score], mode: "markers", marker: { symbol: "star", size: 17, color: resolved("--warn-edge"), line: { color: resolved("--ink"), width: 1 } }, hovertemplate: "winner<extra></extra>" },
      { x: held.map((f) => f.density), y: held.map((f) => f.score[0]), mode: "markers", marker: { symbol: "square-open", size: 9, color: resolved("--bad"), line: { width: 2 } },
        error_y: { type: "data", symmetric: false, array: held.map((f) => f.score[2] - f.score[0]), arrayminus: held.map((f) => f.score[0] - f.score[1]), color: resolved("--bad"), thickness: 1.2, width: 3 },
        text: held.map((f) => "held out, " + plain(f.task)), hovertemplate: "%{text}<extra></extra>" }],
      layout: { xaxis: { title: { text: "density" }, ...logTicks([...search.trials.map((t) => t.density), ...held.map((f) => f.density)].filter((x) => x > 0)) }, yaxis: { title: { text: "score" }, range: [-0.05, 1.08] } } };
  }, "short");
}

function importanceChart(search) {
  return chart(search.title + ": importance of each setting", () => {
    const found = Object.entries(search.importance).sort((a, b) => a[1] - b[1]);
    return { traces: [{ type: "bar", orientation: "h", y: found.map((f) => plain(f[0])), x: found.map((f) => f[1]), marker: { color: resolved("--accent") }, hovertemplate: "%{x:.2f}<extra></extra>" }],
      layout: { xaxis: { title: { text: "share" } }, yaxis: { type: "category" }, bargap: 0.35 } };
  }, "short");
}

function survivalChart(search) {
  return chart(search.title + ": trials at each rung", () => ({
    traces: [{ type: "bar", x: search.rungs.map((rung, at) => "rung " + (at + 1) + "<br>" + rung.samples + " samples"), y: search.rungs.map((rung) => rung.trials),
      text: search.rungs.map((rung) => String(rung.trials)), textposition: "outside", cliponaxis: false, marker: { color: resolved("--accent") }, hoverinfo: "skip" }],
    layout: { yaxis: { title: { text: "trials" }, rangemode: "tozero" }, bargap: 0.45, margin: { l: 48, r: 12, t: 24, b: 44 } } }), "short");
}
