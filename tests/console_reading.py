"""What a person would read off the console, asked of the page."""

from __future__ import annotations

import json
import urllib.request
from typing import Any

from tests.browser import Tab

BOXES = """(() => {
  const box = (node) => node.getBoundingClientRect();
  const within = (one, whole) => [box(one).left - box(whole).left, box(one).width].map((px) => px / box(whole).width);
  return Array.from(document.querySelectorAll("#mig article"), (gpu) => [gpu.dataset.key,
    Object.fromEntries(Array.from(gpu.querySelectorAll(".layout"), (layout) => {
      const whole = layout.querySelector("svg");
      return [layout.dataset.key, Array.from(whole.querySelectorAll("rect"), (rect) =>
        [rect.getAttribute("class"), ...within(rect, whole), rect.nextSibling.textContent])];
    }))]);
})()"""
"""GPUs with their drawings by name: each box with its class, left edge and width as shares of the whole, and words."""

CONTRASTS = """(() => {
  const parse = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
    .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (node) => {
    for (let at = node; at; at = at.parentElement) {
      const colour = parse(getComputedStyle(at).backgroundColor);
      if (colour[3] !== 0) return colour;
    }
  };
  const seen = new Map();
  for (const node of document.querySelectorAll("body *")) {
    const own = Array.from(node.childNodes).some((child) => child.nodeType === 3 && child.data.trim());
    if (!own || !node.checkVisibility() || node.tagName === "title" || node.tagName === "BUTTON") continue;
    const rect = node.tagName === "text" ? getComputedStyle(node.parentElement.querySelector("rect")).fill : "none";
    const ink = parse(node.tagName === "text" ? getComputedStyle(node).fill : getComputedStyle(node).color);
    const [a, b] = [light(ink), light(rect === "none" ? behind(node) : parse(rect))];
    seen.set(`${node.tagName}.${node.getAttribute("class")}`, (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05));
  }
  return Array.from(seen).filter(([, ratio]) => ratio < 4.5);
})()"""
"""Kinds of text that stand out less than WCAG 2 asks for (AA, 4.5 to 1), with by how much they do."""

LOOK = "document.dispatchEvent(new Event('visibilitychange'))"
"""As if the page had been hidden and is seen again: it reads at once."""


def told(url: str) -> Any:
    """What the API answers."""
    with urllib.request.urlopen(url, timeout=60) as answer:
        return json.load(answer)


def row(tab: Tab, section: str, key: str) -> list[str]:
    """The cells of a row as they are read."""
    found = f"document.querySelector('#{section} tr[data-key=' + JSON.stringify({json.dumps(key)}) + ']').cells"
    cells: list[str] = tab.value(f"Array.from({found}, (cell) => cell.innerText.replaceAll('\\u00a0', ' '))")
    return cells


def says(section: str, text: str) -> str:
    """The condition that a text is read in an element."""
    return f"document.getElementById({json.dumps(section)}).innerText.includes({json.dumps(text)})"
