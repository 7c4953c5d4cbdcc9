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
  host.replaceChildren(el("div", { class: "used" }, ...lines(true)));
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

const controlsOf = ({ data, model, beside, kind, colour, hiddenSplits, hiddenClasses, labels, redraw, centre, useModel, usePlane, useColour, useBeside, useDrag, dragging, find }) => {
  const parts = [], host = byId("explorer-controls"), focused = document.activeElement?.id;
  const choice = (id, name, value, options, use) => el("label", { class: "choice" }, el("span", { text: name }),
    el("select", { id, onchange: (event) => use(event.target.value) }, ...options.map(([each, text, disabled]) =>
      el("option", { value: each, text: short(text, 40), selected: each === value, disabled }))));
  const radios = (group, value, options, use) => el("div", { class: "choice", role: "radiogroup", "aria-label": group }, ...options.map(([each, text]) =>
    el("label", {}, el("input", { type: "radio", name: `explorer-${group}`, value: each, checked: each === value, onchange: () => use(each) }), el("span", { text }))));
  if (data.models.length > 1) {
    const names = data.models.map(({ name }) => [name, name]);
    parts.push(choice("explorer-model", "model", model.name, names, useModel), choice("explorer-beside", "beside", beside.name, names, useBeside));
  }
  if (model.pca) parts.push(radios("plane", kind, [["dims", "two most active"], ["pca", "PCA"]], usePlane));
  parts.push(choice("explorer-colour", "colour", colour, colourChoices(data, labels), useColour));
  parts.push(radios("drag", dragging, [["cross", "drag moves the cross"], ["box", "drag selects"]], useDrag));
  const toggle = (hidden, key) => (event) => { if (event.target.checked) hidden.delete(key); else hidden.add(key); redraw(); };
  parts.push(el("div", { class: "choice", role: "group", "aria-label": "splits" }, ...data.splits.names.map((name, k) =>
    el("label", {}, el("input", { type: "checkbox", checked: !hiddenSplits.has(k), onchange: toggle(hiddenSplits, k) }), el("span", { text: name })))));
  parts.push(el("button", { type: "button", text: "centre", onclick: centre }));
  parts.push(el("label", { class: "choice" }, el("span", { text: "find" }),
    el("input", { id: "explorer-find", type: "search", size: 12, placeholder: data.ids ? `${short(data.ids.name, 12)} or row` : "row", oninput: (event) => find(event.target.value) }),
    el("span", { id: "explorer-found", role: "status" })));
  if (labels && data.classes.length <= 30) {
    parts.push(el("div", { class: "legend classes", role: "group", "aria-label": "classes" }, ...data.classes.map((name, code) => {
      const swatch = el("i", { "aria-hidden": "true" });
      swatch.style.background = classHueOf(data)(code);
      isDark.addEventListener("change", () => { swatch.style.background = classHueOf(data)(code); });
      return el("label", { title: name }, el("input", { type: "checkbox", checked: !hiddenClasses.has(code), onchange: toggle(hiddenClasses, code) }),
        swatch, el("span", { text: short(name) }));
    })));
  }
  host.replaceChildren(...parts);
  if (focused) byId(focused)?.focus();
};
