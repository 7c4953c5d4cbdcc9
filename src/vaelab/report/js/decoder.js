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

// The decoder of one model: latent coordinates to one example in the data's own units.
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
  return (z) => {
    let x = Float64Array.from(z);
    layers.forEach((layer, i) => {
      x = dense(layer, x);
      if (i + 1 < layers.length) x = x.map(act);
    });
    if (maps) {
      const image = maps(x);
      x = Float64Array.from(bias, (value, i) => value + image[given.kept ? given.kept[i] : i]);
    }
    x = x.map(LINKS[given.link]);
    const own = x.map((value, i) => value * each(given.scale, i) + each(given.offset, i) + given.shift);
    if (!given.kept) return Float32Array.from(own);
    const whole = Float32Array.from(given.fill);
    given.kept.forEach((feature, i) => { whole[feature] = own[i]; });
    return whole;
  };
};

// How an example is shown: images as pixels, rows of a table as bars between the columns' bounds.
const viewOf = (data) => {
  const each = (list, i) => (list.length === 1 ? list[0] : list[i]);
  const share = (value, i) => clamp((value - each(data.low, i)) / (each(data.high, i) - each(data.low, i)), 0, 1);
  return data.shape.length >= 2 ? imageView(data.shape, share) : rowView(data, share);
};

const imageView = ([height, width, channels = 1], share) => ({
  draw(node, values) {
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

const LISTED = 40; // features drawn as named bars; more become a line

const rowView = (data, share) => {
  const nameOf = (i) => data.features[i] ?? `feature ${i + 1}`;
  const bars = (values, marks) => el("div", { class: "bars" }, ...Array.from(values, (value, i) => {
    const way = el("span", { class: "way" });
    way.style.width = `${100 * share(value, i)}%`;
    const rail = el("span", { class: "rail" }, way);
    if (marks) {
      const mark = el("span", { class: "mark" });
      mark.style.left = `${100 * share(marks[i], i)}%`;
      rail.append(mark);
    }
    return el("div", { class: "bar" }, el("span", { class: "name", text: nameOf(i), title: nameOf(i) }), rail,
      el("span", { class: "value", text: format(value) }));
  }));
  const path = (values, kind) => {
    const step = 100 / Math.max(1, values.length - 1);
    const points = Array.from(values, (value, i) => `${(i * step).toFixed(2)},${(40 - 40 * share(value, i)).toFixed(2)}`);
    return svg("polyline", { class: kind, points: points.join(" ") });
  };
  const line = (values, marks) => {
    const drawn = svg("svg", { class: "row-line", viewBox: "0 -1 100 42", preserveAspectRatio: "none", role: "img",
      "aria-label": `values of ${values.length} features, each between its bounds` });
    if (marks) drawn.append(path(marks, "marks"));
    drawn.append(path(values, "values"));
    return drawn;
  };
  return {
    draw(node, values, marks = null) {
      node.replaceChildren((values.length <= LISTED ? bars : line)(Array.from(values), marks));
    },
    original(bytes, index) {
      const count = data.shape[0];
      const each = (list, i) => (list.length === 1 ? list[0] : list[i]);
      return Array.from(bytes.subarray(index * count, (index + 1) * count), (level, i) =>
        each(data.low, i) + (level / 255) * (each(data.high, i) - each(data.low, i)));
    },
  };
};
