const byId = (id) => document.getElementById(id);

// Text enters the page only through textContent and attributes, so names in the data cannot become markup.
const build = (node, attributes, children) => {
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "text") node.textContent = value;
    else if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children);
  return node;
};
const el = (tag, attributes = {}, ...children) => build(document.createElement(tag), attributes, children);
const svg = (tag, attributes = {}, ...children) =>
  build(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);

const readJson = (id) => {
  const source = byId(id);
  return source ? JSON.parse(source.textContent) : null;
};

// A whole number of a table: digits are grouped from five on, so that years are written as such.
const grouped = (whole) => (Math.abs(whole) < 1e4 ? String(whole) : whole.toLocaleString("en"));
const format = (value) => {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  if (typeof value !== "number") return String(value);
  if (Number.isInteger(value)) return value.toLocaleString("en");
  const size = Math.abs(value);
  if (size >= 10) return value.toLocaleString("en", { minimumFractionDigits: 2, maximumFractionDigits: 2 });
  return size >= 1e-4 ? String(Number(value.toPrecision(4))) : value.toExponential(1).replace("e-", "e−").replace("-", "−");
};
const short = (text, most = 22) => (text.length > most ? text.slice(0, most - 1) + "…" : text);
const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

const bytesOf = (text) => {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
  const raw = atob(text);
  const bytes = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i);
  return bytes;
};
const uint16Of = (text) => new Uint16Array(bytesOf(text).buffer);
const uint32Of = (text) => new Uint32Array(bytesOf(text).buffer);

// Float16 bits to floats, once for each of the 65,536 patterns.
const widen = (bits) => {
  const table = new Float32Array(65536);
  for (let h = 0; h < 65536; h++) {
    const exponent = (h >> 10) & 31, fraction = h & 1023;
    const size = exponent === 0 ? fraction * 2 ** -24 : (1 + fraction / 1024) * 2 ** (exponent - 15);
    table[h] = h & 0x8000 ? -size : size;
  }
  return Float32Array.from(bits, (h) => table[h]);
};

const later = (work) =>
  "requestIdleCallback" in window ? requestIdleCallback(work, { timeout: 500 }) : setTimeout(work, 30);
const isDark = matchMedia("(prefers-color-scheme: dark)");
const onRestyle = (work) => {
  isDark.addEventListener("change", work);
  window.addEventListener("beforeprint", work);
};
const onResize = (node, work) => {
  let width = node.clientWidth;
  new ResizeObserver(() => {
    if (node.clientWidth === width || node.clientWidth === 0) return;
    width = node.clientWidth;
    requestAnimationFrame(work);
  }).observe(node);
};
const styleOf = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
