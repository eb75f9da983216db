// @ts-check
/** Signing in by token, when the service asks for it: what waits for the token waits until there is one. */
import { byId } from "./dom.js";
import { t } from "./i18n.js";

const STORED = "partita.token";

let token = read();
/** The question that is being asked; all who need a token wait for the same answer. @type {Promise<string | undefined> | undefined} */
let asking;

/** Whether somebody is signed in. */
export function isSignedIn() {
  return token !== undefined;
}

/**
 * The token for the next call; the visitor is asked once the service has refused what there was.
 *
 * @param {{ token?: string }} [refused]
 */
export async function currentToken(refused) {
  if (!refused || refused.token !== token) return token;
  return (asking ??= ask(refused.token !== undefined).finally(() => (asking = undefined)));
}

/** Sets the buttons to work. */
export function startSignIn() {
  byId("sign-out").onclick = () => {
    keep(undefined);
    location.reload();
  };
  byId("sign-in").onclick = async () => {
    if (await (asking ??= ask(false).finally(() => (asking = undefined)))) location.reload();
  };
  show(token !== undefined);
}

/**
 * @param {boolean} wasRefused
 * @returns {Promise<string | undefined>} what there was, if the visitor does not want to
 */
function ask(wasRefused) {
  const dialog = /** @type {HTMLDialogElement} */ (byId("sign-in-dialog"));
  const input = /** @type {HTMLInputElement} */ (byId("token"));
  byId("sign-in-refused").hidden = !wasRefused;
  byId("sign-in-refused").textContent = t("signIn.refused");
  input.value = "";
  if (!dialog.open) dialog.showModal();
  return new Promise((resolve) => {
    byId("sign-in-form").onsubmit = (/** @type {SubmitEvent} */ event) => {
      event.preventDefault();
      keep(input.value.trim());
      dialog.close();
    };
    byId("sign-in-cancel").onclick = () => dialog.close();
    dialog.onclose = () => resolve(token);
  });
}

/** @param {string | undefined} next */
function keep(next) {
  token = next || undefined;
  show(true);
  try {
    if (token) sessionStorage.setItem(STORED, token);
    else sessionStorage.removeItem(STORED);
  } catch {
    // storage may be forbidden: then it ends with the page
  }
}

/** @param {boolean} isAsked whether this service asks at all, as far as is known */
function show(isAsked) {
  byId("sign-out").hidden = token === undefined;
  byId("sign-in").hidden = token !== undefined || !isAsked;
}

function read() {
  try {
    return sessionStorage.getItem(STORED) ?? undefined;
  } catch {
    return undefined;
  }
}
