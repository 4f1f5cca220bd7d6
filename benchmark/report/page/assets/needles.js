// Needles: score by the depth at which the answer stands and by the length of the context.
function needleCard(needles) {
  const titleId = newId("needles");
  const state = { config: 0, length: needles.lengths[0] };
  const colours = () => [[0, resolved("--bad")], [0.5, resolved("--sunk")], [1, resolved("--good")]];
  const parts = Array.from({ length: needles.depths }, (_, at) => Math.round(100 * at / needles.depths) + "\u2013" + Math.round(100 * (at + 1) / needles.depths) + " %");
  const heat = (x, y, pick) => {
    const z = y.map((_, row) => x.map((_, column) => pick(row, column)));
    return [{ type: "heatmap", x, y: y.map(plain), z: z.map((line) => line.map((cell) => cell ? cell[2] : null)), zmin: 0, zmax: 1, colorscale: colours(), xgap: 2, ygap: 2,
      text: z.map((line) => line.map((cell) => cell ? fixed(cell[2], 2) : "")), texttemplate: "%{text}", customdata: z.map((line) => line.map((cell) => cell ? cell[3] : 0)),
      hovertemplate: "%{y}, %{x}<br>score %{z:.3f}, %{customdata} answers<extra></extra>", colorbar: { thickness: 10, outlinewidth: 0, title: { text: "score" } } }];
  };
  const at = (config, length, part) => needles.configs[config].cells.find((cell) => cell[0] === length && cell[1] === part);
  const shown = needles.configs.slice(0, 40);
  const byConfig = chart(needles.title + ": score of each configuration by depth of the answer", () => ({
    traces: heat(parts, shown.map((config) => config.label), (row, column) => at(row, state.length, column)),
    layout: { xaxis: { title: { text: "depth in the context" }, type: "category" }, yaxis: { type: "category", autorange: "reversed", tickfont: { size: 11 } }, margin: { l: 60, r: 10, t: 6, b: 44 } } }));
  byConfig.style.height = Math.max(180, 90 + 26 * shown.length) + "px";
  const byLength = needles.lengths.length < 2 ? null : chart(needles.title + ": score of one configuration by depth and length", () => ({
    traces: heat(needles.lengths.map((length) => String(length)), parts, (row, column) => at(state.config, needles.lengths[column], row)),
    layout: { xaxis: { title: { text: "tokens, about" }, type: "category" }, yaxis: { title: { text: "depth" }, type: "category", autorange: "reversed" } } }), "short");
  return h("article", { class: "card", "aria-labelledby": titleId }, h("h3", { id: titleId }, needles.title),
    h("p", { class: "small soft" }, "Tasks whose answer stands in the context: " + needles.tasks.join(", ") + ". Depth 0 % is its beginning. All answers of a configuration, tuning samples too."),
    ...(byLength ? [h("div", { class: "controls" }, choice("configuration", needles.configs.map((config, place) => [place, config.label]), (value) => { state.config = Number(value); byLength.draw(); })), byLength,
      h("div", { class: "controls" }, choice("tokens, about", needles.lengths.map((length) => [length, String(length)]), (value) => { state.length = Number(value); byConfig.draw(); }))] : []),
    figure(byConfig, needles.lengths.length < 2 ? "Contexts of about " + needles.lengths[0] + " tokens." : "") );
}
