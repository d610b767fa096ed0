// Elements are described first, and made or changed only where the description differs from that of what is there.
// Nothing here takes markup, so that no name from elsewhere can become any.

const SVG = "http://www.w3.org/2000/svg";
const NONE = Object.freeze({});
const drawn = new WeakMap();

// An element; attributes that are null are left out and functions listen to the event of their name, children are
// elements, text, null or arrays of these.
export function el(tag, attributes, ...children) {
  return { tag, space: null, attributes: attributes ?? NONE, children: listed(children), node: null };
}

export function svg(tag, attributes, ...children) {
  return { ...el(tag, attributes, ...children), space: SVG };
}

function listed(children) {
  return children.flat(Infinity).filter((child) => child !== null && child !== undefined)
    .map((child) => (typeof child === "object" ? child : { text: String(child), node: null }));
}

// Control characters and what turns the direction of writing would make a name look like another.
export function plain(text) {
  return text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, " ");
}

// A table in a frame that scrolls sideways by itself where the window is narrow. The first cell of a row is its header.
export function table(caption, columns, rows) {
  const head = el("tr", null, columns.map((column) => el("th", { scope: "col" }, column)));
  return el("div", { class: "wide", tabindex: "0", role: "region", "aria-label": caption, "data-key": caption },
    el("table", null,
      el("caption", null, caption),
      el("thead", null, head),
      el("tbody", null, rows)));
}

export function row(key, first, ...cells) {
  return el("tr", { "data-key": key }, el("th", { scope: "row" }, first), cells.map((cell) => el("td", null, cell)));
}

export function soft(...text) {
  return el("span", { class: "soft" }, text);
}

// A sentence in a cell: it may take several lines, as figures and names may not.
export function prose(...text) {
  return el("span", { class: "prose" }, text);
}

// Makes the content of `here` what is described, and keeps what is alike, with what a person selected, opened or
// focused in it. Elements with a data-key are found again where they moved; with data-own what is in them is not ours.
export function draw(here, ...content) {
  const wanted = listed(content);
  fill(here, drawn.get(here) ?? [], wanted);
  drawn.set(here, wanted);
}

function fill(here, before, wanted) {
  if (before.length === wanted.length && before.every((old, i) => alike(old, wanted[i]))) {
    before.forEach((old, i) => change(old, wanted[i]));
    return;
  }
  const gone = new Set(before);
  const keyed = new Map(before.map((old) => [keyOf(old), old]));
  for (const one of wanted) {
    const key = keyOf(one);
    const old = key === undefined ? [...gone].find((left) => alike(left, one)) : keyed.get(key);
    if (old && gone.has(old) && alike(old, one)) {
      gone.delete(old);
      change(old, one);
    } else {
      one.node = made(one);
    }
  }
  for (const { node } of gone) node.remove();
  let at = here.firstChild;
  for (const { node } of wanted) {
    if (node === at) at = at.nextSibling;
    else here.insertBefore(node, at);
  }
}

function keyOf(one) {
  return one.attributes?.["data-key"];
}

function alike(old, one) {
  return old.tag === one.tag && old.space === one.space && keyOf(old) === keyOf(one);
}

function made(one) {
  if (one.tag === undefined) return document.createTextNode(plain(one.text));
  const node = one.space === null ? document.createElement(one.tag) : document.createElementNS(one.space, one.tag);
  for (const [name, value] of Object.entries(one.attributes)) {
    if (typeof value === "function") node.addEventListener(name, value);
    else set(node, name, value);
  }
  for (const child of one.children) {
    child.node = made(child);
    node.append(child.node);
  }
  return node;
}

function set(node, name, value) {
  if (value === null || value === undefined) node.removeAttribute(name);
  else node.setAttribute(name, name === "data-key" ? value : plain(String(value)));
}

// What is there becomes what is wanted. Whether it is open is a person's to say, once it is there.
function change(old, one) {
  const { node } = old;
  one.node = node;
  if (one.tag === undefined) {
    if (old.text !== one.text) node.data = plain(one.text);
    return;
  }
  for (const name of Object.keys({ ...old.attributes, ...one.attributes })) {
    const value = one.attributes[name];
    if (value !== old.attributes[name] && typeof value !== "function" && name !== "open") set(node, name, value);
  }
  if (one.attributes["data-own"] === undefined) fill(node, old.children, one.children);
}
