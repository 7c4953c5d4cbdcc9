// A scale maps values of one setting to [0, 1]: linear, logarithmic if they span decades, or by category.
const scaleOf = (values, { pad = 0, zero = false } = {}) => {
  const known = values.filter((value) => value !== null && value !== undefined);
  if (known.some((value) => typeof value !== "number")) return categories([...new Set(known.map(String))].sort());
  let low = Math.min(...known), high = Math.max(...known);
  if (zero) low = Math.min(0, low);
  const whole = known.every(Number.isInteger);
  const log = low > 0 && high / low > 30;
  if (low === high) [low, high] = [low - Math.abs(low || 1) * 0.05, high + Math.abs(high || 1) * 0.05];
  const forth = log ? Math.log : (value) => value;
  const margin = pad * (forth(high) - forth(low));
  const from = forth(low) - margin, to = forth(high) + margin;
  const back = (share) => (log ? Math.exp(from + share * (to - from)) : from + share * (to - from));
  return { of: (value) => (forth(value) - from) / (to - from), back, log, numeric: true,
    ticks: () => (log ? logTicks : linearTicks)(back(0), back(1)).filter((tick) => !whole || Number.isInteger(tick)) };
};
const categories = (names) => ({
  of: (value) => (names.indexOf(String(value)) + 0.5) / names.length,
  ticks: () => names, numeric: false,
});
const linearTicks = (low, high) => {
  const rough = (high - low) / 4;
  const unit = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((k) => k * unit).find((size) => size >= rough * 0.8);
  const ticks = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high * (1 + 1e-12) + 1e-12; k++) ticks.push(Number((k * step).toPrecision(12)));
  return ticks;
};
const logTicks = (low, high) => {
  const all = [];
  for (let decade = Math.floor(Math.log10(low)); decade <= Math.ceil(Math.log10(high)); decade++) {
    for (const k of [1, 2, 5]) all.push(Number((k * 10 ** decade).toPrecision(3)));
  }
  const fitting = all.filter((value) => value >= low * 0.999 && value <= high * 1.001);
  const decades = fitting.filter((value) => /^1e?0*$|^0\.0*1$|^1e-\d+$/.test(String(value)));
  return decades.length >= 3 ? decades : fitting.length > 5 ? fitting.filter((_, i) => i % 2 === 0) : fitting;
};
const tickText = (value) => {
  if (typeof value !== "number") return short(String(value), 12);
  if (value !== 0 && Math.abs(value) < 1e-3) return value.toExponential(0).replace("e-", "e−");
  return Number(value.toPrecision(6)).toLocaleString("en-US", { maximumFractionDigits: 20 }).replace("-", "−");
};

// How good a value is, from 0 (worst shown) to 1 (best): by rank, so that one bad trial does not wash out the rest.
const goodness = (values) => {
  const ranked = [...values].sort((a, b) => b - a);
  return (value) => {
    if (ranked.length < 2) return 1;
    let below = 0;
    while (below < ranked.length && ranked[below] > value) below++;
    return below / (ranked.length - 1);
  };
};
const tint = (share) =>
  share > 0.5
    ? `color-mix(in oklab, var(--good) ${Math.round(200 * (share - 0.5))}%, var(--middle))`
    : `color-mix(in oklab, var(--middle) ${Math.round(200 * share)}%, var(--poor))`;
const tinted = (node, property, share) => { node.style[property] = tint(clamp(share, 0, 1)); return node; };

// An empty chart with axes: an SVG as wide as its container, and functions from values to pixels.
const frame = (host, { height, x, y, xName, yName, left = 52, right = 14, top = 12, bottom = 40, label }) => {
  const width = Math.max(140, host.clientWidth);
  left = Math.max(left, 7 * Math.max(...y.ticks().map((tick) => tickText(tick).length)) + (yName ? 24 : 8)); // beside the name
  const root = svg("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": label });
  const px = (value) => left + x.of(value) * (width - left - right);
  const py = (value) => height - bottom - y.of(value) * (height - top - bottom);
  const plot = { root, width, height, left, right, top, bottom, px, py };
  let last = -Infinity;
  for (const tick of x.ticks()) {
    const at = px(tick), text = tickText(tick);
    if (at - last < 3.5 * text.length + 8) continue; // labels are centred: both halves and a gap
    last = at + 3.5 * text.length;
    root.append(svg("line", { class: "grid", x1: at, x2: at, y1: top, y2: height - bottom }),
      svg("text", { class: "tick", x: at, y: height - bottom + 15, "text-anchor": "middle", text }));
  }
  for (const tick of y.ticks()) {
    const at = py(tick);
    root.append(svg("line", { class: "grid", x1: left, x2: width - right, y1: at, y2: at }),
      svg("text", { class: "tick", x: left - 6, y: at + 4, "text-anchor": "end", text: tickText(tick) }));
  }
  root.append(svg("text", { class: "axis", x: width - right, y: height - 6, "text-anchor": "end", text: xName }));
  if (yName) root.append(svg("text", { class: "axis", x: 14, y: top, "text-anchor": "end", transform: `rotate(-90 14 ${top})`, text: yName }));
  host.replaceChildren(root);
  return plot;
};

const titled = (node, text) => { node.append(svg("title", { text })); return node; };

// Draws now, and again when the width changes; a chart with nothing to show stays hidden.
const chart = (id, wanted, draw) => {
  const figure = byId(id);
  if (!figure || !wanted) return;
  figure.hidden = false;
  const host = figure.querySelector(".plot");
  draw(host);
  onResize(host, () => draw(host));
};
