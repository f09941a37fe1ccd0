// Makes elements and shows pages: a heading that takes the focus, a status for screen readers, keys.

import { t } from "./texts.js";

/** Makes an element: element("p", { className: "hint" }, "text", child, …). */
export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in made) made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}

let onleave = null;

/** Shows a page in place of the last one, and moves the focus to its heading, where a screen reader begins. */
export function show(...children) {
  leave();
  const main = document.getElementById("page");
  main.replaceChildren(...children.filter((child) => child !== null));
  onkey = null;
  say("");
  scrollTo(0, 0);
  const heading = main.querySelector("h1");
  heading.tabIndex = -1;
  heading.focus();
}

/** Calls a function once when the page on show is left or replaced, for example to stop its sound. */
export function whenLeft(handler) {
  onleave = handler;
}

/** Ends the page on show; its picture stays until the next one is shown. */
export function leave() {
  const handler = onleave;
  onleave = onkey = null;
  handler?.();
}

/** Says something to a screen reader. */
export function say(text) {
  document.getElementById("status").textContent = text;
}

/** A key, as shown next to what it does; screen readers get it from aria-keyshortcuts. */
export function keyHint(key) {
  return element("kbd", { "aria-hidden": "true" }, key);
}

/** A button with a key, as in button("clip", "A", () => …, "A"). */
export function button(className, key, onclick, ...children) {
  return element("button", { type: "button", className, "aria-keyshortcuts": key, onclick }, ...children);
}

/** The button to the next page; pages make the key N do the same. */
export function nextButton(text, next) {
  return button("next", "N", next, text, keyHint("N"));
}

let onkey = null;
let keysOn = true;

/** Calls a function with the name of each key that is pressed on the current page. */
export function listenToKeys(handler) {
  onkey = handler;
}

/** Makes the key N press a button. */
export function nextByKey(next) {
  listenToKeys((key) => {
    if (key === "N") next.click();
    return key === "N";
  });
}

/** A switch for single-character keys, which disturb some speech input (WCAG 2.1.4). */
export function keySwitch() {
  const box = element("input", { type: "checkbox", checked: keysOn, onchange: () => (keysOn = box.checked) });
  return element("label", { className: "switch" }, box, ` ${t("trial.keys_work")}`);
}

const TYPING = "textarea, input:not([type=range], [type=radio], [type=checkbox])";

document.addEventListener("keydown", (event) => {
  if (!onkey || !keysOn || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.matches(TYPING)) return;
  // Space keeps its usual effect on the focused element, unless that is a slider.
  if (event.key === " " && event.target.matches("a, button, summary, input:not([type=range])")) return;
  if (onkey(event.key.length === 1 ? event.key.toUpperCase() : event.key)) event.preventDefault();
});
