const startExplorer = () => {
  const data = readJson("explorer-data");
  if (!data) return;
  const count = data.count;
  const rows = uint32Of(data.rows);
  const labels = data.labels ? (data.classes.length <= 255 ? bytesOf : uint16Of)(data.labels) : null;
  const splitOf = bytesOf(data.splits.of);
  const view = viewOf(data);
  const originals = originalsOf(data);
  const latents = new Map();
  const latent = (name) => {
    if (!latents.has(name)) latents.set(name, latentOf(data.models.find((model) => model.name === name), count));
    return latents.get(name);
  };

  const hiddenSplits = new Set(), hiddenClasses = new Set();
  const shown = (i) => !hiddenSplits.has(splitOf[i]) && !(labels && hiddenClasses.has(labels[i]));
  let model = latent(data.models[0].name), beside = latent(data.models[Math.min(1, data.models.length - 1)].name);
  let z = new Float64Array(model.dims);
  let kind = "dims", colour = labels ? "class" : "none", chosen = null, dragging = "cross";
  let paint = null, selection = null;
  const mapIn = (id) => mapOf({
    dots: byId(id).children[0], marks: byId(id).children[1], colourOf: (i) => paint.of(i), shown,
    lit: () => (selection?.size ? selection.has : null),
    faint: (i) => colour === "class" && labels !== null && labels[i] === data.unlabelled,
    named: (code) => colour === "class" && code !== data.unlabelled && !hiddenClasses.has(code), namesOf: namesOfClasses(labels, data.classes),
  });
  const map = mapIn("explorer-map"), other = byId("explorer-other") ? mapIn("explorer-other") : null;

  const showHere = () => {
    if (model.decode) view.draw(byId("view-here"), model.decode(z));
    const most = [...model.order].slice(0, 6).sort((a, b) => a - b);
    const listed = most.map((dim) => `z${dim + 1} ${z[dim].toFixed(2).replace("-", "−")}`).join(", ");
    byId("explorer-says").textContent = `Cross at ${listed}${model.dims > most.length ? ", …" : "."}`;
  };
  const reconstruction = (i) => model.decode.sized(model.decode(model.point(i)), originals.values(i));
  const showPoint = () => {
    const facts = byId("explorer-facts");
    if (chosen === null) {
      for (const id of ["view-decoded", "view-original"]) byId(id).replaceChildren();
      facts.replaceChildren(el("div", {}, el("dt", { text: "example" }), el("dd", { text: "no dot under the pointer" })));
      return;
    }
    const i = chosen;
    const fact = (name, value) => el("div", {}, el("dt", { text: name }), el("dd", { text: value }));
    const named = data.ids ? [fact(data.ids.name, data.ids.of[i])] : [];
    const known = [fact("row", rows[i].toLocaleString("en")), fact("split", data.splits.names[splitOf[i]])];
    if (labels) known.unshift(fact("class", data.classes[labels[i]] ?? String(labels[i])));
    if (paint.told) known.push(fact(paint.name, paint.told(i)));
    facts.replaceChildren(...named, ...known);
    if (model.decode) view.draw(byId("view-decoded"), reconstruction(i), originals.values(i));
    originals.show(byId("view-original"), i, view);
  };
  const showMarks = () => { map.drawMarks(z, chosen); other?.drawMarks(null, chosen); };
  const redraw = () => { map.drawDots(); other?.drawDots(); showMarks(); };
  const moved = () => { showHere(); showMarks(); setSliders(); };
  const replot = () => {
    map.use(model.plane(kind), other ? model.name : "");
    map.fit();
    other?.use(beside.plane(beside.pca ? kind : "dims"), beside.name);
    other?.fit();
    redraw();
  };
  const refit = () => { map.fit(); other?.fit(); redraw(); };
  const recolour = () => {
    paint = paintOf(colour, { data, labels, splitOf, scores: data.models.find(({ name }) => name === model.name).scores, view });
    byId("explorer-key").replaceChildren(...paint.key);
    byId("explorer-controls").classList.toggle("by-class", colour === "class");
    if (map.state.plane) refit();
  };

  let setSliders = () => {};
  const useModel = (name) => {
    model = latent(name);
    z = new Float64Array(model.dims);
    chosen = null;
    if (kind === "pca" && !model.pca) kind = "dims";
    setSliders = slidersOf(model, () => z, () => kind, () => { showHere(); showMarks(); });
    view.use?.(model);
    byId("explorer").classList.toggle("silent", !model.decode);
    if (!model.decode) byId("view-here").replaceChildren(el("p", { class: "why", text: `Not decoded here. ${model.why}` }));
    controlsOf({ data, model, beside, kind, colour, hiddenSplits, hiddenClasses, labels, redraw, centre, useModel, usePlane, useColour, useBeside, useDrag, dragging, find });
    recolour();
    replot();
    chosen = map.nearest(...map.toScreen(...map.state.plane.place(z)), 1e4, originals.has);
    moved();
    showPoint();
    selection?.show();
  };
  const usePlane = (next) => { kind = next; replot(); moved(); };
  const useBeside = (name) => { beside = latent(name); replot(); };
  const useColour = (next) => { colour = next; recolour(); showPoint(); };
  const useDrag = (next) => { dragging = next; };
  const centre = () => { z = new Float64Array(model.dims); focusOn(null); moved(); };
  const focusOn = (i) => { for (const each of [map, other]) if (each) each.state.focus = i; refit(); };
  const hover = (i) => { if (i !== null && i !== chosen) { chosen = i; showPoint(); showMarks(); } };
  const take = (i) => { z = model.point(i); moved(); };
  const go = (i) => { hover(i); take(i); focusOn(i); };
  const rowNumbered = placeOf(data, rows);
  const find = (text) => {
    const i = text ? rowNumbered(text) : null;
    byId("explorer-found").textContent = text && i === null ? `not among the ${count.toLocaleString("en")} dots` : "";
    if (i === null) focusOn(null); else go(i);
  };

  if (data.shape.length < 2) {
    byId("explorer").classList.add("rows");
    const under = data.under ? `, given ${data.under}` : "";
    byId("view-here").nextElementSibling.textContent += under;
    byId("view-decoded").nextElementSibling.textContent += under + (data.originals ? "; marks show the original" : "");
    for (const id of ["view-here", "view-decoded"]) byId(id).tabIndex = 0;
  }
  useModel(data.models[0].name);
  selection = selectionOf({ data, rows, labels, splitOf, view, originals, modelOf: () => model, shown, go, changed: redraw });
  const clear = () => { chosen = null; focusOn(null); selection.set([]); showPoint(); showMarks(); };
  const shared = { hover, take, clear, select: selection.set, showMarks, hasOriginal: originals.has };
  pointerOf({
    ...shared, map, marks: byId("explorer-marks"), centre, selecting: () => dragging === "box",
    move: (x, y) => { map.state.plane.move(z, x, y); moved(); }, place: () => map.state.plane.place(z),
  });
  if (other) pointerOf({ ...shared, map: other, marks: byId("explorer-other").children[1], selecting: () => true });
  onResize(byId("explorer-map"), refit);
  onRestyle(recolour);
  const on = (each, i) => each.toScreen(each.state.plane.xs[i], each.state.plane.ys[i]);
  window.vaelab = Object.freeze({
    decode: (at) => model.decode(at).values,
    shares: (at) => Object.fromEntries(model.decode(at).shares),
    original: (i) => originals.values(i),
    reconstruction: (i) => reconstruction(i).values,
    point: (i) => ({
      z: [...model.point(i)], row: rows[i], split: data.splits.names[splitOf[i]],
      label: labels ? data.classes[labels[i]] : null, screen: on(map, i), beside: other && on(other, i), colour: paint.of(i),
    }),
    probe: () => [...z],
    chosen: () => chosen,
    selected: () => selection.list(),
    count,
  });
  byId("explorer").dataset.ready = "true";
};

// The dot of a row by its name, the beginning of its name, or its number; null if it is not in the page.
const placeOf = (data, rows) => (text) => {
  const wanted = text.trim().toLowerCase(), names = (data.ids?.of ?? []).map((name) => name.toLowerCase());
  const ways = [() => names.indexOf(wanted), () => (/^[0-9]+$/.test(wanted) ? rows.indexOf(Number(wanted)) : -1),
    () => names.findIndex((name) => name.startsWith(wanted))];
  for (const way of ways) { const i = way(); if (i >= 0) return i; }
  return null;
};

// Originals of some points; `has` and `values` by the point's number.
const originalsOf = (data) => {
  const given = data.originals;
  if (!given) return { has: () => false, values: () => null, show: (node) => node.replaceChildren() };
  const places = new Map();
  uint32Of(given.points).forEach((point, place) => places.set(point, place));
  const codes = given.values ? uint16Of(given.values) : null;
  const sprite = given.sprite ? Object.assign(new Image(), { src: given.sprite }) : null;
  const rowsView = codes ? viewOf(data) : null;
  const values = (i) => (codes && places.has(i) ? rowsView.original(codes, places.get(i)) : null);
  const missing = () => el("p", { class: "why", text: `Not in the page, which contains ${given.count.toLocaleString("en")} originals.` });
  return {
    has: (i) => places.has(i), values,
    show(node, i, view) {
      node.dataset.point = i;
      if (!places.has(i)) node.replaceChildren(missing());
      else if (codes) view.draw(node, { values: values(i), shares: new Map() });
      else if (sprite.complete) view.tile(node, sprite, given.columns, places.get(i));
      else sprite.decode().then(() => { if (node.dataset.point === String(i)) view.tile(node, sprite, given.columns, places.get(i)); });
    },
  };
};

if (byId("explorer-data")) later(startExplorer);
