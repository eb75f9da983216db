// @ts-check
/** The page's language: texts by key, numbers and times as that language writes them. */
import ar from "./languages/ar.js";
import de from "./languages/de.js";
import en from "./languages/en.js";

/** The keys; where there is a form for each number, without the form's name. @typedef {keyof typeof en extends infer K ? K extends `${infer Base}.other` ? Base : K : never} Key */
/** @typedef {Record<string, string | number>} Values */

/** The languages by their code, each with its own name. */
export const LANGUAGES = { en: "English", de: "Deutsch", ar: "العربية" };
/** @type {Record<string, Record<string, string>>} */
const TEXTS = { en, de, ar };
const STORED = "partita.language";

let language = preferred();
let plural = new Intl.PluralRules(language);
/** @type {Set<() => void>} */
const listeners = new Set();

/** The code of the language that the page is in. */
export function currentLanguage() {
  return language;
}

/**
 * A text; `{name}` in it stands for the value of that name. With a `count` it is the form that the language has for it.
 *
 * @param {Key} key
 * @param {Values} [values]
 */
export function t(key, values = {}) {
  const texts = TEXTS[language];
  const text =
    ("count" in values ? texts[`${key}.${plural.select(Number(values.count))}`] ?? texts[`${key}.other`] : undefined) ??
    texts[key] ?? TEXTS.en[key] ?? key;
  return text.replace(/{(\w+)}/g, (_, name) => {
    const value = values[name];
    return typeof value === "number" ? formatNumber(value) : isolate(String(value ?? ""));
  });
}

/**
 * A name from outside in a text, whatever direction it runs in, does not turn the rest around.
 *
 * @param {string} text
 */
function isolate(text) {
  return document.dir === "rtl" ? `\u2068${text}\u2069` : text;
}

/** @param {string} code */
export function setLanguage(code) {
  if (!(code in LANGUAGES)) return;
  language = code;
  plural = new Intl.PluralRules(code);
  try {
    localStorage.setItem(STORED, code);
  } catch {
    // storage may be forbidden: then the choice lasts as long as the page
  }
  translate(document.documentElement);
  for (const listener of listeners) listener();
}

/** @param {() => void} listener called after each change of the language */
export function onLanguage(listener) {
  listeners.add(listener);
}

/**
 * Fills in the texts of elements that name them: `data-t` for what they hold, `data-t-label` for their accessible name.
 *
 * @param {Element} root
 */
export function translate(root) {
  if (root === document.documentElement) {
    document.documentElement.lang = language;
    document.dir = language === "ar" ? "rtl" : "ltr";
  }
  for (const element of root.querySelectorAll("[data-t]")) element.textContent = t(/** @type {Key} */ (element.getAttribute("data-t")));
  for (const element of root.querySelectorAll("[data-t-label]")) {
    element.setAttribute("aria-label", t(/** @type {Key} */ (element.getAttribute("data-t-label"))));
  }
}

/**
 * @param {number} value
 * @param {Intl.NumberFormatOptions} [options]
 */
function formatNumber(value, options) {
  return new Intl.NumberFormat(language, options).format(value);
}

/**
 * @param {number} bytes
 * @returns {string} for example `735 MB`
 */
export function formatBytes(bytes) {
  const units = ["byte", "kilobyte", "megabyte", "gigabyte", "terabyte"];
  let unit = 0;
  let value = bytes;
  for (; value >= 999.5 && unit < units.length - 1; unit++) value /= 1000;
  const unitDisplay = unit === 0 ? "long" : "short";
  return formatNumber(value, { style: "unit", unit: units[unit], unitDisplay, maximumSignificantDigits: 3 });
}

/** @param {number} bytesPerSecond */
export function formatSpeed(bytesPerSecond) {
  return t("speed", { amount: formatBytes(bytesPerSecond) });
}

/** @param {number} share 0 to 1 */
export function formatPercent(share) {
  return formatNumber(Math.floor(share * 100) / 100, { style: "percent" });
}

/**
 * @param {number} ms
 * @returns {string} for example `12.4 sec` or `3 min 5 sec`
 */
export function formatDuration(ms) {
  const seconds = ms / 1000;
  /** @param {number} value @param {string} unit @param {number} [digits] */
  const unit = (value, unit, digits = 0) => formatNumber(value, { style: "unit", unit, unitDisplay: "short", maximumFractionDigits: digits });
  if (seconds < 60) return unit(seconds, "second", seconds < 10 ? 1 : 0);
  const minutes = Math.floor(seconds / 60);
  const both = (/** @type {string} */ first, /** @type {number} */ rest, /** @type {string} */ second) => (rest > 0 ? `${first} ${unit(rest, second)}` : first);
  if (minutes < 60) return both(unit(minutes, "minute"), Math.floor(seconds % 60), "second");
  return both(unit(Math.floor(minutes / 60), "hour"), minutes % 60, "minute");
}

/**
 * An estimate, so rounded like one.
 *
 * @param {number} ms
 */
export function formatTimeLeft(ms) {
  if (ms < 1500) return t("left.moment");
  return t("left", { time: formatDuration(ms < 60_000 ? Math.max(1000, Math.round(ms / 1000) * 1000) : Math.round(ms / 60_000) * 60_000) });
}

/**
 * @param {string} time RFC 3339
 * @returns {string} for example `5 minutes ago`
 */
export function formatAgo(time) {
  const minutes = Math.min(0, Math.round((Date.parse(time) - Date.now()) / 60_000));
  const relative = new Intl.RelativeTimeFormat(language, { numeric: "auto" });
  if (minutes > -1) return relative.format(0, "second");
  if (minutes > -60) return relative.format(minutes, "minute");
  if (minutes > -60 * 24) return relative.format(Math.round(minutes / 60), "hour");
  return relative.format(Math.round(minutes / 60 / 24), "day");
}

/** What was chosen here before, what the URL asks for, or what the browser prefers. */
function preferred() {
  let stored;
  try {
    stored = localStorage.getItem(STORED);
  } catch {
    // as above
  }
  const asked = new URLSearchParams(location.search).get("lang");
  const wanted = [asked, stored, ...navigator.languages].map((each) => each?.split("-")[0] ?? "");
  return wanted.find((each) => each in LANGUAGES) ?? "en";
}
