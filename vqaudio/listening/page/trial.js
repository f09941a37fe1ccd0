// One trial: clips to play, and a slider for each (MUSHRA) or one scale of options (all others).

import { element, keyHint, keySwitch, listenToKeys, say, show } from "./dom.js";
import { Player } from "./player.js";
import { showMessage } from "./pages.js";
import { LOOPING, WORDS } from "./words.js";

/** Shows a trial when its clips are loaded. */
export async function showTrial(test, trial, next) {
  const waiting = setTimeout(() => showMessage("Loading …", "The recordings are being loaded."), 300);
  try {
    new Trial(test, trial, await test.clips(trial), next).show();
  } catch (error) {
    console.error(error);
    const again = () => showTrial(test, trial, next);
    showMessage("The recordings could not be loaded", "Please check the connection.", again);
  } finally {
    clearTimeout(waiting);
  }
}

class Trial {
  constructor(test, trial, clips, next) {
    this.type = test.session.type;
    this.words = WORDS[this.type];
    this.trial = trial;
    this.answers = test.answers;
    this.next = next;
    this.player = new Player(() => test.openContext(), clips, LOOPING.has(this.type));
    this.player.onchange = () => this.refresh();
    // Names of clips by their letters: R for the reference, X, and A, B, C … as presented.
    this.letters = new Map();
    if (trial.reference) this.letters.set("R", trial.reference);
    trial.stimuli.forEach((name, i) => this.letters.set(String.fromCharCode(65 + i), name));
    if (trial.x) this.letters.set("X", trial.x);
    [this.first] = this.letters.values();
    this.rated = trial.stimuli;
    if (this.type === "abx") this.rated = [trial.x];
    if (this.type === "ccr" || this.type === "ab") this.rated = [trial.stimuli[1]];
    // Clips that were rated before the window was closed count as heard.
    this.heardBefore = new Set(this.rated.filter((name) => this.answers.value(trial.id, name) !== undefined));
    if (this.heardBefore.size && this.type !== "mushra") this.heardBefore = new Set(this.letters.values());
    this.sliders = new Map(); // name -> { row, slider, output }
    this.buttons = new Map(); // name -> button
    this.missing = element("p", { className: "hint", id: "missing" });
    this.nextButton = this.button("next", "N", () => this.goOn(), "Next", keyHint("N"));
    this.nextButton.setAttribute("aria-describedby", "missing");
  }

  show() {
    show(
      this.trial.training ? element("p", { className: "badge" }, "Training: these answers do not count") : null,
      element("h1", {}, this.words.question),
      element("p", { className: "hint" }, this.words.hint),
      this.transport(),
      this.type === "mushra" ? this.sliderTable() : this.scale(),
      element("div", { className: "foot" }, this.missing, this.nextButton),
      this.keyHelp(),
    );
    listenToKeys((key) => this.onKey(key));
    this.refresh();
    this.tick();
  }

  button(className, key, onclick, ...children) {
    return element("button", { type: "button", className, "aria-keyshortcuts": key, onclick }, ...children);
  }

  // The clips that have no slider, play and pause, and the position in the clip.
  transport() {
    const { reference } = this.trial;
    const inTransport = [...this.letters].filter(([, name]) => this.type !== "mushra" || name === reference);
    this.playButton = this.button("play", "Space", () => this.toggle());
    this.position = element("div", { className: "position", "aria-hidden": "true" }, element("div"));
    return element(
      "div",
      { className: "transport", role: "group", "aria-label": "Recordings" },
      ...inTransport.map(([letter, name]) => this.clipButton(letter, name)),
      this.letters.size > 1 ? this.playButton : null,
      this.position,
    );
  }

  clipButton(letter, name) {
    const words = this.wordsFor(name);
    const button = this.button("clip", letter, () => this.choose(name), element("span", { className: "words" }, words));
    if (words !== letter) button.append(keyHint(letter));
    if (words === letter) button.setAttribute("aria-label", `Play ${letter}`);
    this.buttons.set(name, button);
    return button;
  }

  sliderTable() {
    const bands = element("div", { className: "bands", "aria-hidden": "true" });
    bands.append(...this.words.bands.toReversed().map((band) => element("span", {}, band)));
    const rows = this.trial.stimuli.map((name, i) => this.sliderRow(String.fromCharCode(65 + i), name));
    return element("div", { className: "sliders" }, bands, ...rows);
  }

  sliderRow(letter, name) {
    const known = this.answers.value(this.trial.id, name);
    const slider = element("input", { type: "range", min: 0, max: 100, step: 1, disabled: true });
    slider.value = known ?? 50;
    slider.setAttribute("aria-label", `Rating of ${letter}`);
    const output = element("output", { "aria-hidden": "true" });
    const row = element("div", { className: "row" }, this.clipButton(letter, name), slider, output);
    this.sliders.set(name, { row, slider, output });
    slider.oninput = () => this.showValue(name, Number(slider.value));
    const save = () => {
      this.answers.record(this.trial.id, name, Number(slider.value));
      this.showValue(name, Number(slider.value));
      this.refreshNext();
    };
    slider.onchange = save;
    slider.onpointerup = save; // a click on the middle, the place of an unrated slider, changes nothing but is a rating
    this.showValue(name, known);
    return row;
  }

  showValue(name, value) {
    const { row, slider, output } = this.sliders.get(name);
    row.dataset.rated = value !== undefined;
    output.textContent = value ?? "–";
    const band = this.words.bands[Math.min(4, 4 - Math.ceil(value / 20) + 1)];
    slider.setAttribute("aria-valuetext", value === undefined ? "not rated yet" : `${value}, ${band.toLowerCase()}`);
  }

  scale() {
    const known = this.answers.value(this.trial.id, this.rated[0]);
    this.fieldset = element("fieldset", { className: `options ${this.type}`, disabled: true });
    this.fieldset.append(element("legend", {}, "Your answer"));
    for (const [value, text, key] of this.words.options) {
      const radio = element("input", { type: "radio", name: "answer", value, checked: value === known });
      radio.setAttribute("aria-keyshortcuts", key);
      radio.onchange = () => {
        this.answers.record(this.trial.id, this.rated[0], value);
        this.refreshNext();
      };
      this.fieldset.append(element("label", {}, radio, element("span", {}, text), keyHint(key)));
    }
    return this.fieldset;
  }

  keyHelp() {
    const letters = [...this.letters.keys()].join(" ");
    const sliders = "arrow keys, Page Up and Page Down, Home and End rate the version that is playing";
    const rate = this.type === "mushra" ? sliders : "digits answer";
    return element(
      "details",
      { className: "keys" },
      element("summary", {}, "Keyboard"),
      element("p", {}, `${letters} play, space pauses and continues, ${rate}, N goes to the next page.`),
      keySwitch(),
    );
  }

  onKey(key) {
    if (key === " ") return this.toggle();
    if (key === "N") return this.goOn();
    if (this.letters.has(key)) return this.choose(this.letters.get(key));
    const option = this.words.options?.findIndex(([, , digit]) => digit === key) ?? -1;
    if (option < 0) return false;
    const radio = this.fieldset.querySelectorAll("input")[option];
    if (!this.fieldset.disabled) radio.click();
    radio.focus();
    return true;
  }

  // A click on the clip that is playing pauses it.
  choose(name) {
    if (this.tooEarly(name)) {
      say(`Please listen to ${this.wordsFor(this.first)} first`);
      return true;
    }
    if (this.player.playing && this.player.current === name) this.player.pause();
    else this.player.play(name);
    return this.announce();
  }

  // In DCR and CCR the clip to compare with comes first (ITU-T P.800).
  tooEarly(name) {
    return !this.player.loop && name !== this.first && !this.heard(this.first);
  }

  toggle() {
    if (this.player.playing) this.player.pause();
    else this.player.play(this.player.current ?? this.first);
    return this.announce();
  }

  // Says to a screen reader what is playing, and moves the focus to its slider.
  announce() {
    const { playing, current } = this.player;
    say(playing ? `Playing: ${this.wordsFor(current)}` : "Paused");
    if (playing) this.sliders.get(current)?.slider.focus();
    return true;
  }

  wordsFor(name) {
    if (name === this.trial.reference) return "Reference";
    if (this.type === "acr") return "Recording";
    if (this.type === "dcr") return "Version";
    return [...this.letters].find(([, other]) => other === name)[0];
  }

  goOn() {
    if (this.lacking()) {
      say(this.lacking());
    } else {
      this.player.pause();
      this.next();
    }
    return true;
  }

  heard(name) {
    return this.heardBefore.has(name) || this.player.heard(name);
  }

  // What remains to be done before the next page, in words; "" if nothing does.
  lacking() {
    const list = (names) => names.map((name) => this.wordsFor(name)).join(", ");
    const unheard = [...this.letters.values()].filter((name) => !this.heard(name));
    if (unheard.length) return `Still to be heard: ${list(unheard)}`;
    const unrated = this.rated.filter((name) => this.answers.value(this.trial.id, name) === undefined);
    if (!unrated.length) return "";
    return this.type === "mushra" ? `Still to be rated: ${list(unrated)}` : "Please choose an answer";
  }

  refresh() {
    const { playing, current } = this.player;
    for (const [name, button] of this.buttons) {
      button.setAttribute("aria-pressed", playing && name === current);
    }
    for (const [name, { row, slider }] of this.sliders) {
      slider.disabled = !(playing && name === current); // only the clip that is playing can be rated
      row.dataset.playing = playing && name === current;
    }
    this.playButton.replaceChildren(playing ? "Pause" : "Play", keyHint("space"));
    this.refreshNext();
  }

  refreshNext() {
    const lacking = this.lacking();
    if (this.missing.textContent !== lacking) this.missing.textContent = lacking;
    this.nextButton.setAttribute("aria-disabled", Boolean(lacking));
    for (const [name, button] of this.buttons) button.setAttribute("aria-disabled", this.tooEarly(name));
    if (this.fieldset) this.fieldset.disabled = lacking.startsWith("Still to be heard");
  }

  // Updates the position while this trial is on the page.
  tick() {
    if (!this.nextButton.isConnected) return;
    const { player } = this;
    const duration = player.clips.values().next().value.duration;
    this.position.firstChild.style.transform = `scaleX(${player.position / duration})`;
    if (player.playing) this.refreshNext();
    requestAnimationFrame(() => this.tick());
  }
}
