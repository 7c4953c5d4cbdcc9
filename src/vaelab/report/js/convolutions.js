// The convolutions of a decoder: the smallest maps, values in the order height, width, channel, to an image.

// Each value is spread over the positions that its kernel reaches, at the same or twice the resolution.
const spread = ({ inputs, outputs, kernel, size, doubles, matrix, bias }, x, [height, width]) => {
  const [tall, wide] = size, [rows, columns] = kernel;
  const y = new Float64Array(tall * wide * outputs);
  for (let at = 0; at < y.length; at++) y[at] = bias[at % outputs];
  const target = (at, tap, taps) => (doubles ? 2 * at + tap - (taps >> 1) : at - tap + (taps >> 1));
  for (let r = 0; r < height; r++) for (let c = 0; c < width; c++) for (let i = 0; i < rows; i++) {
    const down = target(r, i, rows);
    if (down < 0 || down >= tall) continue;
    for (let j = 0; j < columns; j++) {
      const across = target(c, j, columns);
      if (across < 0 || across >= wide) continue;
      const to = (down * wide + across) * outputs;
      for (let n = 0; n < inputs; n++) {
        const value = x[(r * width + c) * inputs + n];
        const from = ((i * columns + j) * inputs + n) * outputs;
        for (let o = 0; o < outputs; o++) y[to + o] += value * matrix[from + o];
      }
    }
  }
  return y;
};

const groupNormed = ({ outputs, groups, scale, shift }, x) => {
  const of = outputs / groups, y = new Float64Array(x.length);
  for (let group = 0; group < groups; group++) {
    const own = [];
    for (let at = 0; at < x.length; at++) if (Math.floor((at % outputs) / of) === group) own.push(at);
    const mean = own.reduce((sum, at) => sum + x[at], 0) / own.length;
    const std = Math.sqrt(own.reduce((sum, at) => sum + (x[at] - mean) ** 2, 0) / own.length + 1e-5);
    for (const at of own) y[at] = ((x[at] - mean) / std) * scale[at % outputs] + shift[at % outputs];
  }
  return y;
};

const mapsOf = (given, take, act) => {
  const layers = given.layers.map((layer) => {
    const { inputs, outputs, kernel, groups } = layer;
    const own = { ...layer, matrix: take(kernel[0] * kernel[1] * inputs * outputs), bias: take(outputs) };
    return groups ? { ...own, scale: take(outputs), shift: take(outputs) } : own;
  });
  return (features) => {
    let x = features.map(act), size = given.size, skip = null;
    for (const layer of layers) {
      if (layer.block === "inner") skip = x;
      x = spread(layer, x, size);
      if (layer.groups) x = groupNormed(layer, x);
      if (layer.block === "outer") x = x.map((value, at) => value + skip[at]);
      if (!layer.last) x = x.map(act);
      size = layer.size;
    }
    return x;
  };
};
