// The answer of a trial in which the listener types what was said.

import { element } from "./dom.js";
import { t } from "./texts.js";

const MAX_TEXT = 2000; // letters
const PAUSE = 1000; // milliseconds without a key after which what was typed is saved

export class Field {
  constructor(trial) {
    this.trial = trial;
    this.help = "keys_field";
    this.input = element("input", { type: "text", id: "typed", maxLength: MAX_TEXT, spellcheck: false });
    // No help from the browser: it would hear better than the listener.
    for (const name of ["autocomplete", "autocorrect", "autocapitalize"]) this.input.setAttribute(name, "off");
    this.input.oninput = () => {
      trial.refreshNext();
      clearTimeout(this.timer);
      this.timer = setTimeout(() => this.save(), PAUSE);
    };
    this.input.onchange = () => this.save();
    this.input.onkeydown = ({ key, isComposing }) => {
      if (key === "Enter" && !isComposing) trial.goOn();
    };
    this.body = element("p", {}, element("label", { className: "ask", htmlFor: "typed" }, t("trial.answer")), this.input);
    this.renew();
  }

  hasButton() {
    return false;
  }

  /** Shows what is saved, also by another window, but not while the listener is typing. */
  renew() {
    if (document.activeElement !== this.input) this.input.value = this.trial.value(this.trial.rated[0]) ?? "";
  }

  save() {
    clearTimeout(this.timer);
    if (!this.input.isConnected) return;
    const text = this.input.value.trim();
    const [name] = this.trial.rated;
    if (text || this.trial.value(name) !== undefined) this.trial.record(name, text);
  }

  focus() {
    this.input.focus();
  }

  lacking() {
    return this.input.value.trim() ? "" : t("trial.type"); // what is typed is saved at the latest with the next page
  }

  refresh() {}

  allow() {}

  onKey() {
    return false;
  }
}
