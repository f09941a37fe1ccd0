// Makes elements and shows pages: a heading that takes the focus, a status for screen readers, keys.

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

/** Shows a page and moves the focus to its heading, so that a screen reader begins there. */
export function show(...children) {
  const main = document.getElementById("page");
  main.replaceChildren(...children.filter((child) => child !== null));
  onkey = null;
  say("");
  scrollTo(0, 0);
  const heading = main.querySelector("h1");
  heading.tabIndex = -1;
  heading.focus();
}

/** Says something to a screen reader. */
export function say(text) {
  document.getElementById("status").textContent = text;
}

/** A key, as shown next to what it does; screen readers get it from aria-keyshortcuts. */
export function keyHint(key) {
  return element("kbd", { "aria-hidden": "true" }, key);
}

let onkey = null;
let keysOn = true;

/** Calls a function with the name of each key that is pressed on the current page. */
export function listenToKeys(handler) {
  onkey = handler;
}

/** A switch for single-character keys, which disturb some speech input (WCAG 2.1.4). */
export function keySwitch() {
  const box = element("input", { type: "checkbox", checked: keysOn, onchange: () => (keysOn = box.checked) });
  return element("label", { className: "switch" }, box, " Letter, digit and space keys work");
}

document.addEventListener("keydown", (event) => {
  if (!onkey || !keysOn || event.ctrlKey || event.metaKey || event.altKey) return;
  // Space keeps its usual effect on the focused element, unless that is a slider.
  if (event.key === " " && event.target.matches("button, summary, input:not([type=range])")) return;
  if (onkey(event.key.length === 1 ? event.key.toUpperCase() : event.key)) event.preventDefault();
});
