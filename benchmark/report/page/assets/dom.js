// Elements are made with text nodes alone, so that no text is ever read as markup.
const FACTS = JSON.parse(document.getElementById("facts").textContent);

function h(tag, attributes, ...children) {
  const node = tag === "svg" || tag === "path"
    ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) node.setAttribute(name, value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return node;
}

// Names of landmarks differ, so that a list of them can be read.
const names = {};
function unique(name) {
  names[name] = (names[name] || 0) + 1;
  return names[name] > 1 ? name + " (" + names[name] + ")" : name;
}

let ids = 0;
function newId(prefix) { ids += 1; return prefix + "-" + ids; }

function say(text) { document.getElementById("said").textContent = text; }

function fixed(value, digits) {
  if (value === null || value === undefined) return "\u2013";
  return (Math.round(value * 10 ** digits) / 10 ** digits + 0).toFixed(digits);
}
function signed(value, digits) {
  const text = fixed(value, digits);
  return value === null || value === undefined || text.startsWith("-") ? text.replace("-", "\u2212") : "+" + text;
}
function range(estimate, digits, write) {
  return estimate ? "[" + write(estimate[1], digits) + ", " + write(estimate[2], digits) + "]" : "";
}
function percent(value) {
  if (value === null || value === undefined) return "\u2013";
  return value < 0.1 ? fixed(100 * value, 1) + "%" : fixed(100 * value, 0) + "%";
}

// A row of buttons of which one is chosen.
function segments(label, options, chosen, onChoice) {
  const buttons = Object.entries(options).map(([value, text]) => h("button", {
    type: "button", "aria-pressed": String(value === chosen), "data-value": value,
    onclick: () => {
      for (const button of buttons) button.setAttribute("aria-pressed", String(button.dataset.value === value));
      onChoice(value);
    },
  }, text));
  return h("div", { class: "segments", role: "group", "aria-label": label }, buttons);
}

function choice(label, options, onChoice) {
  const id = newId("choice");
  const box = h("select", { id, onchange: () => onChoice(box.value) },
    options.map(([value, text]) => h("option", { value }, text)));
  return h("span", {}, h("label", { for: id, class: "small soft" }, label + " "), box);
}

function isDark() {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}

// Listeners of what everything on the page obeys: the theme, and which methods are hidden.
const redraws = new Set();
function redrawAll() { for (const redraw of redraws) redraw(); }
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redrawAll);
