// Paul Tol's muted hues, lighter variants for a dark page; further classes go around the colour wheel.
const LIGHT_HUES = ["#332288", "#ee7733", "#44aa99", "#cc6677", "#66b2d6", "#117733", "#c9971c", "#aa4499", "#999933", "#882255"];
const DARK_HUES = ["#8f85e6", "#f28e4f", "#55c4b0", "#e0808f", "#8fd3f2", "#4fb56b", "#e5bb45", "#d078c2", "#bdbd55", "#c65a8a"];
const hueOf = (code) => {
  const known = isDark.matches ? DARK_HUES : LIGHT_HUES;
  return code < known.length ? known[code] : `hsl(${(code * 137.5) % 360} 55% ${isDark.matches ? 68 : 42}%)`;
};

// One model's latent space: positions of all points, and its decoder.
const latentOf = (given, count) => {
  const levels = uint16Of(given.points.of);
  const { dims: held, low, span } = given.points;
  const columns = held.map((_, k) =>
    Float32Array.from(levels.subarray(k * count, (k + 1) * count), (level) => low[k] + (level / 65535) * span[k]));
  const slot = new Map(held.map((dim, k) => [dim, k]));
  const order = given.order.filter((dim) => slot.has(dim));
  const rest = given.order.filter((dim) => !slot.has(dim));
  const point = (i) => {
    const z = Float64Array.from(given.fill);
    held.forEach((dim, k) => { z[dim] = columns[k][i]; });
    return z;
  };
  return {
    name: given.name, dims: given.dims, order: [...order, ...rest], active: new Set(given.active), pca: given.pca, why: given.why, curves: given.curves,
    point, count, fill: Float64Array.from(given.fill),
    range: (dim) => (slot.has(dim) ? [low[slot.get(dim)], low[slot.get(dim)] + span[slot.get(dim)]] : [-3, 3]),
    decode: given.decoder ? decoderOf(given.decoder) : null,
    plane: (kind) => (kind === "pca" ? pcaPlane(given.pca, held, columns, count) : dimPlane(order, columns, slot, count, given.standard)),
  };
};

// A plane knows the positions of its points and of z, and how a step in it changes z.
const dimPlane = (order, columns, slot, count, standard) => {
  const [a, b] = order;
  const flat = b === undefined;
  // With a single dimension, the height is derived from the point's number, so that dots do not overlap.
  const ys = flat ? Float32Array.from({ length: count }, (_, i) => ((i * 0.618034) % 1) * 2 - 1) : columns[slot.get(b)];
  return {
    xs: columns[slot.get(a)], ys, names: [`z${a + 1}`, flat ? "" : `z${b + 1}`], dims: flat ? [a] : [a, b], prior: standard && !flat,
    place: (z) => [z[a], flat ? 0 : z[b]],
    move: (z, x, y) => { z[a] = x; if (!flat) z[b] = y; },
  };
};

const pcaPlane = (pca, held, columns, count) => {
  const score = (axis, valueOf) =>
    held.reduce((sum, dim, k) => sum + (valueOf(dim, k) - pca.centre[k]) * pca.axes[axis][k], 0);
  const scores = [0, 1].map((axis) => Float32Array.from({ length: count }, (_, i) => score(axis, (_, k) => columns[k][i])));
  const percent = (share) => `${Math.round(100 * share)} % of variance`;
  return {
    xs: scores[0], ys: scores[1], dims: [], prior: false,
    names: pca.shares.map((share, i) => `component ${i + 1} (${percent(share)})`),
    place: (z) => [score(0, (dim) => z[dim]), score(1, (dim) => z[dim])],
    move(z, x, y) {
      const by = [x - score(0, (dim) => z[dim]), y - score(1, (dim) => z[dim])];
      held.forEach((dim, k) => { z[dim] += by[0] * pca.axes[0][k] + by[1] * pca.axes[1][k]; });
    },
  };
};

const NAMED = 20; // maximum number of class names on the map

// Name and median position of every class.
const namesOfClasses = (labels, classes) => (plane) => {
  if (!labels || classes.length > NAMED) return [];
  const members = classes.map(() => []);
  labels.forEach((code, i) => members[code]?.push(i));
  const median = (values, chosen) => Float32Array.from(chosen, (i) => values[i]).sort()[chosen.length >> 1];
  return classes.map((name, code) => ({ name: short(name, 14), code, x: median(plane.xs, members[code]), y: median(plane.ys, members[code]) }))
    .filter(({ code }) => members[code].length > 0);
};

const MANY = 8000; // above this, dots become squares of two pixels
const MARGIN = 26; // pixels around the points, for the axes' names

const NEAR = 4; // how much a map is enlarged around a row that was looked for

// The picture of a plane: dots on one canvas, cross, rings and a box on another above it.
const mapOf = ({ dots, marks, colourOf, shown, lit, faint, named, namesOf }) => {
  const state = { plane: null, names: [], title: "", focus: null, box: null, scale: 1, left: 0, top: 0, width: 0, height: 0, ratio: 1 };
  const toScreen = (x, y) => [state.left + x * state.scale, state.top - y * state.scale];
  const toPlane = (px, py) => [(px - state.left) / state.scale, (state.top - py) / state.scale];

  const fit = () => {
    const { xs, ys } = state.plane;
    let [x0, x1, y0, y1] = [-2.1, 2.1, state.plane.names[1] ? -2.1 : -1.6, state.plane.names[1] ? 2.1 : 1.6];
    for (let i = 0; i < xs.length; i++) {
      if (xs[i] < x0) x0 = xs[i]; else if (xs[i] > x1) x1 = xs[i];
      if (ys[i] < y0) y0 = ys[i]; else if (ys[i] > y1) y1 = ys[i];
    }
    const box = dots.parentElement.getBoundingClientRect();
    Object.assign(state, { width: box.width, height: box.height, ratio: Math.min(3, window.devicePixelRatio || 1) });
    for (const canvas of [dots, marks]) {
      canvas.width = Math.round(box.width * state.ratio);
      canvas.height = Math.round(box.height * state.ratio);
    }
    state.scale = Math.min((box.width - 2 * MARGIN) / (x1 - x0), (box.height - 2 * MARGIN) / (y1 - y0));
    const [x, y] = state.focus === null ? [(x0 + x1) / 2, (y0 + y1) / 2] : [xs[state.focus], ys[state.focus]];
    if (state.focus !== null) state.scale *= NEAR;
    state.left = box.width / 2 - x * state.scale;
    state.top = box.height / 2 + y * state.scale;
  };

  const start = (canvas) => {
    const context = canvas.getContext("2d");
    context.setTransform(state.ratio, 0, 0, state.ratio, 0, 0);
    context.clearRect(0, 0, state.width, state.height);
    return context;
  };

  const drawGrid = (context) => {
    const step = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100].find((size) => size * state.scale > 75) ?? 1000;
    const [x0, y1] = toPlane(0, 0), [x1, y0] = toPlane(state.width, state.height);
    context.lineWidth = 1;
    context.strokeStyle = styleOf("--line");
    context.fillStyle = styleOf("--muted");
    context.font = "11px system-ui, sans-serif";
    const tick = (value) => String(Math.round(value * 100) / 100).replace("-", "−");
    for (let x = Math.ceil(x0 / step) * step; x < x1; x += step) {
      const at = Math.round(toScreen(x, 0)[0]) + 0.5;
      context.beginPath(); context.moveTo(at, 0); context.lineTo(at, state.height); context.stroke();
      context.fillText(tick(x), at + 3, state.height - 5);
    }
    if (!state.plane.names[1]) return;
    for (let y = Math.ceil(y0 / step) * step; y < y1; y += step) {
      const at = Math.round(toScreen(0, y)[1]) + 0.5;
      context.beginPath(); context.moveTo(0, at); context.lineTo(state.width, at); context.stroke();
      if (at < state.height - 30 && at > 34) context.fillText(tick(y), 4, at - 3);
    }
  };

  const drawDots = () => {
    const context = start(dots);
    drawGrid(context);
    const { xs, ys } = state.plane;
    const paint = (inLayer, alpha, count, share = 1) => {
      const many = count > MANY, radius = share * (many ? 0.9 : count > 2500 ? 1.7 : 2.5);
      const groups = new Map();
      for (let i = 0; i < xs.length; i++) {
        if (!inLayer(i)) continue;
        const colour = colourOf(i);
        if (!groups.has(colour)) groups.set(colour, []);
        groups.get(colour).push(i);
      }
      context.globalAlpha = alpha;
      // Interleaves the colours, so that the last class does not cover the others.
      const parts = many ? 24 : 1;
      for (let part = 0; part < parts; part++) {
        for (const [colour, members] of groups) {
          context.fillStyle = colour;
          if (!many) context.beginPath();
          for (let k = part; k < members.length; k += parts) {
            const [x, y] = toScreen(xs[members[k]], ys[members[k]]);
            if (many) context.fillRect(x - radius, y - radius, 2 * radius, 2 * radius);
            else { context.moveTo(x + radius, y); context.arc(x, y, radius, 0, 7); }
          }
          if (!many) context.fill();
        }
      }
    };
    let below = 0;
    for (let i = 0; i < xs.length; i++) below += faint(i);
    // Dots that have no class lie below the others.
    const layer = (inLayer, alpha) => {
      if (below) paint((i) => shown(i) && faint(i) && inLayer(i), 0.6 * alpha, xs.length, 0.7);
      paint((i) => shown(i) && !faint(i) && inLayer(i), alpha, xs.length - below);
    };
    const selected = lit();
    if (selected) { layer((i) => !selected(i), 0.15); layer(selected, 1); }
    else layer(() => true, xs.length - below > MANY ? 0.5 : 0.8);
    context.globalAlpha = 1;
  };

  // The name of each class at the median of its dots.
  const drawNames = (context, ink, paper) => {
    context.font = "600 12px system-ui, sans-serif";
    context.textAlign = "center";
    for (const { name, x, y, code } of state.names) {
      if (!named(code)) continue;
      const [px, py] = toScreen(x, y), width = context.measureText(name).width + 9;
      context.fillStyle = paper;
      context.strokeStyle = hueOf(code);
      context.lineWidth = 1.5;
      context.globalAlpha = 0.88;
      context.beginPath(); context.roundRect(px - width / 2, py - 9, width, 18, 5); context.fill(); context.stroke();
      context.globalAlpha = 1;
      context.fillStyle = ink;
      context.fillText(name, px, py + 4);
    }
    context.textAlign = "left";
  };

  const drawMarks = (z, hovered) => {
    const context = start(marks);
    if (state.plane.prior) {
      context.setLineDash([6, 5]);
      for (const [colour, width] of [["--paper", 3], ["--ink", 1.2]]) {
        for (const radius of [1, 2]) {
          context.beginPath();
          context.arc(...toScreen(0, 0), radius * state.scale, 0, 7);
          context.lineWidth = width;
          context.strokeStyle = styleOf(colour);
          context.stroke();
        }
      }
      context.setLineDash([]);
    }
    const ink = styleOf("--ink"), paper = styleOf("--paper");
    const ring = (x, y, radius, width, colour) => {
      context.beginPath(); context.arc(x, y, radius, 0, 7); context.lineWidth = width; context.strokeStyle = colour; context.stroke();
    };
    drawNames(context, ink, paper);
    if (hovered !== null) {
      const at = toScreen(state.plane.xs[hovered], state.plane.ys[hovered]);
      ring(...at, 7, 4, paper);
      ring(...at, 7, 2, ink);
    }
    if (z !== null) {
      const [x, y] = toScreen(...state.plane.place(z));
      for (const [colour, width] of [[paper, 5], [styleOf("--best"), 2.5]]) {
        context.strokeStyle = colour;
        context.lineWidth = width;
        context.beginPath();
        context.moveTo(x - 13, y); context.lineTo(x + 13, y); context.moveTo(x, y - 13); context.lineTo(x, y + 13);
        context.stroke();
      }
    }
    if (state.box) {
      const [x0, y0, x1, y1] = state.box;
      context.lineWidth = 1.5;
      context.strokeStyle = context.fillStyle = styleOf("--accent");
      context.globalAlpha = 0.15;
      context.fillRect(x0, y0, x1 - x0, y1 - y0);
      context.globalAlpha = 1;
      context.strokeRect(x0, y0, x1 - x0, y1 - y0);
    }
    context.fillStyle = styleOf("--muted");
    context.font = "12px system-ui, sans-serif";
    context.textAlign = "right";
    context.fillText(state.plane.names[0], state.width - 8, state.height - 20);
    context.fillText(short(state.title, 30), state.width - 8, 16);
    context.textAlign = "left";
    if (state.plane.names[1]) context.fillText(`↑ ${state.plane.names[1]}`, 8, 16);
  };

  const nearest = (px, py, reach, preferred) => {
    const { xs, ys } = state.plane;
    let best = null, least = reach * reach, liked = null, leastLiked = xs.length > MANY ? 25 : 9;
    for (let i = 0; i < xs.length; i++) {
      const dx = state.left + xs[i] * state.scale - px, dy = state.top - ys[i] * state.scale - py;
      const far = dx * dx + dy * dy;
      if (far >= least && far >= leastLiked) continue;
      if (!shown(i)) continue;
      if (far < least) { least = far; best = i; }
      if (far < leastLiked && preferred(i)) { leastLiked = far; liked = i; }
    }
    // Dots this close cannot be distinguished by eye: prefer one whose original is in the page.
    return least < 1 || liked === null ? best : liked;
  };

  // The dots in a box on the screen.
  const inside = ([x0, y0, x1, y1]) => {
    const found = [], { xs, ys } = state.plane;
    for (let i = 0; i < xs.length; i++) {
      const [x, y] = toScreen(xs[i], ys[i]);
      if (shown(i) && x >= Math.min(x0, x1) && x <= Math.max(x0, x1) && y >= Math.min(y0, y1) && y <= Math.max(y0, y1)) found.push(i);
    }
    return found;
  };

  return { state, toScreen, toPlane, fit, drawDots, drawMarks, nearest, inside, use: (plane, title) => { Object.assign(state, { plane, title, names: namesOf(plane) }); } };
};
