// Small helpers for the document. Text from outside only ever becomes a text
// node: nothing here reads markup.

export const $ = (id) => document.getElementById(id);

const SVG = 'http://www.w3.org/2000/svg';

function fill(node, props, children) {
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith('on')) node.addEventListener(name.slice(2), value);
    else if (name === 'class') node.setAttribute('class', value);
    else if (name === 'value') node.value = value;
    else node.setAttribute(name, value === true ? '' : String(value));
  }
  for (const child of children.flat())
    if (child !== undefined && child !== null && child !== false)
      node.append(child);
  return node;
}

/// Makes an element: h('p', {class: 'x'}, 'text', child…).
export const h = (tag, props, ...children) =>
  fill(document.createElement(tag), props, children);

/// The same for SVG.
export const s = (tag, props, ...children) =>
  fill(document.createElementNS(SVG, tag), props, children);

/// A name from outside: shown as text, whatever its direction, and cut by the
/// style sheet where it is long. The whole of it is a hover away.
export const named = (name, more) =>
  h('bdi', {class: 'name', title: name, ...more}, name);

/// A word with its definition on hover and focus.
let terms = 0;
export function term(word, definition) {
  const id = `term-${++terms}`;
  const tip = h('span', {class: 'tip', role: 'tooltip', id}, definition);
  const place = () => {
    tip.style.left = '-8px';
    const {left, right} = tip.getBoundingClientRect();
    const over = Math.max(0, right - innerWidth + 12);
    tip.style.left = `${-8 - Math.min(over, left - 12)}px`;
  };
  return h(
    'span',
    {class: 'term', onpointerenter: place, onfocusin: place},
    h('button', {type: 'button', 'aria-describedby': id}, word),
    tip,
  );
}

let last = '';
/// Says something to whoever does not see the page.
export function announce(text) {
  if (text !== last) $('announce').textContent = last = text;
}

/// Sets text only where it changed, and lets it glow for a moment when asked.
export function setText(node, text, glow = false) {
  if (node.textContent === text) return;
  node.textContent = text;
  if (!glow) return;
  node.classList.remove('moved');
  void node.offsetWidth; // Begins the animation anew.
  node.classList.add('moved');
}
