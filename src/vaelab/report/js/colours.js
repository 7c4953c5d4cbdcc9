// What the dots are coloured by: the class, the split, how strange a row is to the model, or a column of the table.
const UNKNOWN = 255, STEPS = 254; // codes of a column: from its lowest to its highest value, and of a missing one
const FEW = 16; // levels that a key names

const colourChoices = (data, labels) => [
  ...(labels ? [["class", "class"]] : []), ["split", "split"], ...(data.models.some(({ scores }) => scores) ? [["score", "−log p(x), bound"]] : []),
  ...data.columns.map(({ column }) => [`column ${column}`, data.table.names[column]]),
  ...(data.columns_left ? [["", `… ${data.columns_left.toLocaleString("en")} more columns are not in the page`, true]] : []),
  ["none", "nothing"],
];

// From light to dark on a light page, the other way round on a dark one; few steps, since each is drawn by itself.
const rampOf = (share) => {
  const at = Math.round(24 * share) / 24, light = isDark.matches ? 0.42 + 0.5 * at : 0.86 - 0.5 * at;
  return `oklch(${light.toFixed(3)} 0.14 ${isDark.matches ? 285 - 185 * at : 100 + 185 * at})`;
};

// Rows without a label are grey.
const classHueOf = (data) => (code) => (code === data.unlabelled ? styleOf("--muted") : hueOf(code));

const paintOf = (colour, { data, labels, splitOf, scores, view }) => {
  const missing = styleOf("--muted");
  const swatch = (css, text) => {
    const dot = el("i", { "aria-hidden": "true" });
    dot.style.background = css;
    return el("span", { class: "swatch" }, dot, el("span", { text: short(text) }));
  };
  const named = (names, css) => (names.length <= FEW ? names.map((name, k) => swatch(css(k), name)) : []);
  const ramp = (name, codes, low, high, write, onAxis = (value) => value, fromAxis = onAxis) => {
    const bar = el("i", { class: "ramp", "aria-hidden": "true" });
    bar.style.background = `linear-gradient(to right, ${[0, 0.25, 0.5, 0.75, 1].map(rampOf).join(", ")})`;
    const without = codes.includes(UNKNOWN) ? [swatch(missing, "missing")] : [];
    const edge = (code) => (code === 0 ? "≤ " : code === STEPS ? "≥ " : "");
    const value = (code) => fromAxis(onAxis(low) + (code / STEPS) * (onAxis(high) - onAxis(low)));
    return {
      name, of: (i) => (codes[i] === UNKNOWN ? missing : rampOf(codes[i] / STEPS)),
      key: [el("span", { text: `≤ ${write(low)}` }), bar, el("span", { text: `≥ ${write(high)}` }), ...without],
      told: (i) => (codes[i] === UNKNOWN ? "missing" : edge(codes[i]) + write(value(codes[i]))),
    };
  };
  if (colour === "class") return { of: (i) => classHueOf(data)(labels[i]), key: [] };
  if (colour === "split") return { of: (i) => hueOf(splitOf[i]), key: named(data.splits.names, hueOf) };
  if (colour === "none") { const accent = styleOf("--accent"); return { of: () => accent, key: [] }; }
  if (colour === "score") {
    if (!scores) return { of: () => missing, key: [el("span", { text: "this model has no scores" })] };
    return ramp("−log p(x)", bytesOf(scores.codes), scores.low, scores.high, format);
  }
  const found = data.columns.find(({ column }) => colour === `column ${column}`), codes = bytesOf(found.codes), name = data.table.names[found.column];
  const levels = data.table.levels[found.column];
  if (!levels) {
    const own = (work) => (value) => work(value, found.column);
    return ramp(name, codes, found.low, found.high, own(view.told), own(view.onAxis), own(view.fromAxis));
  }
  const css = (k) => (data.table.kinds[found.column] === "ordinal" ? rampOf(k / Math.max(1, levels.length - 1)) : hueOf(k));
  const without = codes.includes(UNKNOWN) ? [swatch(missing, "missing")] : [];
  return {
    name, of: (i) => (codes[i] === UNKNOWN ? missing : css(codes[i])), key: [...named(levels, css), ...without],
    told: (i) => (codes[i] === UNKNOWN ? "missing" : levels[codes[i]]),
  };
};
