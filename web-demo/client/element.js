// @ts-check
/**
 * `<partita-upload name="attachment">`: an upload as a field of a form. What the form sends under its name is the id of each
 * file, once it is uploaded; until then the form is invalid, and is not sent.
 *
 * ```html
 * <script type="module" src="https://uploads.example.com/client/element.js"></script>
 * <form><partita-upload name="attachment" endpoint="https://uploads.example.com" required></partita-upload></form>
 * ```
 *
 * | attribute             | meaning                                                                        |
 * |-----------------------|--------------------------------------------------------------------------------|
 * | `name`                | the field's name in the form                                                   |
 * | `endpoint` `preset`   | as the options of the client                                                   |
 * | `multiple` `accept`   | as of `<input type="file">`                                                    |
 * | `required` `disabled` | as of any field                                                                |
 *
 * Properties: `token` (a string or a function), `value` (the ids), `files` (names, ids and states), `texts`. Events: `input`
 * as bytes go, `change` when a file is uploaded or removed, `error` with the `UploadError` as `detail`.
 */
import { Partita, UploadError } from "./index.js";
import { SHEET } from "./element-style.js";

/** What the element says; replace what you like, for example by another language. */
export const TEXTS = {
  choose: "Choose a file",
  chooseMany: "Choose files",
  drop: "or drop it here",
  remove: "Remove",
  retry: "Try again",
  uploading: "Wait until the upload is finished.",
  missing: "Please choose a file.",
  failed: "This upload has failed. Try again or remove it.",
};

/** @typedef {{ file: File, upload?: import("./upload.js").Upload, row: HTMLElement, id?: string, error?: UploadError }} Item */

const MARKUP = `<div part="drop"><label part="button"><input type="file"><span></span></label> <small></small></div><ul part="list"></ul>`;

export class PartitaUpload extends HTMLElement {
  static formAssociated = true;
  static observedAttributes = ["multiple", "accept", "required", "disabled"];

  /** @type {import("./service.js").Token | undefined} */
  token;
  #internals = this.attachInternals();
  #root = this.attachShadow({ mode: "open", delegatesFocus: true });
  #texts = TEXTS;
  #disabledByForm = false;
  /** @type {Item[]} */
  #items = [];

  constructor() {
    super();
    this.#root.innerHTML = MARKUP;
    this.#root.adoptedStyleSheets = [SHEET];
    this.#input.addEventListener("change", () => {
      this.#add(this.#input.files ?? []);
      this.#input.value = "";
    });
    this.addEventListener("dragover", (event) => {
      if (event.dataTransfer?.types.includes("Files")) event.preventDefault();
    });
    this.addEventListener("drop", (event) => {
      event.preventDefault();
      if (!this.#input.disabled) this.#add(event.dataTransfer?.files ?? []);
    });
  }

  connectedCallback() {
    this.#render();
  }

  attributeChangedCallback() {
    this.#render();
  }

  /** @param {boolean} disabled */
  formDisabledCallback(disabled) {
    this.#disabledByForm = disabled;
    this.#render();
  }

  formResetCallback() {
    for (const item of [...this.#items]) this.#remove(item);
  }

  get form() {
    return this.#internals.form;
  }

  get name() {
    return this.getAttribute("name") ?? "";
  }

  get validity() {
    return this.#internals.validity;
  }

  get validationMessage() {
    return this.#internals.validationMessage;
  }

  checkValidity() {
    return this.#internals.checkValidity();
  }

  reportValidity() {
    return this.#internals.reportValidity();
  }

  /** The ids of the files that are uploaded. @returns {string[]} */
  get value() {
    return this.#items.flatMap(({ id }) => id ?? []);
  }

  /** What was chosen, and how far it is. */
  get files() {
    return this.#items.map(({ file, id, upload, error }) => ({ name: file.name, size: file.size, id, state: upload?.state, error }));
  }

  /** @param {Partial<typeof TEXTS>} texts */
  set texts(texts) {
    this.#texts = { ...TEXTS, ...texts };
    this.#render();
  }

  /** @returns {typeof TEXTS} */
  get texts() {
    return this.#texts;
  }

  get #input() {
    return /** @type {HTMLInputElement} */ (this.#root.querySelector("input"));
  }

  /** @param {Iterable<File>} files */
  #add(files) {
    const chosen = this.hasAttribute("multiple") ? [...files] : [...files].slice(0, 1);
    if (chosen.length > 0 && !this.hasAttribute("multiple")) for (const item of [...this.#items]) this.#remove(item);
    for (const file of chosen) {
      const row = document.createElement("li");
      const item = { file, row };
      this.#items.push(item);
      this.#root.querySelector("ul")?.append(row);
      this.#send(item);
    }
  }

  /** @param {Item} item */
  async #send(item) {
    const { file } = item;
    const endpoint = this.getAttribute("endpoint") ?? undefined;
    const client = new Partita({ endpoint, token: this.token });
    const upload = (item.upload = client.upload(file, { preset: this.getAttribute("preset") ?? undefined }));
    item.error = undefined;
    this.#renderItem(item, 0);
    try {
      for await (const event of upload) {
        if (event.type !== "progress" || event.size === 0) continue;
        this.#renderItem(item, event.sentBytes / event.size);
        this.dispatchEvent(new Event("input", { bubbles: true }));
      }
      item.id = (await upload).id;
    } catch (thrown) {
      if (!this.#items.includes(item)) return; // removed meanwhile
      item.error = UploadError.from(thrown);
      this.dispatchEvent(new CustomEvent("error", { detail: item.error }));
    }
    if (!this.#items.includes(item)) return;
    this.#renderItem(item, 1);
    if (item.id) this.dispatchEvent(new Event("change", { bubbles: true }));
  }

  /** @param {Item} item */
  #remove(item) {
    this.#items = this.#items.filter((each) => each !== item);
    item.row.remove();
    if (!item.id) item.upload?.abort();
    this.#render();
    this.dispatchEvent(new Event("change", { bubbles: true }));
  }

  /**
   * @param {Item} item
   * @param {number} share that has gone, 0 to 1
   */
  #renderItem(item, share) {
    const { file, row, id, error } = item;
    if (row.childElementCount === 0) {
      row.innerHTML = `<span></span> <progress max="1"></progress> <output></output> <button type="button"></button> <button type="button"></button>`;
      const [retry, remove] = row.querySelectorAll("button");
      retry.onclick = () => this.#send(item);
      remove.onclick = () => {
        this.#remove(item);
        this.#input.focus();
      };
    }
    const [name, bar, output, retry, remove] = /** @type {HTMLCollectionOf<any>} */ (row.children);
    name.textContent = file.name;
    bar.value = share;
    bar.setAttribute("aria-label", file.name);
    bar.hidden = id !== undefined || error !== undefined;
    output.textContent = error ? error.message : id ? "✓" : "";
    retry.textContent = this.#texts.retry;
    retry.hidden = error === undefined;
    remove.textContent = this.#texts.remove;
    retry.setAttribute("aria-label", `${this.#texts.retry}: ${file.name}`);
    remove.setAttribute("aria-label", `${this.#texts.remove}: ${file.name}`);
    this.#render();
  }

  /** What the form is to know, and what is not about one file. */
  #render() {
    const input = this.#input;
    input.multiple = this.hasAttribute("multiple");
    input.accept = this.getAttribute("accept") ?? "";
    input.disabled = this.hasAttribute("disabled") || this.#disabledByForm;
    const [label, hint] = this.#root.querySelectorAll("span, small");
    label.textContent = input.multiple ? this.#texts.chooseMany : this.#texts.choose;
    hint.textContent = this.#texts.drop;

    const data = new FormData();
    for (const id of this.value) data.append(this.name, id);
    this.#internals.setFormValue(this.name && this.value.length > 0 ? data : null);
    const busy = this.#items.some(({ id, error }) => !id && !error);
    const failed = this.#items.some(({ error }) => error);
    if (busy || failed) this.#internals.setValidity({ customError: true }, busy ? this.#texts.uploading : this.#texts.failed, input);
    else if (this.hasAttribute("required") && this.#items.length === 0) {
      this.#internals.setValidity({ valueMissing: true }, this.#texts.missing, input);
    } else this.#internals.setValidity({});
  }
}

if (!customElements.get("partita-upload")) customElements.define("partita-upload", PartitaUpload);
