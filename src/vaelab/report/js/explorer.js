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
  const colourOf = (i) => (labels ? hueOf(labels[i]) : styleOf("--accent"));
  const plainColour = () => { const colour = styleOf("--accent"); return () => colour; };
  const dots = byId("explorer-points"), marks = byId("explorer-marks");
  let model = latent(data.models[0].name);
  let z = new Float64Array(model.dims);
  let kind = "dims", chosen = null;
  const map = mapOf({ dots, marks, colourOf: (i) => paint(i), shown, named: (code) => !hiddenClasses.has(code),
    namesOf: namesOfClasses(labels, data.classes) });
  let paint = labels ? colourOf : plainColour();

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
    facts.replaceChildren(...named, ...known);
    if (model.decode) view.draw(byId("view-decoded"), reconstruction(i), originals.values(i));
    originals.show(byId("view-original"), i, view);
  };
  const showMarks = () => map.drawMarks(z, chosen);
  const moved = () => { showHere(); showMarks(); setSliders(); };
  const replot = () => { map.use(model.plane(kind)); map.fit(); map.drawDots(); showMarks(); };
  const recolour = () => { paint = labels ? colourOf : plainColour(); if (map.state.plane) { map.fit(); map.drawDots(); showMarks(); } };

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
    controlsOf({ data, model, kind, hiddenSplits, hiddenClasses, labels, useModel, usePlane, redraw, centre });
    replot();
    chosen = map.nearest(...map.toScreen(...map.state.plane.place(z)), 1e4, originals.has);
    moved();
    showPoint();
  };
  const usePlane = (next) => { kind = next; replot(); moved(); };
  const redraw = () => { map.drawDots(); showMarks(); };
  const centre = () => { z = new Float64Array(model.dims); moved(); };

  if (data.shape.length < 2) {
    byId("explorer").classList.add("rows");
    const under = data.under ? `, given ${data.under}` : "";
    byId("view-here").nextElementSibling.textContent += under;
    byId("view-decoded").nextElementSibling.textContent += under + (data.originals ? "; marks show the original" : "");
    for (const id of ["view-here", "view-decoded"]) byId(id).tabIndex = 0;
  }
  useModel(data.models[0].name);
  pointerOf({
    marks, map,
    hover: (i) => { if (i !== null && i !== chosen) { chosen = i; showPoint(); showMarks(); } },
    move: (x, y) => { map.state.plane.move(z, x, y); moved(); },
    take: (i) => { z = model.point(i); moved(); },
    clear: () => { chosen = null; showPoint(); showMarks(); },
    place: () => map.state.plane.place(z), centre, hasOriginal: originals.has,
  });
  onResize(byId("explorer-map"), () => { map.fit(); map.drawDots(); showMarks(); });
  onRestyle(recolour);
  window.vaelab = Object.freeze({
    decode: (at) => model.decode(at).values,
    shares: (at) => Object.fromEntries(model.decode(at).shares),
    original: (i) => originals.values(i),
    reconstruction: (i) => reconstruction(i).values,
    point: (i) => ({
      z: [...model.point(i)], row: rows[i], split: data.splits.names[splitOf[i]],
      label: labels ? data.classes[labels[i]] : null, screen: map.toScreen(map.state.plane.xs[i], map.state.plane.ys[i]),
    }),
    probe: () => [...z],
    count,
  });
  byId("explorer").dataset.ready = "true";
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

// Sliders for every dimension outside the plane; in the PCA plane, for all dimensions.
const slidersOf = (model, zOf, kindOf, changed) => {
  const host = byId("explorer-sliders");
  if (model.dims < 3) {
    host.replaceChildren();
    return () => {};
  }
  const made = model.order.map((dim) => {
    const [low, high] = model.range(dim);
    const reach = Math.max(3, Math.ceil(Math.abs(low)), Math.ceil(Math.abs(high)));
    const value = el("output", {});
    const oninput = () => { zOf()[dim] = Number(input.value); value.textContent = zOf()[dim].toFixed(2).replace("-", "−"); changed(); };
    const input = el("input", { type: "range", min: -reach, max: reach, step: "any", "aria-label": `latent dimension ${dim + 1}`, oninput });
    const line = el("label", {}, el("span", { text: `z${dim + 1}` }), input, value);
    return { dim, input, value, line };
  });
  const lines = (active) => made.filter(({ dim }) => model.active.has(dim) === active).map(({ line }) => line);
  host.replaceChildren(...lines(true));
  const unused = lines(false);
  if (unused.length) {
    host.append(el("details", {}, el("summary", { text: `${unused.length} unused ${unused.length === 1 ? "dimension" : "dimensions"}` }), ...unused));
  }
  return () => {
    const inPlane = kindOf() === "dims" ? new Set(model.order.slice(0, 2)) : new Set();
    made.forEach(({ dim, input, value, line }) => {
      line.hidden = inPlane.has(dim);
      input.value = zOf()[dim];
      value.textContent = zOf()[dim].toFixed(2).replace("-", "−");
    });
  };
};

const controlsOf = ({ data, model, kind, hiddenSplits, hiddenClasses, labels, useModel, usePlane, redraw, centre }) => {
  const parts = [];
  if (data.models.length > 1) {
    const onchange = (event) => useModel(event.target.value);
    const options = data.models.map(({ name }) => el("option", { value: name, text: short(name, 40), selected: name === model.name }));
    parts.push(el("label", { class: "choice" }, el("span", { text: "model" }), el("select", { id: "explorer-model", onchange }, ...options)));
  }
  if (model.pca) {
    const radio = (value, text) => el("label", {},
      el("input", { type: "radio", name: "explorer-plane", value, checked: value === kind, onchange: () => usePlane(value) }), el("span", { text }));
    parts.push(el("div", { class: "choice", role: "radiogroup", "aria-label": "plane" }, radio("dims", "two most active"), radio("pca", "PCA")));
  }
  const toggle = (hidden, key) => (event) => { if (event.target.checked) hidden.delete(key); else hidden.add(key); redraw(); };
  parts.push(el("div", { class: "choice", role: "group", "aria-label": "splits" }, ...data.splits.names.map((name, k) =>
    el("label", {}, el("input", { type: "checkbox", checked: !hiddenSplits.has(k), onchange: toggle(hiddenSplits, k) }), el("span", { text: name })))));
  parts.push(el("button", { type: "button", text: "centre", onclick: centre }));
  if (labels && data.classes.length <= 30) {
    parts.push(el("div", { class: "legend", role: "group", "aria-label": "classes" }, ...data.classes.map((name, code) => {
      const swatch = el("i", { "aria-hidden": "true" });
      swatch.style.background = hueOf(code);
      isDark.addEventListener("change", () => { swatch.style.background = hueOf(code); });
      return el("label", { title: name }, el("input", { type: "checkbox", checked: !hiddenClasses.has(code), onchange: toggle(hiddenClasses, code) }),
        swatch, el("span", { text: short(name) }));
    })));
  }
  byId("explorer-controls").replaceChildren(...parts);
};

const pointerOf = ({ marks, map, hover, move, take, clear, place, centre, hasOriginal }) => {
  let from = null, dragging = false, pending = null;
  const at = (event) => {
    const box = marks.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };
  const under = (event) => map.nearest(...at(event), event.pointerType === "touch" ? 22 : 12, hasOriginal);
  const drag = (event) => {
    const [px, py] = at(event);
    move(...map.toPlane(clamp(px, 0, map.state.width), clamp(py, 0, map.state.height)));
  };
  const soon = (event) => {
    if (pending === null) requestAnimationFrame(() => { const last = pending; pending = null; dragging ? drag(last) : hover(under(last)); });
    pending = event;
  };
  marks.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    from = at(event);
    marks.setPointerCapture(event.pointerId);
  });
  marks.addEventListener("pointermove", (event) => {
    if (from && !dragging) {
      const [px, py] = at(event);
      dragging = Math.hypot(px - from[0], py - from[1]) > 3;
    }
    if (dragging || !from) soon(event);
  });
  marks.addEventListener("pointerup", (event) => {
    if (!from) return;
    pending = pending && event;
    const near = under(event);
    if (dragging) drag(event);
    // A click on a dot takes all its coordinates; elsewhere only those of the plane.
    else if (near !== null) { hover(near); take(near); }
    else drag(event);
    from = null;
    dragging = false;
  });
  marks.addEventListener("pointercancel", () => { from = null; dragging = false; });
  marks.addEventListener("keydown", (event) => {
    const step = (event.shiftKey ? 40 : 8) / map.state.scale;
    const by = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, step], ArrowDown: [0, -step] }[event.key];
    const near = () => map.nearest(...map.toScreen(...place()), event.key === "Enter" ? Infinity : 12, hasOriginal);
    if (event.key === "Escape") { clear(); return; }
    if (event.key === "Home") centre();
    else if (event.key === "Enter") { const i = near(); if (i !== null) take(i); }
    else if (by) { const [x, y] = place(); move(x + by[0], y + by[1]); }
    else return;
    hover(near());
    event.preventDefault();
  });
};

if (byId("explorer-data")) later(startExplorer);
