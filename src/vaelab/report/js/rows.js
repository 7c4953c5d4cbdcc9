// How a row of a table is shown: a bar per column with its name and value in the table's own words.

const LISTED = 40; // columns that are all shown; of more, those that matter
const SHOWN = 25;
const TRIED = 60; // points decoded to see which columns a model moves most
const DAY = 864e5;
const MISSING = 65535;

const rowView = (data) => {
  const { names, kinds, levels, values: numbers, spread } = data.table;
  const count = names.length;
  // Positive numbers and counts on logarithmic axes.
  const onAxis = (value, i) =>
    kinds[i] === "positive" ? Math.log(Math.max(value, 1e-300)) : kinds[i] === "count" ? Math.log1p(Math.max(value, 0)) : value;
  const fromAxis = (value, i) => {
    const own = kinds[i] === "positive" ? Math.exp(value) : kinds[i] === "count" ? Math.expm1(value) : value;
    return kinds[i] === "count" || kinds[i] === "date" ? Math.round(own) : own;
  };
  const share = (value, i) => {
    const low = onAxis(data.low[i], i), high = onAxis(data.high[i], i);
    return high > low ? clamp((onAxis(value, i) - low) / (high - low), 0, 1) : 0;
  };
  const levelOf = (value, i) => {
    const known = numbers[i];
    let best = 0;
    known.forEach((number, k) => { if (Math.abs(number - value) < Math.abs(known[best] - value)) best = k; });
    return best;
  };
  const told = (value, i) => {
    if (Number.isNaN(value)) return "missing";
    if (levels[i]) return levels[i][levelOf(value, i)];
    if (kinds[i] === "date") return Math.abs(value) < 1e8 ? new Date(Math.round(value) * DAY).toISOString().slice(0, 10) : "–";
    if (Math.abs(value) >= 1000 || (kinds[i] === "count" && value >= 10)) return grouped(Math.round(value));
    return kinds[i] === "count" && !Number.isInteger(value) ? value.toFixed(1) : format(value);
  };
  // The probabilities of a column's levels; of a binary one its mean says them too.
  const chances = (decoded, i) => {
    if (decoded.shares.has(i)) return decoded.shares.get(i);
    if (numbers[i]?.length !== 2) return null;
    const p = clamp((decoded.values[i] - numbers[i][0]) / (numbers[i][1] - numbers[i][0]), 0, 1);
    return [1 - p, p];
  };
  const wrong = (value, mark, i) => (Number.isNaN(mark) ? 0 : levels[i] ? Number(levelOf(value, i) !== levelOf(mark, i))
    : Math.abs(onAxis(value, i) - onAxis(mark, i)) / spread[i]);

  let curves = false, moved = [];
  // Of a wide table the columns with the largest errors or, without an original, those that the model moves most.
  const chosen = (decoded, marks) => {
    const all = names.map((_, i) => i);
    if (count <= LISTED) return all;
    if (!marks) return moved;
    const errors = all.map((i) => wrong(decoded.values[i], marks[i], i));
    return all.sort((a, b) => errors[b] - errors[a]).slice(0, SHOWN);
  };
  const bar = (decoded, marks, i) => {
    const value = decoded.values[i], sure = levels[i] ? chances(decoded, i) : null;
    const likely = sure ? sure.indexOf(Math.max(...sure)) : -1;
    const text = sure ? `${levels[i][likely]} ${Math.round(100 * sure[likely])} %` : told(value, i);
    const way = el("span", { class: "way" });
    way.style.width = `${100 * (sure ? sure[likely] : levels[i] ? 0 : share(value, i))}%`;
    const rail = el("span", { class: "rail" }, way);
    const title = sure ? levels[i].map((name, k) => `${name} ${(100 * sure[k]).toFixed(1)} %`).join(", ") : text;
    const parts = [el("span", { class: "name", text: names[i], title: names[i] }), rail];
    if (marks) {
      const gone = Number.isNaN(marks[i]), off = !gone && sure !== null && likely !== levelOf(marks[i], i);
      if (!gone && (sure || !levels[i])) {
        const mark = el("span", { class: "mark" });
        mark.style.left = `${100 * (sure ? sure[levelOf(marks[i], i)] : share(marks[i], i))}%`;
        rail.append(mark);
      }
      const was = told(marks[i], i);
      parts.push(el("span", { class: off ? "value off" : "value", text, title }), el("span", { class: gone ? "was gone" : "was", text: was, title: was }));
    } else parts.push(el("span", { class: "value", text, title }));
    return el("div", { class: `bar${levels[i] ? " level" : ""}${marks ? " two" : ""}` }, ...parts);
  };
  const bars = (decoded, marks) => {
    const shown = chosen(decoded, marks), left = count - shown.length;
    const head = marks ? [el("div", { class: "bar two head" }, el("span", {}), el("span", {}), el("span", { class: "value", text: "decoded" }), el("span", { class: "was", text: "original" }))] : [];
    const more = left ? [el("p", { class: "more", text: `… and ${left.toLocaleString("en")} more columns with ${marks ? "smaller errors" : "less effect"}` })] : [];
    return el("div", { class: "bars" }, ...head, ...shown.map((i) => bar(decoded, marks, i)), ...more);
  };
  // All points of a curve share one scale, else its shape is lost.
  const least = data.low.reduce((a, b) => Math.min(a, b)), most = data.high.reduce((a, b) => Math.max(a, b));
  const path = (values, kind) => {
    const step = 100 / Math.max(1, values.length - 1);
    const height = (value) => 40 - 40 * clamp((value - least) / (most - least), 0, 1);
    const points = Array.from(values, (value, i) => `${(i * step).toFixed(2)},${height(value).toFixed(2)}`);
    return svg("polyline", { class: kind, points: points.join(" ") });
  };
  const line = ({ values }, marks) => {
    const drawn = svg("svg", { class: "row-line", viewBox: "0 -1 100 42", preserveAspectRatio: "none", role: "img",
      "aria-label": `curve of ${values.length} points, from ${format(least)} to ${format(most)}` });
    if (marks) drawn.append(path(marks, "marks"));
    drawn.append(path(values, "values"));
    return drawn;
  };
  return {
    told, onAxis, fromAxis,
    use(model) {
      curves = model.curves;
      if (curves || count <= LISTED || !model.decode) return;
      const step = Math.max(1, Math.floor(model.count / TRIED));
      const sums = new Float64Array(count), squares = new Float64Array(count);
      let tried = 0;
      for (let k = 0; k < model.count; k += step, tried++) {
        model.decode(model.point(k)).values.forEach((value, i) => {
          const at = onAxis(value, i) / spread[i];
          sums[i] += at;
          squares[i] += at * at;
        });
      }
      const variance = (i) => squares[i] / tried - (sums[i] / tried) ** 2;
      moved = names.map((_, i) => i).sort((a, b) => variance(b) - variance(a)).slice(0, SHOWN);
    },
    draw(node, decoded, marks = null) {
      node.replaceChildren((curves ? line : bars)(decoded, marks));
    },
    original(codes, index) {
      const given = data.originals, logs = new Set(given.logs);
      return Array.from(codes.subarray(index * count, (index + 1) * count), (code, i) => {
        if (code === MISSING) return NaN;
        if (levels[i]) return numbers[i][code];
        const value = given.low[i] + (code / (MISSING - 1)) * (given.high[i] - given.low[i]);
        const own = !logs.has(i) ? value : kinds[i] === "count" ? Math.expm1(value) : Math.exp(value);
        if (kinds[i] === "count" || kinds[i] === "date") return Math.round(own);
        // As many decimals as the steps between the codes resolve.
        const step = ((given.high[i] - given.low[i]) / (MISSING - 1)) * (logs.has(i) ? own : 1);
        const tens = step > 0 ? 10 ** clamp(Math.floor(-Math.log10(step)), 0, 12) : 1;
        return step > 0 ? Math.round(own * tens) / tens : own;
      });
    },
  };
};
