// Nodes. The page is built once and then edited: a function here touches the document
// only where something differs, so that ten thousand unchanged cells cost nothing.

const svgNamespace = "http://www.w3.org/2000/svg";

// h makes an element. Properties that start with "on" are listeners, others are
// attributes; null and false leave one out. Children are nodes or texts: text is
// never read as markup, whatever a name from the API contains.
export function h(tag, properties = {}, ...children) {
  return fill(document.createElement(tag), properties, children);
}

// s makes an SVG element.
export function s(tag, properties = {}, ...children) {
  return fill(document.createElementNS(svgNamespace, tag), properties, children);
}

function fill(node, properties, children) {
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else attribute(node, name, value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

// attribute sets, or with null or false removes, an attribute.
export function attribute(node, name, value) {
  if (value === null || value === undefined || value === false) {
    if (node.hasAttribute(name)) node.removeAttribute(name);
    return;
  }
  const text = value === true ? "" : String(value);
  if (node.getAttribute(name) !== text) node.setAttribute(name, text);
}

// text sets what an element says.
export function text(node, value) {
  const words = String(value ?? "");
  if (node.textContent !== words) node.textContent = words;
}

// hidden shows or hides.
export function hidden(node, on) {
  if (node.hidden !== on) node.hidden = on;
}

// List keeps the children of parent in step with rows of data. Nodes are known by the
// key of their row and are reused, so that focus and selection survive an update.
export class List {
  // make answers {node, update(row)} for the first row of a key.
  constructor(parent, key, make) {
    Object.assign(this, { parent, key, make, parts: new Map() });
  }

  update(rows) {
    const gone = new Set(this.parts.keys());
    let at = this.parent.firstChild;
    for (const row of rows) {
      const key = this.key(row);
      gone.delete(key);
      let part = this.parts.get(key);
      if (!part) this.parts.set(key, (part = this.make(row)));
      part.update(row);
      if (part.node === at) at = at.nextSibling;
      else this.parent.insertBefore(part.node, at);
    }
    for (const key of gone) {
      this.parts.get(key).node.remove();
      this.parts.delete(key);
    }
  }
}
