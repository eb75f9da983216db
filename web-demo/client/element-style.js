// @ts-check
/** How `<partita-upload>` looks where the page does not say otherwise (`::part(button)`, `::part(drop)`, `::part(list)`). */
export const SHEET = new CSSStyleSheet();
SHEET.replaceSync(`
:host { display: block; font: inherit; accent-color: var(--partita-accent, auto); }
[hidden] { display: none !important; }
div { padding: 0.75em; border: 1px dashed color-mix(in srgb, currentcolor 35%, transparent); border-radius: 0.5em; }
label { display: inline-block; padding: 0.4em 0.9em; border: 1px solid currentcolor; border-radius: 0.4em; cursor: pointer; }
label:has(:focus-visible) { outline: 3px solid Highlight; outline-offset: 2px; }
label:has(:disabled) { opacity: 0.5; cursor: default; }
input { position: absolute; width: 1px; height: 1px; opacity: 0; }
ul { margin: 0; padding: 0; list-style: none; }
li { display: flex; flex-wrap: wrap; gap: 0.5em; align-items: center; padding-block: 0.5em 0; }
li span { overflow-wrap: anywhere; }
progress { flex: 1; min-width: 6em; }
button { font: inherit; }
`);
