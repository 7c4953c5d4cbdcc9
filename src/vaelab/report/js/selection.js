// The selected dots: how many of each class, the mean of their latents, decoded, what is nearest to it, and a file of them.
const NEIGHBOURS = 6;

const selectionOf = ({ data, rows, labels, splitOf, view, originals, modelOf, shown, go, changed }) => {
  let chosen = [], members = new Set();
  const host = byId("explorer-selection");
  const nameOf = (i) => (data.ids ? data.ids.of[i] : `row ${rows[i].toLocaleString("en")}`);
  const classOf = (i) => data.classes[labels[i]] ?? String(labels[i]);

  const histogram = () => {
    const names = labels ? data.classes : data.splits.names, codes = labels ?? splitOf;
    const here = new Array(names.length).fill(0), all = new Array(names.length).fill(0);
    chosen.forEach((i) => { here[codes[i]]++; });
    codes.forEach((code) => { all[code]++; });
    const most = Math.max(...here);
    const listed = names.map((name, code) => ({ name, code })).filter(({ code }) => here[code]).sort((a, b) => here[b.code] - here[a.code]);
    const bars = listed.slice(0, 30).map(({ name, code }) => {
      const way = el("span", { class: "way" });
      way.style.width = `${(100 * here[code]) / most}%`;
      if (labels) way.style.background = classHueOf(data)(code);
      return el("div", { class: "bar", "data-count": here[code] }, el("span", { class: "name", text: name, title: name }), el("span", { class: "rail" }, way),
        el("span", { class: "value", text: `${here[code].toLocaleString("en")} of ${all[code].toLocaleString("en")}` }));
    });
    const more = listed.length > 30 ? [el("p", { class: "more", text: `… and ${listed.length - 30} more` })] : [];
    return el("div", { class: "bars" }, ...bars, ...more);
  };
  const meanOf = (model) => {
    const mean = new Float64Array(model.dims);
    chosen.forEach((i) => model.point(i).forEach((value, dim) => { mean[dim] += value / chosen.length; }));
    return mean;
  };
  const nearestTo = (model, z) => {
    const found = [];
    for (let i = 0; i < model.count; i++) {
      if (!shown(i)) continue;
      const far = model.point(i).reduce((sum, value, dim) => sum + (value - z[dim]) ** 2, 0);
      if (found.length < NEIGHBOURS || far < found[found.length - 1].far) {
        found.push({ i, far });
        found.sort((a, b) => a.far - b.far);
        found.length = Math.min(found.length, NEIGHBOURS);
      }
    }
    return found;
  };
  const neighbour = ({ i, far }) => {
    const button = el("button", { type: "button", "data-point": i, onclick: () => go(i) });
    if (data.shape.length > 1 && originals.has(i)) {
      const tile = el("span", { class: "view" });
      originals.show(tile, i, view);
      button.append(tile);
    }
    const known = labels ? `, ${short(classOf(i), 14)}` : "";
    button.append(el("span", {}, el("span", { text: `${short(nameOf(i), 18)}${known}` }), el("span", { class: "far", text: format(Math.sqrt(far)) })));
    return el("li", {}, button);
  };

  // As text: names may hold commas, quotes and line breaks.
  const quoted = (text) => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  const file = () => {
    const head = [...(data.ids ? [data.ids.name] : []), "row", "split", ...(labels ? ["class"] : [])];
    const line = (i) => [...(data.ids ? [data.ids.of[i]] : []), rows[i], data.splits.names[splitOf[i]], ...(labels ? [classOf(i)] : [])];
    return [head, ...chosen.map(line)].map((cells) => cells.map((cell) => quoted(String(cell))).join(",")).join("\n") + "\n";
  };
  const download = () => {
    const href = URL.createObjectURL(new Blob([file()], { type: "text/csv" }));
    el("a", { href, download: "selected.csv" }).click();
    setTimeout(() => URL.revokeObjectURL(href), 1000);
  };

  const part = (title, ...children) => el("div", {}, el("h3", { text: title }), ...children);
  const show = () => {
    host.hidden = !chosen.length;
    if (!chosen.length) { host.replaceChildren(); return; }
    const model = modelOf(), mean = meanOf(model), decoded = el("div", { class: "view" });
    if (model.decode) view.draw(decoded, model.decode(mean));
    else decoded.append(el("p", { class: "why", text: `Not decoded here. ${model.why}` }));
    if (data.shape.length < 2) build(decoded, { tabindex: 0, role: "group", "aria-label": "decoded mean of the selection" }, []);
    const button = (text, onclick) => el("button", { type: "button", text, onclick });
    host.replaceChildren(
      el("p", { class: "count", role: "status" }, el("strong", { text: `${chosen.length.toLocaleString("en")} selected` }), " ",
        button("download CSV", download), " ", button("clear", () => set([]))),
      part(labels ? "Classes" : "Splits", histogram()), part("Decoded at the mean of their latents", decoded),
      part("Nearest to that mean, with distance", el("ol", { class: "near" }, ...nearestTo(model, mean).map(neighbour))));
  };
  const set = (list) => { chosen = list; members = new Set(list); show(); changed(); };
  return { has: (i) => members.has(i), get size() { return chosen.length; }, list: () => [...chosen], set, show };
};
