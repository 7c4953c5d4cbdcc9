// Settings that had no effect in a trial, such as the units of a layer that it does not have, are null there.
const isKnown = (value) => value !== null && value !== undefined;

const startSearch = () => {
  const data = readJson("search-data");
  if (!data) return;
  const done = data.trials.filter((trial) => trial.state === "complete" && typeof trial.value === "number");
  const varied = data.settings.map((name, k) => ({ name, k }))
    .filter(({ k }) => new Set(done.map((trial) => trial.params[k]).filter(isKnown)).size > 1);
  // A yardstick that rises is ranked by its distance to 1, so that less is always better.
  const cost = (value) => (data.yardstick.rises ? 1 - value : value);
  const ranked = goodness(done.map((trial) => cost(trial.value)));
  const rank = (value) => ranked(cost(value));
  const tell = (trial) => `trial ${trial.number}: ${format(trial.value)} ${data.yardstick.unit || data.yardstick.name}; ` +
    data.settings.map((name, k) => [name, trial.params[k]]).filter(([, value]) => isKnown(value))
      .map(([name, value]) => `${name} ${format(value)}`).join(", ");
  // Best last, so that it is on top, but for the winner of the finals.
  const ordered = [...done].sort((a, b) => (a.number === data.winner) - (b.number === data.winner) || cost(b.value) - cost(a.value));
  const known = { data, done, ordered, varied, rank, tell, cost };
  chart("chart-parallel", done.length > 1 && varied.length > 1, (host) => drawParallel(host, known));
  chart("chart-importance", data.importance.length > 0, (host) => drawImportance(host, known));
  chart("chart-pareto", done.filter((trial) => trial.rate !== null && trial.distortion !== null).length > 1, (host) => drawPareto(host, known));
  const numeric = varied.filter(({ k }) => done.every((trial) => typeof trial.params[k] === "number"));
  chart("chart-contour", numeric.length > 1 && done.length > 4, (host) => drawContour(host, known, numeric.slice(0, 2)));
  chart("chart-curves", data.trials.some((trial) => trial.curve.length > 1), (host) => drawCurves(host, known));
  chart("chart-slices", done.length > 1 && varied.length > 0, (host) => drawSlices(host, known));
  byId("landscape").hidden = [...byId("landscape").querySelectorAll("figure")].every((figure) => figure.hidden);
};

// Dots and lines carry the trial's number, for the pointer and for tests.
const dotOf = (known, trial, cx, cy, radius = 4.5) => {
  const won = trial.number === known.data.winner;
  const dot = svg("circle", { class: won ? "dot won" : "dot", cx, cy, r: won ? radius + 1.5 : radius, "data-trial": trial.number });
  return titled(tinted(dot, "fill", known.rank(trial.value)), known.tell(trial));
};

const drawParallel = (host, known) => {
  const { data, ordered, varied, rank, tell } = known;
  const columns = [...varied.slice(0, 9).map(({ name, k }) => ({ name, value: (trial) => trial.params[k] })),
    { name: data.yardstick.name, value: (trial) => trial.value }];
  columns.forEach((column) => {
    const values = ordered.map(column.value);
    const least = values.every(isKnown) ? 0 : 0.12; // below it is a place for trials in which the setting had no effect
    column.scale = scaleOf(values);
    column.place = (value) => (isKnown(value) ? least + (1 - least) * column.scale.of(value) : 0);
    column.foot = least ? format(null) : "";
  });
  const narrow = host.clientWidth < 560;
  const width = Math.max(narrow ? 84 * columns.length : 240, host.clientWidth), height = 330, top = 40, bottom = 22, side = 34;
  const root = svg("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "group", "aria-label": "parallel coordinates of all finished trials" });
  const at = (column) => side + (column * (width - 2 * side - 26)) / (columns.length - 1);
  const py = (column, trial) => height - bottom - columns[column].place(columns[column].value(trial)) * (height - top - bottom);
  const lines = ordered.map((trial) => {
    let path = "";
    columns.forEach((column, c) => {
      const x = at(c), y = py(c, trial);
      const before = at(c - 1), middle = (before + x) / 2;
      path += c ? `C${middle} ${py(c - 1, trial)} ${middle} ${y} ${x} ${y}` : `M${x} ${y}`;
    });
    const line = svg("path", { class: trial.number === data.winner ? "way won" : "way", d: path, "data-trial": trial.number });
    return titled(trial.number === data.winner ? line : tinted(line, "stroke", rank(trial.value)), tell(trial));
  });
  root.append(...lines);
  const brushes = columns.map(() => null);
  const filter = () => ordered.forEach((trial, i) => {
    const kept = brushes.every((brush, c) => !brush || (py(c, trial) >= brush[0] - 1 && py(c, trial) <= brush[1] + 1));
    lines[i].classList.toggle("out", !kept);
  });
  columns.forEach((column, c) => {
    const x = at(c);
    const name = svg("text", { class: "axis name", x, y: c % 2 && narrow ? 28 : 14, "text-anchor": c ? (c + 1 < columns.length ? "middle" : "end") : "start", text: short(column.name, 16) });
    if (!c) name.setAttribute("x", x - side + 2);
    if (c + 1 === columns.length) name.setAttribute("x", width - 2);
    root.append(titled(name, column.name), svg("line", { class: "rule", x1: x, x2: x, y1: top, y2: height - bottom }));
    for (const tick of column.scale.ticks()) {
      const y = height - bottom - column.place(tick) * (height - top - bottom);
      root.append(svg("text", { class: "tick halo", x: x + 5, y: y + 4, text: tickText(tick) }));
    }
    root.append(svg("text", { class: "tick", x, y: height - bottom + 18, "text-anchor": "middle", text: column.foot }));
    const mark = svg("rect", { class: "brush", x: x - 6, width: 12, y: top, height: 0 });
    const highest = top - 8, lowest = height - bottom + 8;
    const grip = svg("rect", { class: "grip", x: x - 12, width: 24, y: highest, height: lowest - highest, tabindex: 0, role: "slider",
      "aria-label": `part of ${column.name}`, "aria-orientation": "vertical", "aria-valuemin": 0, "aria-valuemax": 100 });
    let from = null;
    const level = (event) => {
      const box = root.getBoundingClientRect();
      return clamp(((event.clientY - box.top) * height) / box.height, highest, lowest);
    };
    const brush = (range) => {
      brushes[c] = range;
      mark.setAttribute("y", range ? range[0] : top);
      mark.setAttribute("height", range ? range[1] - range[0] : 0);
      filter();
      const left = lines.filter((line) => !line.classList.contains("out")).length;
      const middle = range ? (range[0] + range[1]) / 2 : (highest + lowest) / 2;
      build(grip, { "aria-valuenow": Math.round(100 * (lowest - middle) / (lowest - highest)), "aria-valuetext": `${range ? "a part" : "all"} of the axis, ${left} of ${lines.length} trials` }, []);
    };
    const stretch = (event) => {
      const y = level(event);
      brush(Math.abs(y - from) > 4 ? [Math.min(y, from), Math.max(y, from)] : null);
    };
    // Arrows move a part of the axis, with Shift they make it longer or shorter.
    const onkeydown = (event) => {
      if (event.key === "Escape") { brush(null); return; }
      const way = { ArrowUp: -1, ArrowDown: 1 }[event.key], tenth = (lowest - highest) / 10;
      if (!way) return;
      event.preventDefault();
      const [y0, y1] = brushes[c] ?? (way < 0 ? [lowest - tenth, lowest + tenth] : [highest - tenth, highest + tenth]);
      const height = clamp(y1 - y0 - (event.shiftKey ? way * tenth : 0), tenth, lowest - highest);
      const start = clamp(event.shiftKey ? y1 - height : y0 + way * tenth, highest, lowest - height);
      brush([start, start + height]);
    };
    grip.addEventListener("keydown", onkeydown);
    grip.addEventListener("pointerdown", (event) => { from = level(event); grip.setPointerCapture(event.pointerId); stretch(event); });
    grip.addEventListener("pointermove", (event) => { if (from !== null) stretch(event); });
    grip.addEventListener("pointerup", () => { from = null; });
    grip.addEventListener("pointercancel", () => { from = null; });
    root.append(mark, grip);
    brush(null);
  });
  host.replaceChildren(root);
};

const drawImportance = (host, { data }) => {
  const most = Math.max(...data.importance.map(([, share]) => share), 1e-9);
  host.replaceChildren(el("div", { class: "bars shares" }, ...data.importance.map(([name, share]) => {
    const way = el("span", { class: "way" });
    way.style.width = `${(100 * share) / most}%`;
    return el("div", { class: "bar" }, el("span", { class: "name", text: name, title: name }), el("span", { class: "rail" }, way),
      el("span", { class: "value", text: `${(100 * share).toFixed(share < 0.1 ? 1 : 0)} %`, "data-value": share }));
  })));
};

const drawPareto = (host, known) => {
  const sound = known.ordered.filter((trial) => typeof trial.rate === "number" && typeof trial.distortion === "number");
  const x = scaleOf(sound.map((trial) => trial.rate), { pad: 0.07 }), y = scaleOf(sound.map((trial) => trial.distortion), { pad: 0.07 });
  const plot = frame(host, { height: 330, x, y, xName: "rate, nats →", yName: "distortion, nats →", label: "rate against distortion of every finished trial" });
  const [x0, x1, y0, y1] = [x.back(0), x.back(1), y.back(0), y.back(1)];
  for (const total of linearTicks(x0 + y0, x1 + y1)) {
    const from = Math.max(x0, total - y1), to = Math.min(x1, total - y0);
    if (to <= from || x.log || y.log) continue;
    plot.root.append(svg("line", { class: "iso", x1: plot.px(from), y1: plot.py(total - from), x2: plot.px(to), y2: plot.py(total - to) }));
    if (to - from > 0.25 * (x1 - x0)) {
      const at = from + 0.06 * (to - from);
      plot.root.append(svg("text", { class: "tick halo", x: plot.px(at), y: plot.py(total - at) - 4, text: tickText(total) }));
    }
  }
  let least = Infinity;
  const front = [...sound].sort((a, b) => a.rate - b.rate || a.distortion - b.distortion)
    .filter((trial) => trial.distortion < least && ((least = trial.distortion), true));
  const steps = front.map((trial, i) => (i ? `H${plot.px(trial.rate)}V${plot.py(trial.distortion)}` : `M${plot.px(trial.rate)} ${plot.py(trial.distortion)}`));
  plot.root.append(svg("path", { class: "front", d: steps.join("") }));
  plot.root.append(...sound.map((trial) => dotOf(known, trial, plot.px(trial.rate), plot.py(trial.distortion))));
};

const CELLS = 28;

const drawContour = (host, known, [first, second]) => {
  const values = (k) => known.done.map((trial) => trial.params[k]);
  const x = scaleOf(values(first.k), { pad: 0.04 }), y = scaleOf(values(second.k), { pad: 0.04 });
  const plot = frame(host, { height: 330, x, y, xName: `${short(first.name)} →`, yName: `${short(second.name)} →`,
    label: `value by ${first.name} and ${second.name}` });
  const places = known.done.map((trial) => [x.of(trial.params[first.k]), y.of(trial.params[second.k]), known.rank(trial.value)]);
  const across = (plot.width - plot.left - plot.right) / CELLS, up = (plot.height - plot.top - plot.bottom) / CELLS;
  const field = svg("g", { class: "field" });
  for (let i = 0; i < CELLS; i++) {
    for (let j = 0; j < CELLS; j++) {
      let total = 0, sum = 0;
      for (const [px, py, share] of places) {
        const far = ((i + 0.5) / CELLS - px) ** 2 + ((j + 0.5) / CELLS - py) ** 2;
        const weight = 1 / (far + 0.002) ** 2;
        total += weight;
        sum += weight * share;
      }
      const cell = svg("rect", { x: (plot.left + i * across).toFixed(2), y: (plot.height - plot.bottom - (j + 1) * up).toFixed(2),
        width: (across + 0.6).toFixed(2), height: (up + 0.6).toFixed(2) });
      field.append(tinted(cell, "fill", Math.round((sum / total) * 20) / 20));
    }
  }
  plot.root.append(field, ...known.ordered.map((trial) => dotOf(known, trial, plot.px(trial.params[first.k]), plot.py(trial.params[second.k]))));
};

const drawCurves = (host, known) => {
  const { data, rank, tell, cost } = known;
  const curves = data.trials.filter((trial) => trial.curve.length > 0);
  const finished = curves.filter((trial) => trial.state === "complete");
  const all = (finished.length ? finished : curves).flatMap((trial) => trial.curve.map(([, value]) => cost(value))).sort((a, b) => a - b);
  // A first epoch far above the rest would flatten the curves.
  const ceiling = all[Math.min(all.length - 1, Math.floor(0.97 * all.length))];
  const x = scaleOf(curves.flatMap((trial) => trial.curve.map(([epoch]) => epoch)));
  const y = scaleOf([cost(all[0]), cost(Math.max(ceiling, all[0] + 1e-9))], { pad: 0.05 });
  const plot = frame(host, { height: 330, x, y, xName: "epoch →", yName: `validation, ${data.yardstick.unit || data.yardstick.name} →`, label: "learning curve of every trial" });
  const [width, height] = [plot.width - plot.left - plot.right, plot.height - plot.top - plot.bottom];
  const group = svg("svg", { x: plot.left, y: plot.top, width, height, viewBox: `${plot.left} ${plot.top} ${width} ${height}` });
  const order = (trial) => (trial.state === "complete" ? (trial.number === data.winner ? Infinity : rank(trial.value)) : -1);
  for (const trial of [...curves].sort((a, b) => order(a) - order(b))) {
    const done = trial.state === "complete" && typeof trial.value === "number";
    const points = trial.curve.map(([epoch, value]) => `${plot.px(epoch).toFixed(1)},${plot.py(value).toFixed(1)}`).join(" ");
    const line = svg("polyline", { class: `curve${done ? "" : " pruned"}${trial.number === data.winner ? " won" : ""}`, points, "data-trial": trial.number });
    group.append(titled(done && trial.number !== data.winner ? tinted(line, "stroke", rank(trial.value)) : line, done ? tell(trial) : `trial ${trial.number}: ${trial.state}`));
  }
  plot.root.append(group);
};

const drawSlices = (host, known) => {
  const wide = host.clientWidth;
  const columns = wide > 900 ? 4 : wide > 560 ? 3 : 2;
  const places = known.varied.map(() => el("div", {}));
  const grid = el("div", { class: "slices" }, ...places);
  grid.style.gridTemplateColumns = `repeat(${Math.max(2, Math.min(columns, known.varied.length))}, minmax(0, 1fr))`;
  host.replaceChildren(grid);
  known.varied.forEach(({ name, k }, i) => {
    const used = known.ordered.filter((trial) => isKnown(trial.params[k]));
    const x = scaleOf(used.map((trial) => trial.params[k]), { pad: 0.06 }), y = scaleOf(known.done.map((trial) => trial.value), { pad: 0.08 });
    const plot = frame(places[i], { height: 210, x, y, xName: short(name), yName: "", left: 38, right: 20, label: `value by ${name}` });
    plot.root.append(...used.map((trial) => dotOf(known, trial, plot.px(trial.params[k]), plot.py(trial.value), 4)));
  });
};

if (byId("search-data")) later(startSearch);
