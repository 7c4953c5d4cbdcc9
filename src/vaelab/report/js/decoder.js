// erf by the series near 0 and the continued fraction beyond; accurate to about 1e-15.
const erf = (x) => {
  const a = Math.abs(x);
  if (a > 6) return Math.sign(x);
  if (a < 2.5) {
    let term = x, sum = x;
    for (let n = 1; Math.abs(term) > 1e-17 * Math.abs(sum) && n < 80; n++) {
      term *= (-x * x) / n;
      sum += term / (2 * n + 1);
    }
    return (2 / Math.sqrt(Math.PI)) * sum;
  }
  let tail = 0;
  for (let n = 60; n > 0; n--) tail = n / 2 / (a + tail);
  return Math.sign(x) * (1 - Math.exp(-a * a) / ((a + tail) * Math.sqrt(Math.PI)));
};
// From a decoder's output to the mean of x.
const LINKS = { identity: (x) => x, sigmoid: (x) => 1 / (1 + Math.exp(-x)) };
const ACTIVATIONS = {
  silu: (x) => x / (1 + Math.exp(-x)),
  relu: (x) => (x > 0 ? x : 0),
  leaky_relu: (x) => (x > 0 ? x : 0.01 * x),
  tanh: Math.tanh,
  gelu: (x) => 0.5 * x * (1 + erf(x * Math.SQRT1_2)),
  elu: (x) => (x > 0 ? x : Math.expm1(x)),
};

const HIGHEST = 60; // a logarithm of a mean count, at most

// Outputs to the values of columns by kind: the mean of numbers and counts, the most likely level; and, into `shares`,
// the probabilities of the levels of each column.
const partsOf = (parts, x, shares) => {
  const found = new Float64Array(parts.at(-1).columns[1]);
  const { sigmoid } = LINKS;
  const level = (column, probabilities, values) => {
    shares.set(column, probabilities);
    found[column] = values[probabilities.indexOf(Math.max(...probabilities))];
  };
  for (const { kind, columns: [start, stop], outputs: [first], expected, inflated, values, thresholds } of parts) {
    let at = first;
    for (let column = start; column < stop; column++) {
      const i = column - start, own = x[first + i];
      if (kind === "count") {
        found[column] = Math.exp(Math.min(own + expected[i], HIGHEST)) * (inflated ? sigmoid(-x[first + stop - start + i]) : 1);
      } else if (kind === "binary") {
        const p = sigmoid(own);
        shares.set(column, [1 - p, p]);
        found[column] = values[i][0] + p * (values[i][1] - values[i][0]);
      } else if (kind === "categorical") {
        const scores = x.subarray(at, (at += values[i].length)), most = Math.max(...scores);
        const sizes = Array.from(scores, (score) => Math.exp(score - most));
        const total = sizes.reduce((sum, size) => sum + size, 0);
        level(column, sizes.map((size) => size / total), values[i]);
      } else if (kind === "ordinal") {
        const below = [0, ...thresholds[i].map((threshold) => sigmoid(threshold - own)), 1];
        level(column, values[i].map((_, k) => below[k + 1] - below[k]), values[i]);
      } else found[column] = own;
    }
  }
  return found;
};

// The decoder of one model: latent coordinates to the values of one example in the data's own units, and the
// probabilities of levels by column.
const decoderOf = (given) => {
  const weights = widen(uint16Of(given.weights));
  let at = 0;
  const take = (count) => weights.subarray(at, (at += count));
  const layers = given.widths.slice(1).map((outputs, i) => {
    const inputs = given.widths[i];
    return { inputs, outputs, matrix: take(inputs * outputs), bias: take(outputs) };
  });
  const act = ACTIVATIONS[given.activation];
  const maps = given.maps ? mapsOf(given.maps, take, act) : null;
  const bias = given.maps ? take(weights.length - at) : null; // one per feature, behind convolutions
  const dense = ({ inputs, outputs, matrix, bias }, x) => {
    const y = Float64Array.from(bias);
    for (let i = 0; i < inputs; i++) {
      const value = x[i];
      if (value === 0) continue;
      for (let j = 0, at = i * outputs; j < outputs; j++, at++) y[j] += value * matrix[at];
    }
    return y;
  };
  const each = (list, i) => (list.length === 1 ? list[0] : list[i]);
  const decode = (z) => {
    let x = Float64Array.from(z);
    layers.forEach((layer, i) => {
      x = dense(layer, x);
      if (i + 1 < layers.length) x = x.map(act);
    });
    if (maps) {
      const image = maps(x);
      x = Float64Array.from(bias, (value, i) => value + image[given.kept ? given.kept[i] : i]);
    }
    const shares = new Map();
    const known = given.parts ? partsOf(given.parts, x, shares) : x.map(LINKS[given.link]);
    const own = known.map((value, i) => value * each(given.scale, i) + each(given.offset, i) + given.shift);
    for (const { kind, columns } of given.parts ?? []) if (kind === "positive") for (let i = columns[0]; i < columns[1]; i++) own[i] = Math.exp(own[i]);
    if (!given.kept) return { values: own, shares };
    const whole = Float64Array.from(given.fill), placed = new Map();
    given.kept.forEach((feature, i) => {
      whole[feature] = own[i];
      if (shares.has(i)) placed.set(feature, shares.get(i));
    });
    return { values: whole, shares: placed };
  };
  decode.sized = (decoded, original) => sized(given, decoded, original);
  return decode;
};

// Counts that are compared with the size of their row, for the size of the original: see Python's row_sizes.
const sized = ({ parts, kept }, decoded, original) => {
  const part = parts?.find(({ kind, size }) => kind === "count" && size !== null);
  if (!part || !original) return decoded;
  let seen = 0, expected = 0;
  const columns = part.expected.map((_, i) => kept[part.columns[0] + i]);
  columns.forEach((column, i) => {
    if (Number.isNaN(original[column])) return;
    seen += original[column];
    expected += Math.exp(part.expected[i] - part.size);
  });
  if (!expected) return decoded;
  const factor = Math.max(seen, 0.5) / expected / Math.exp(part.size), values = Float64Array.from(decoded.values);
  columns.forEach((column) => { values[column] *= factor; });
  return { ...decoded, values };
};

// How an example is shown: images as pixels, rows of a table as bars between the columns' bounds.
const viewOf = (data) => {
  if (data.shape.length < 2) return rowView(data);
  const each = (list, i) => (list.length === 1 ? list[0] : list[i]);
  const share = (value, i) => clamp((value - each(data.low, i)) / (each(data.high, i) - each(data.low, i)), 0, 1);
  return imageView(data.shape, share);
};

const imageView = ([height, width, channels = 1], share) => ({
  draw(node, { values }) {
    const canvas = el("canvas", { width, height, role: "img", "aria-label": "decoded image" });
    const context = canvas.getContext("2d");
    const image = context.createImageData(width, height);
    for (let p = 0; p < width * height; p++) {
      for (let c = 0; c < 3; c++) {
        const at = p * channels + (channels >= 3 ? c : 0);
        image.data[4 * p + c] = Math.round(255 * share(values[at], at));
      }
      image.data[4 * p + 3] = 255;
    }
    context.putImageData(image, 0, 0);
    node.replaceChildren(canvas);
  },
  tile(node, sprite, columns, index) {
    const canvas = el("canvas", { width, height, role: "img", "aria-label": "original image" });
    const x = (index % columns) * width, y = Math.floor(index / columns) * height;
    canvas.getContext("2d").drawImage(sprite, x, y, width, height, 0, 0, width, height);
    node.replaceChildren(canvas);
  },
});
