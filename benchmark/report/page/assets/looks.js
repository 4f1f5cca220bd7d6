// One colour and one marker for a method; settings of one method are told apart by shade.
const GLYPHS = {
  o: "M0,-5A5,5 0 1,1 0,5A5,5 0 1,1 0,-5Z", s: "M-4.4,-4.4H4.4V4.4H-4.4Z", D: "M0,-6L6,0 0,6 -6,0Z",
  d: "M0,-6.5L4,0 0,6.5 -4,0Z", "^": "M0,-5.5L5.5,4.5 -5.5,4.5Z", v: "M0,5.5L5.5,-4.5 -5.5,-4.5Z",
  "<": "M-5.5,0L4.5,-5.5 4.5,5.5Z", ">": "M5.5,0L-4.5,-5.5 -4.5,5.5Z", _: "M-7,-1.3H7V1.3H-7Z",
  p: "M0,-5.8L5.5,-1.8 3.4,4.7 -3.4,4.7 -5.5,-1.8Z", h: "M0,-5.8L5,-2.9 5,2.9 0,5.8 -5,2.9 -5,-2.9Z",
  8: "M-2.3,-5.5H2.3L5.5,-2.3V2.3L2.3,5.5H-2.3L-5.5,2.3V-2.3Z",
  P: "M-1.9,-5.5H1.9V-1.9H5.5V1.9H1.9V5.5H-1.9V1.9H-5.5V-1.9H-1.9Z",
  X: "M-5.3,-3L-3,-5.3 0,-2.3 3,-5.3 5.3,-3 2.3,0 5.3,3 3,5.3 0,2.3 -3,5.3 -5.3,3 -2.3,0Z",
  "*": "M0,-6.2L1.6,-2 6,-1.9 2.5,0.8 3.7,5 0,2.6 -3.7,5 -2.5,0.8 -6,-1.9 -1.6,-2Z",
};
const SYMBOLS = {
  o: "circle", s: "square", D: "diamond", d: "diamond-tall", "^": "triangle-up", v: "triangle-down",
  "<": "triangle-left", ">": "triangle-right", _: "line-ew", p: "pentagon", h: "hexagon", 8: "octagon",
  P: "cross", X: "x", "*": "star",
};

function channels(hex) { return [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16)); }
function mixed(hex, other, share) {
  const [a, b] = [channels(hex), channels(other)];
  return "#" + a.map((value, at) => Math.round(value * share + b[at] * (1 - share)).toString(16).padStart(2, "0")).join("");
}
// On a dark ground colours are lighter, and black, dense attention's, is white.
function methodColour(method, dark) {
  if (!dark) return method.colour;
  return method.colour === "#000000" ? "#ffffff" : mixed(method.colour, "#ffffff", 0.66);
}
function shaded(method, shade, dark) {
  return mixed(methodColour(method, dark), dark ? "#1b1f24" : "#ffffff", 0.45 + 0.55 * shade);
}
function withAlpha(hex, alpha) { return "rgba(" + channels(hex).join(",") + "," + alpha + ")"; }

function glyph(method, shade) {
  const at = shade === undefined ? 1 : shade;
  const fill = "fill: light-dark(" + shaded(method, at, false) + ", " + shaded(method, at, true) + ")";
  const path = h("path", { d: GLYPHS[method.marker] || GLYPHS.o, style: fill });
  return h("svg", { class: "glyph", viewBox: "-7 -7 14 14", "aria-hidden": "true" }, path);
}

// The one legend of a group: buttons that hide methods in all of its pictures.
function legend(group, hidden) {
  return h("ul", { class: "chips", "aria-label": "Methods; press to hide or show" }, group.methods.map((method, at) =>
    h("li", {}, h("button", {
      type: "button", "aria-pressed": "true",
      onclick: (event) => {
        const shown = hidden.delete(at);
        if (!shown) hidden.add(at);
        event.currentTarget.setAttribute("aria-pressed", String(shown));
        redrawAll();
      },
    }, glyph(method), method.name))));
}
