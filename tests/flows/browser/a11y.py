"""What a page must have so that everybody can use it, looked for by a script of ours within the page."""

from __future__ import annotations

from typing import Any

from selenium import webdriver

MIN_CONTRAST = 4.5  # WCAG 2.1, level AA, text of normal size

_LOOK = """
const found = [];
const say = (what, item) => found.push(what + ': ' + item.outerHTML.slice(0, 120));
const seen = item => item.getClientRects().length && getComputedStyle(item).visibility === 'visible';
if (!document.documentElement.lang) found.push('no language');
if (document.querySelectorAll('h1').length !== 1) found.push('not exactly one h1');
if (!document.querySelector('main')) found.push('no main');
const ids = [...document.querySelectorAll('[id]')].map(item => item.id);
ids.filter((id, at) => ids.indexOf(id) !== at).forEach(id => found.push('id twice: ' + id));
for (const item of document.querySelectorAll('input:not([type=hidden]), select, textarea')) {
  if (!item.labels.length && !item.getAttribute('aria-label')) say('no label', item);
}
for (const item of document.querySelectorAll('a[href], button')) {
  if (seen(item) && !item.textContent.trim() && !item.getAttribute('aria-label')) say('no name', item);
}
for (const table of document.querySelectorAll('table')) {
  if (!table.caption) say('no caption', table);
  for (const cell of table.querySelectorAll('thead th')) if (!cell.scope) say('no scope', cell);
}
for (const item of document.querySelectorAll('svg:not([aria-hidden])')) {
  if (item.getAttribute('role') !== 'img' || !item.getAttribute('aria-label')) say('picture without a name', item);
}
for (const item of document.querySelectorAll('[aria-labelledby]')) {
  if (!document.getElementById(item.getAttribute('aria-labelledby'))) say('label is not there', item);
}
const canvas = new OffscreenCanvas(1, 1).getContext('2d', {willReadFrequently: true});
const rgba = colour => {
  canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
  return canvas.getImageData(0, 0, 1, 1).data;
};
const light = ([r, g, b]) => [r, g, b].map(v => v / 255)
  .map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
  .reduce((sum, v, at) => sum + v * [0.2126, 0.7152, 0.0722][at], 0);
const behind = item => {
  for (let at = item; at; at = at.parentElement) {
    const colour = rgba(getComputedStyle(at).backgroundColor);
    if (colour[3] === 255) return colour;
  }
  return [255, 255, 255, 255];
};
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const item = walker.currentNode.parentElement;
  if (!walker.currentNode.data.trim() || item.closest('svg, script, .hidden, .skip, option') || !seen(item)) continue;
  const [a, b] = [light(rgba(getComputedStyle(item).color)), light(behind(item))].sort((x, y) => y - x);
  const ratio = (a + 0.05) / (b + 0.05);
  if (ratio < arguments[0]) say('contrast ' + ratio.toFixed(2), item);
}
return [...new Set(found)];
"""


def faults(driver: webdriver.Chrome) -> list[str]:
    """Return what the page lacks: names, labels, headers, captions, contrast."""
    found: Any = driver.execute_script(_LOOK, MIN_CONTRAST)
    return list(found)
