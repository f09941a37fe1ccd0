// The answer of a MUSHRA trial: a slider from 0 to 100 for each version, of which the one that is playing can be moved.

import { element } from "./dom.js";
import { t } from "./texts.js";

export class Sliders {
  constructor(trial) {
    this.trial = trial;
    this.help = "keys_sliders";
    this.bands = t(`${trial.words}.bands`); // best first
    this.rows = new Map(); // name -> { row, slider, output }
    const bands = element("div", { className: "bands", "aria-hidden": "true" });
    bands.append(...this.bands.toReversed().map((band) => element("span", {}, band)));
    this.body = element("div", { className: "sliders" }, bands);
    for (const [letter, name] of trial.letters) if (this.hasButton(name)) this.body.append(this.row(letter, name));
    this.renew();
  }

  /** Whether the button of a clip is in this part of the page. */
  hasButton(name) {
    return this.trial.rated.includes(name);
  }

  row(letter, name) {
    const slider = element("input", { type: "range", min: 0, max: 100, step: 1, disabled: true });
    slider.setAttribute("aria-label", t("trial.rating", { name: letter }));
    const output = element("output", { "aria-hidden": "true" });
    const row = element("div", { className: "row" }, this.trial.clipButton(letter, name), slider, output);
    this.rows.set(name, { row, slider, output });
    let cancelled = false; // a finger that came down on the slider has scrolled the page
    const save = () => {
      if (slider.disabled) return; // browsers report presses on disabled sliders, too
      if (!cancelled) this.trial.record(name, Number(slider.value));
      this.show(name);
    };
    slider.onpointerdown = slider.onkeydown = () => {
      cancelled = false;
    };
    slider.onpointercancel = () => {
      cancelled = true;
      this.show(name);
    };
    slider.oninput = () => this.showValue(name, Number(slider.value));
    slider.onchange = save;
    slider.onpointerup = save; // a click on the middle, the place of an unrated slider, changes nothing but is a rating
    return row;
  }

  // Shows the saved rating.
  show(name) {
    const value = this.trial.value(name);
    this.rows.get(name).slider.value = value ?? 50;
    this.showValue(name, value);
  }

  showValue(name, value) {
    const { row, slider, output } = this.rows.get(name);
    row.dataset.rated = value !== undefined;
    slider.style.setProperty("--part", (value ?? 0) / 100);
    if (value === undefined) {
      output.textContent = "–";
      slider.setAttribute("aria-valuetext", t("trial.not_rated"));
    } else {
      const band = this.bands[Math.min(4, 5 - Math.ceil(value / 20))];
      output.replaceChildren(element("b", {}, String(value)), " ", element("span", {}, band));
      slider.setAttribute("aria-valuetext", `${value}, ${band.toLowerCase()}`);
    }
  }

  /** Shows what is saved, also by another window. */
  renew() {
    for (const name of this.rows.keys()) this.show(name);
  }

  /** Shows which clip is playing, if any: only its slider can be moved. */
  refresh(playing) {
    for (const [name, { row, slider }] of this.rows) {
      slider.disabled = name !== playing;
      row.dataset.playing = name === playing;
    }
  }

  lacking(unrated) {
    return t("trial.unrated", { list: unrated.map((name) => this.trial.wordsFor(name)).join(", ") });
  }

  focus(name) {
    this.rows.get(name)?.slider.focus();
  }

  allow() {}

  save() {}

  onKey() {
    return false;
  }
}
