// Brings the client into a page.

/**
 * What the page needs after each (re)load.
 *
 * @param {{ evaluate: (run: () => Promise<void>) => Promise<void> }} page a page of the service's origin, in any browser
 */
export async function load(page) {
  await page.evaluate(async () => {
    document.body.innerHTML = '<input type="file" id="file">';
    const path = "/client/index.js"; // not to be looked for by the type-check
    window.client = await import(path);
    window.chosen = () => {
      const { files } = /** @type {HTMLInputElement} */ (document.getElementById("file"));
      return /** @type {File} */ (files?.[0]);
    };
    window.seen = [];
    window.follow = async (upload) => {
      for await (const event of upload) window.seen.push(event);
    };
  });
}

/**
 * Puts a form with a `<partita-upload>` into a page, as an author would: by one script tag.
 *
 * @param {{ evaluate: (run: (attributes: string) => Promise<void>, attributes: string) => Promise<void> }} page
 * @param {string} attributes
 */
export async function loadForm(page, attributes) {
  await page.evaluate(async (attributes) => {
    document.body.innerHTML = `<form><partita-upload name="attachment" ${attributes}></partita-upload><button>Send</button></form>`;
    const script = Object.assign(document.createElement("script"), { type: "module", src: "/client/element.js" });
    document.head.append(script);
    await customElements.whenDefined("partita-upload");
  }, attributes);
}
