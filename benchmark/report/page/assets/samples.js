// Questions with the answers of all configurations side by side.
function sampleBrowser(group) {
  const subsets = group.samples.filter((subset) => subset.samples.length);
  const cut = group.samples.filter((subset) => subset.samples.length < subset.of);
  const titleId = newId("browser");
  const card = h("article", { class: "card", "aria-labelledby": titleId, "data-browser": true }, h("h3", { id: titleId }, "Samples and answers"));
  if (!subsets.length) { card.append(h("p", { class: "soft" }, "No answers are recorded here.")); return card; }
  let subset = subsets[0], place = 0, only = "all";
  const view = h("div", { class: "browser", tabindex: "0", role: "region", "aria-label": unique("Sample") + "; left and right arrow keys go to the one before and after" });
  const where = h("span", { class: "small soft", role: "status" });
  const filters = { all: () => true, differ: differs, lost: (sample) => isLost(group, sample) };
  const shown = () => subset.samples.filter(filters[only]);
  const step = (by) => { const count = shown().length; if (count) { place = (place + by + count) % count; fill(); } };
  const go = h("input", { type: "number", min: 1, "aria-label": "Number of the sample", style: "width: 5.5rem", onchange: () => { place = Math.max(0, Math.min(shown().length, Number(go.value)) - 1); fill(); } });
  view.addEventListener("keydown", (event) => {
    if (event.target !== view) return;
    if (event.key === "ArrowRight") { step(1); event.preventDefault(); }
    if (event.key === "ArrowLeft") { step(-1); event.preventDefault(); }
  });
  function fill() {
    const found = shown();
    place = Math.min(place, Math.max(0, found.length - 1));
    go.value = found.length ? place + 1 : 0;
    where.textContent = found.length ? "of " + found.length + (only === "all" && subset.of > found.length ? " shown, " + subset.of + " in all" : "") : "none like that";
    view.replaceChildren(...(found.length ? sampleParts(group, found[place]) : [h("p", { class: "soft" }, "No sample is like that.")]));
  }
  card.append(...[
    cut.length ? h("p", { class: "small" }, "Cut to keep this page small: " + cut.map((one) => one.subset + " has the first " + one.samples.length + " of " + one.of + " samples").join("; ") + ". All are in predictions.jsonl and with ", h("code", {}, "sparse-bench show"), ".") : null,
    h("div", { class: "controls" },
      choice("task", subsets.map((one, at) => [at, one.subset]), (at) => { subset = subsets[at]; place = 0; fill(); }),
      choice("show", [["all", "all samples"], ["differ", "where scores differ"], ["lost", "dense right, another wrong"]], (value) => { only = value; place = 0; fill(); }),
      h("button", { type: "button", "aria-label": "Sample before", onclick: () => step(-1) }, "\u2190"), go,
      h("button", { type: "button", "aria-label": "Next sample", onclick: () => step(1) }, "\u2192"), where), view].filter((part) => part));
  fill();
  return card;
}

function differs(sample) { return new Set(sample.answers.map((answer) => answer[2])).size > 1; }
function isLost(group, sample) {
  const dense = sample.answers.find((answer) => group.configs[answer[0]].dense);
  return Boolean(dense) && dense[2] === 1 && sample.answers.some((answer) => answer[2] !== null && answer[2] < 1);
}

function sampleParts(group, sample) {
  const block = (title, text) => h("div", {}, h("b", { class: "small" }, title), h("div", { class: "text-block", tabindex: "0", role: "group", "aria-label": title }, marked(text, sample.references)));
  const columns = [
    { title: "configuration", isText: true, value: (a) => group.configs[a[0]].label, text: (a) => group.configs[a[0]].label, cell: (a) => configName(group, group.configs[a[0]]) },
    { title: "score", value: (a) => a[2], text: (a) => fixed(a[2], 3), cell: (a) => verdictMark(a[2]) },
    { title: "answer", isText: true, value: (a) => sample.texts[a[1]], text: (a) => sample.texts[a[1]], cell: (a) => h("span", { class: "answer" }, marked(sample.texts[a[1]], sample.references)) },
    { title: "density", value: (a) => a[3], text: (a) => fixed(a[3], 3) },
  ];
  return [
    h("p", {}, h("b", {}, sample.id), h("span", { class: "soft small" }, "  " + sample.tokens + " tokens in the prompt")),
    ...(sample.excerpt ? [block("From the context", sample.excerpt)] : []),
    ...(sample.prompt ? [h("details", {}, h("summary", {}, "Prompt, its beginning and end"), block("Prompt", sample.prompt))] : []),
    block("Question", sample.question + (sample.prefix ? "\n" + sample.prefix : "")),
    h("div", {}, h("b", { class: "small" }, "References"), h("ul", { class: "chips" }, sample.references.length ? sample.references.map((text) => h("li", { class: "badge" }, text)) : h("li", { class: "soft" }, "none"))),
    dataTable("Answers", columns, sample.answers),
  ];
}

function verdictMark(score) {
  if (score === null) return h("span", { class: "score soft" }, "no score");
  const kind = score === 1 ? ["full", "\u2713"] : score === 0 ? ["none", "\u2717"] : ["", "\u223c"];
  return h("span", { class: "score " + kind[0] }, h("span", { "aria-hidden": "true" }, kind[1]), fixed(score, 2));
}

// A text with the references that occur in it marked.
function marked(text, references) {
  const parts = [], lower = text.toLowerCase(), wanted = references.map((one) => one.trim().toLowerCase()).filter((one) => one);
  let at = 0;
  while (at < text.length) {
    let next = null;
    for (const one of wanted) {
      const found = lower.indexOf(one, at);
      if (found >= 0 && (!next || found < next[0] || (found === next[0] && one.length > next[1]))) next = [found, one.length];
    }
    if (!next || lower.length !== text.length) break;
    parts.push(text.slice(at, next[0]), h("mark", {}, text.slice(next[0], next[0] + next[1])));
    at = next[0] + next[1];
  }
  parts.push(text.slice(at));
  return parts;
}
