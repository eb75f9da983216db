// @ts-check
/** What screen readers are told: not more than one thing in a while, and of what comes in between the latest of each subject. */
import { byId } from "./dom.js";

const PAUSE_MS = 1000;

/** By subject. @type {Map<string, string>} */
const waiting = new Map();
let isPausing = false;

/**
 * @param {string} text
 * @param {string} [subject] what it is about: a later announcement about the same takes its place
 */
export function announce(text, subject = text) {
  waiting.delete(subject);
  waiting.set(subject, text);
  if (!isPausing) next();
}

function next() {
  isPausing = waiting.size > 0;
  for (const [subject, text] of waiting) {
    waiting.delete(subject);
    byId("live").textContent = text;
    setTimeout(next, PAUSE_MS);
    return;
  }
}
