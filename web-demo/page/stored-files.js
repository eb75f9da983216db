// @ts-check
/** The files that are there already: links to them, who else may have them, and their deletion. */
import { UploadError } from "../client/index.js";
import { announce } from "./announcer.js";
import { byId, find, fromTemplate, make } from "./dom.js";
import { explain } from "./explain.js";
import { formatAgo, formatBytes, onLanguage, t, translate } from "./i18n.js";

/** @typedef {{ id: string, filename: string, size: number, owner: string, createdAt: string, sharedWith: string[] }} StoredFile */

const PAGE = "10";
const LINK_SECONDS = "3600";
/** The list is asked for anew no more often. */
const REFRESH_MS = 1500;

export class StoredFiles {
  #call;
  /** @type {Map<string, { file: StoredFile, element: HTMLElement }>} */
  #shown = new Map();
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  #cursor = "";

  /** @param {(operationId: string, options: object) => Promise<{ body: any }>} call of the service */
  constructor(call) {
    this.#call = call;
    byId("files-more").onclick = () => this.#load(this.#cursor);
    onLanguage(() => {
      for (const { file, element } of this.#shown.values()) {
        translate(element);
        this.#describe(file, element);
      }
    });
  }

  /** Soon, and once for all that came in between. */
  refresh() {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.#load("");
    }, this.#shown.size === 0 ? 0 : REFRESH_MS);
  }

  /**
   * Fetches a link and follows it, for a plain link carries no token.
   *
   * @param {string} id
   */
  async download(id) {
    const { body } = await this.#call("getDownloadUrl", { ids: [id], query: { disposition: "attachment" } });
    location.assign(body.url);
  }

  /** @param {string} cursor */
  async #load(cursor) {
    const answer = await this.#call("listFiles", { query: { limit: PAGE, ...(cursor ? { cursor } : {}) } }).catch(() => undefined);
    if (!answer) return; // it is said elsewhere that the service is away; the next upload asks again
    /** @type {StoredFile[]} */
    const items = answer.body.items;
    const list = byId("stored");
    const isOpen = list.contains(document.activeElement) || list.querySelector(".share-form:not([hidden]), .link:not([hidden])");
    if (!cursor && !isOpen) {
      this.#shown.clear();
      list.replaceChildren();
    }
    for (const file of items) if (!this.#shown.has(file.id)) this.#show(file, cursor === "" && isOpen ? "prepend" : "append");
    this.#cursor = answer.body.nextCursor ?? "";
    this.#render();
  }

  #render() {
    byId("files-section").hidden = this.#shown.size === 0;
    byId("files-more").hidden = this.#cursor === "";
  }

  /**
   * @param {StoredFile} file
   * @param {"append" | "prepend"} where
   */
  #show(file, where) {
    const element = fromTemplate("file-template");
    translate(element);
    this.#shown.set(file.id, { file, element });
    this.#describe(file, element);
    find(element, "get").href = `/v1/files/${file.id}/download`;
    find(element, "get").onclick = (/** @type {MouseEvent} */ event) => {
      event.preventDefault();
      this.#try(element, () => this.download(file.id));
    };
    find(element, "copy").onclick = () => this.#try(element, () => this.#link(file, element));
    find(element, "share").onclick = () => {
      const form = find(element, "share-form");
      form.hidden = !form.hidden;
      find(element, "share").setAttribute("aria-expanded", String(!form.hidden));
      if (!form.hidden) find(element, "subject").focus();
    };
    find(element, "share-form").onsubmit = (/** @type {SubmitEvent} */ event) => {
      event.preventDefault();
      this.#try(element, () => this.#share(file, element));
    };
    find(element, "delete").onclick = () => this.#delete(file, element);
    byId("stored")[where](element);
  }

  /**
   * @param {StoredFile} file
   * @param {HTMLElement} element
   */
  #describe(file, element) {
    const { filename: name, size, createdAt, owner, sharedWith, id } = file;
    find(element, "name").textContent = find(element, "name").title = name;
    find(element, "amount").textContent = [formatBytes(size), formatAgo(createdAt), t("files.sharedBy", { owner })].join(" · ");
    for (const [control, key] of Object.entries({ get: "download", copy: "copyLink", share: "share", delete: "delete" })) {
      find(element, control).setAttribute("aria-label", t("named", { action: t(/** @type {"share"} */ (key)), name }));
    }
    const input = find(element, "subject");
    input.id = `subject-${id}`;
    element.querySelector("label")?.setAttribute("for", input.id);
    find(element, "shares").replaceChildren(
      ...sharedWith.map((subject) => {
        const remove = make("button", { type: "button", className: "quiet", textContent: "×" });
        remove.setAttribute("aria-label", t("share.remove", { subject }));
        remove.onclick = () =>
          this.#try(element, async () => {
            await this.#call("unshareFile", { ids: [id, subject] });
            file.sharedWith = file.sharedWith.filter((each) => each !== subject);
            this.#describe(file, element);
            find(element, "subject").focus();
          });
        return make("li", {}, subject, " ", remove);
      }),
    );
  }

  /**
   * @param {StoredFile} file
   * @param {HTMLElement} element
   */
  async #link({ id, filename: name }, element) {
    const query = { disposition: "attachment", ttlSeconds: LINK_SECONDS };
    const { body } = await this.#call("getDownloadUrl", { ids: [id], query });
    const input = find(element, "link");
    try {
      await navigator.clipboard.writeText(body.url);
      this.#say(element, t("link.copied", { name }));
    } catch {
      this.#say(element, t("link.shown", { name })); // not on every origin, not without being asked
    }
    input.value = body.url;
    input.hidden = false;
    input.setAttribute("aria-label", t("link.shown", { name }));
    input.select();
  }

  /**
   * @param {StoredFile} file
   * @param {HTMLElement} element
   */
  async #share(file, element) {
    const input = find(element, "subject");
    const subject = input.value.trim();
    if (!subject) return input.focus();
    await this.#call("shareFile", { ids: [file.id, subject] });
    file.sharedWith = [...new Set([...file.sharedWith, subject])];
    input.value = "";
    this.#describe(file, element);
    this.#say(element, t("share.shared", { name: file.filename, subject }));
  }

  /**
   * By two clicks on the same place.
   *
   * @param {StoredFile} file
   * @param {HTMLElement} element
   */
  #delete(file, element) {
    const button = find(element, "delete");
    const name = file.filename;
    if (!button.classList.contains("danger")) {
      button.classList.add("danger");
      button.textContent = t("deleteForGood");
      button.setAttribute("aria-label", t("named", { action: t("deleteForGood"), name }));
      button.onblur = () => {
        button.classList.remove("danger");
        button.textContent = t("delete");
        this.#describe(file, element);
      };
      return;
    }
    this.#try(element, async () => {
      await this.#call("deleteFile", { ids: [file.id] });
      const next = element.nextElementSibling ?? element.previousElementSibling;
      button.onblur = null;
      element.remove();
      this.#shown.delete(file.id);
      this.#render();
      announce(t("files.deleted", { name }));
      (next ? find(next, "get") : byId("files")).focus();
    });
  }

  /**
   * @param {HTMLElement} element
   * @param {() => Promise<unknown>} act
   */
  async #try(element, act) {
    try {
      this.#say(element, "");
      await act();
    } catch (error) {
      this.#say(element, explain(UploadError.from(error)));
    }
  }

  /**
   * @param {HTMLElement} element
   * @param {string} text
   */
  #say(element, text) {
    const message = find(element, "message");
    message.textContent = text;
    message.hidden = text === "";
    if (text) announce(text);
  }
}
