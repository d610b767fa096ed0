// Elements made of text. Nothing here takes markup, so that no name from elsewhere can become any.

const SVG = "http://www.w3.org/2000/svg";

// An element; attributes that are null are left out, children are nodes, text, null or arrays of these.
export function el(tag, attributes, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

export function svg(tag, attributes, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

function filled(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value !== null && value !== undefined) node.setAttribute(name, name === "data-key" ? value : plain(String(value)));
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined).map(printable));
  return node;
}

// Control characters and what turns the direction of writing would make a name look like another.
function printable(child) {
  return child instanceof Node ? child : plain(String(child));
}

export function plain(text) {
  return text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, " ");
}

// A table in a frame that scrolls sideways by itself where the window is narrow. The first cell of a row is its header.
export function table(caption, columns, rows) {
  const head = el("tr", null, columns.map((column) => el("th", { scope: "col" }, column)));
  return el("div", { class: "wide", tabindex: "0", role: "region", "aria-label": caption },
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

// Makes the children of `here` those of `wanted` and keeps what is alike, with what a person selected, opened or
// focused in it. Elements with a data-key are found again where they moved.
export function morph(here, wanted) {
  const keyed = new Map(Array.from(here.children, (child) => [child.dataset.key, child]));
  let at = here.firstChild;
  for (const node of Array.from(wanted.childNodes)) {
    const key = node.dataset?.key;
    const old = key === undefined ? at : keyed.get(key);
    if (old && alike(old, node)) {
      if (old === at) at = at.nextSibling;
      else here.insertBefore(old, at);
      become(old, node);
    } else {
      here.insertBefore(node, at);
    }
  }
  while (at) {
    const next = at.nextSibling;
    at.remove();
    at = next;
  }
}

function alike(old, node) {
  return old.nodeType === node.nodeType && old.nodeName === node.nodeName && old.dataset?.key === node.dataset?.key;
}

function become(old, node) {
  if (old.nodeType === Node.TEXT_NODE) {
    if (old.data !== node.data) old.data = node.data;
    return;
  }
  for (const { name } of Array.from(old.attributes)) {
    if (!node.hasAttribute(name) && name !== "open") old.removeAttribute(name);
  }
  for (const { name, value } of Array.from(node.attributes)) {
    if (name !== "open" && old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  if (old.dataset.own === undefined) morph(old, node);
}
