// The answer of a trial with a scale: one of several options, by click or by digit.

import { element, keyHint } from "./dom.js";
import { t } from "./texts.js";

// What the options stand for, in the order of their texts.
const VALUES = {
  acr: [5, 4, 3, 2, 1],
  dcr: [5, 4, 3, 2, 1],
  smos: [5, 4, 3, 2, 1],
  ccr: [3, 2, 1, 0, -1, -2, -3],
  ab: [-1, 0, 1],
  abx: [-1, 1],
  headphones: [1, 2, 3],
  quiet: [-1, 1],
};

// The digits of the options: a higher digit is a better answer, or one further to the right.
function digits(values) {
  const least = Math.min(...values);
  const descends = values[0] > values[1];
  return values.map((value, i) => String(descends ? value - least + 1 : i + 1));
}

export class Options {
  constructor(trial) {
    this.trial = trial;
    this.help = "keys_options";
    this.values = VALUES[trial.type];
    this.digits = digits(this.values);
    const texts = t(`${trial.words}.options`);
    this.body = element("fieldset", { className: `options ${trial.type}`, disabled: true });
    this.body.append(element("legend", {}, t("trial.answer")));
    this.inputs = this.values.map((value, i) => {
      const input = element("input", { type: "radio", name: "answer", value });
      input.setAttribute("aria-keyshortcuts", this.digits[i]);
      input.onchange = () => trial.record(trial.rated[0], value);
      this.body.append(element("label", {}, input, element("span", {}, texts[i]), keyHint(this.digits[i])));
      return input;
    });
    this.renew();
  }

  hasButton() {
    return false;
  }

  /** Shows what is saved, also by another window. */
  renew() {
    const known = this.trial.value(this.trial.rated[0]);
    this.inputs.forEach((input, i) => (input.checked = this.values[i] === known));
  }

  onKey(key) {
    const i = this.digits.indexOf(key);
    if (i < 0) return false;
    if (this.body.disabled) return this.trial.complain(this.trial.unheard());
    this.inputs[i].click();
    this.inputs[i].focus();
    return true;
  }

  /** Opens the choice when everything has been heard. */
  allow(heard) {
    if (this.body.disabled === heard) this.body.disabled = !heard;
  }

  lacking() {
    return t("trial.choose");
  }

  refresh() {}

  focus() {}

  save() {}
}
