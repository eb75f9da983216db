// @ts-check
/** Elements of the page: found by their name, made from its templates. */

/**
 * @param {string} id
 * @returns {any} an element that the page has
 */
export function byId(id) {
  return document.getElementById(id);
}

/**
 * The first element of this class within another.
 *
 * @param {ParentNode} root
 * @param {string} name
 * @returns {any}
 */
export function find(root, name) {
  return root.querySelector(`.${name}`);
}

/**
 * @param {string} id of a template
 * @returns {HTMLElement} a copy of what is in it
 */
export function fromTemplate(id) {
  return /** @type {HTMLElement} */ (byId(id).content.firstElementChild.cloneNode(true));
}

/**
 * @template {keyof HTMLElementTagNameMap} Name
 * @param {Name} name
 * @param {Partial<Omit<HTMLElementTagNameMap[Name], "style">> & { className?: string }} [properties]
 * @param {...(Node | string)} children
 * @returns {HTMLElementTagNameMap[Name]}
 */
export function make(name, properties = {}, ...children) {
  const element = Object.assign(document.createElement(name), properties);
  element.append(...children);
  return element;
}
