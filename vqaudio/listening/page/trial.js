// One trial: clips to play, and what the listener says of them: by sliders (MUSHRA), by a choice, or in writing.

import { button, element, keyHint, keySwitch, listenToKeys, nextButton, say, show } from "./dom.js";
import { Field } from "./field.js";
import { Options } from "./options.js";
import { watchSound, wordsOf } from "./pages.js";
import { Player } from "./player.js";
import { Sliders } from "./sliders.js";
import { t } from "./texts.js";

const ANSWERS = { mushra: Sliders, words: Field }; // all others: Options
const SECOND_IS_RATED = ["ccr", "ab", "quiet"];
const FIRST_COMES_FIRST = ["dcr", "ccr", "smos"]; // the clip to compare with is heard first (ITU-T P.800)

export function showTrial(test, page, next, clips) {
  new Trial(test, test.session.trials[page.trial], next, clips).show();
}

class Trial {
  constructor(test, trial, next, clips) {
    this.test = test;
    this.type = trial.type;
    this.words = `types.${wordsOf(trial.type, test.session.attribute)}`;
    this.trial = trial;
    this.next = next;
    this.player = new Player(() => test.sound.open(), clips, trial.loop);
    this.player.onchange = () => this.refresh();
    // Names of clips by their letters: R for the reference, X, and A, B, C … as presented.
    this.letters = new Map();
    if (trial.reference) this.letters.set("R", trial.reference);
    trial.stimuli.forEach((name, i) => this.letters.set(String.fromCharCode(65 + i), name));
    if (trial.x) this.letters.set("X", trial.x);
    [this.first] = this.letters.values();
    this.rated = trial.stimuli;
    if (this.type === "abx") this.rated = [trial.x];
    if (SECOND_IS_RATED.includes(this.type)) this.rated = [trial.stimuli[1]];
    // Clips that were rated before the window was closed count as heard.
    this.heardBefore = new Set(this.rated.filter((name) => this.value(name) !== undefined));
    if (this.heardBefore.size && this.type !== "mushra") this.heardBefore = new Set(this.letters.values());
    this.buttons = new Map(); // name -> button
    this.missing = element("p", { className: "hint", id: "missing" });
    this.alarm = element("p", { className: "alarm", role: "alert" });
    this.nextButton = nextButton(t("next"), () => this.goOn());
    this.nextButton.setAttribute("aria-describedby", "missing");
    this.answer = new (ANSWERS[this.type] ?? Options)(this);
  }

  show() {
    show(
      this.trial.training ? element("p", { className: "badge" }, t("trial.training")) : null,
      element("h1", {}, t(`${this.words}.question`)),
      element("p", { className: "hint" }, t(`${this.words}.hint`)),
      this.transport(),
      this.alarm,
      this.answer.body,
      element("div", { className: "foot" }, this.missing, this.nextButton),
      this.keyHelp(),
    );
    listenToKeys((key) => this.onKey(key));
    this.test.renew = () => {
      this.answer.renew();
      this.refresh();
    };
    this.refresh();
    watchSound(this.test, this.player, this.alarm, () => this.tick());
  }

  /** The answer known for a clip, or undefined. */
  value(name) {
    return this.test.answers.value(this.trial.id, name);
  }

  /** Saves an answer. */
  record(name, value) {
    const shown = performance.now() - this.test.shownAt;
    this.test.answers.record(this.trial.id, name, value, shown, this.player.plays.get(name) ?? 0);
    this.refreshNext();
  }

  // The clips that have no slider, play and pause, and the position in the clip.
  transport() {
    const inTransport = [...this.letters].filter(([, name]) => !this.answer.hasButton(name));
    this.playButton = button("play", "Space", () => this.toggle());
    this.position = element("div", { className: "position", "aria-hidden": "true" }, element("div"));
    return element(
      "div",
      { className: "transport", role: "group", "aria-label": t("trial.recordings") },
      ...inTransport.map(([letter, name]) => this.clipButton(letter, name)),
      this.letters.size > 1 ? this.playButton : null,
      this.position,
    );
  }

  /** The button that plays a clip. */
  clipButton(letter, name) {
    const words = this.wordsFor(name);
    const made = button("clip", letter, () => this.choose(name), element("span", { className: "words" }, words));
    if (words !== letter) made.append(keyHint(letter));
    else made.setAttribute("aria-label", t("play_one", { name: letter }));
    this.buttons.set(name, made);
    return made;
  }

  keyHelp() {
    const letters = [...this.letters.keys()].join(" ");
    return element(
      "details",
      { className: "keys" },
      element("summary", {}, t("trial.keys")),
      element("p", {}, t(`trial.${this.answer.help}`, { letters })),
      keySwitch(),
    );
  }

  onKey(key) {
    if (key === " ") return this.toggle();
    if (key === "N") return this.goOn();
    if (this.letters.has(key)) return this.choose(this.letters.get(key));
    return this.answer.onKey(key);
  }

  // A click on the clip that is playing pauses it.
  choose(name) {
    if (this.tooEarly(name)) return this.complain(t("trial.first", { name: this.wordsFor(this.first) }));
    if (this.player.playing && this.player.current === name) this.player.pause();
    else this.player.play(name);
    return this.announce();
  }

  tooEarly(name) {
    return FIRST_COMES_FIRST.includes(this.type) && name !== this.first && !this.heard(this.first);
  }

  toggle() {
    if (this.player.playing) this.player.pause();
    else this.player.play(this.player.current ?? this.first);
    return this.announce();
  }

  // Says to a screen reader what is playing, and moves the focus to where it is answered.
  announce() {
    const { playing, current } = this.player;
    this.told = null; // a complaint is over
    this.refreshNext();
    say(playing ? t("playing", { name: this.wordsFor(current) }) : t("paused"));
    if (playing) this.answer.focus(current);
    return true;
  }

  /** Says why something cannot be done now, to eyes and ears. */
  complain(text) {
    this.missing.textContent = text;
    this.missing.classList.add("urgent");
    say(text);
    return true;
  }

  /** What a clip is called on the page. */
  wordsFor(name) {
    if (name === this.trial.reference) return t(this.type === "smos" ? "trial.voice" : "trial.reference");
    if (this.type === "dcr") return t("trial.version");
    if (["acr", "smos", "words", "headphones"].includes(this.type)) return t("trial.recording");
    return [...this.letters].find(([, other]) => other === name)[0];
  }

  /** Turns to the next page if everything is done. */
  goOn() {
    this.answer.save();
    if (this.lacking()) return this.complain(this.lacking());
    this.next();
    return true;
  }

  heard(name) {
    return this.heardBefore.has(name) || this.player.heard(name);
  }

  /** What is still to be heard, in words; "" if nothing is. */
  unheard() {
    const names = [...this.letters.values()].filter((name) => !this.heard(name)).map((name) => this.wordsFor(name));
    return names.length ? t("trial.unheard", { list: names.join(", ") }) : "";
  }

  // What remains to be done before the next page, in words; "" if nothing does.
  lacking() {
    const unrated = this.rated.filter((name) => ["", undefined].includes(this.value(name)));
    return this.unheard() || (unrated.length ? this.answer.lacking(unrated) : "");
  }

  refresh() {
    const { playing, current } = this.player;
    for (const [name, made] of this.buttons) made.setAttribute("aria-pressed", playing && name === current);
    this.playButton.replaceChildren(t(playing ? "pause" : "play"), keyHint(t("trial.space")));
    this.answer.refresh(playing ? current : null);
    this.refreshNext();
  }

  /** Shows whether the next page may come, and what is missing. */
  refreshNext() {
    const lacking = this.lacking();
    if (this.told !== lacking) {
      this.told = this.missing.textContent = lacking;
      this.missing.classList.remove("urgent");
    }
    this.nextButton.setAttribute("aria-disabled", Boolean(lacking));
    for (const [name, made] of this.buttons) made.setAttribute("aria-disabled", this.tooEarly(name));
    this.answer.allow(!this.unheard());
  }

  // Updates the position while this trial is on the page.
  tick() {
    const { player } = this;
    const { duration } = player.clips.get(player.current ?? this.first);
    this.position.firstChild.style.transform = `scaleX(${player.position / duration})`;
    if (player.playing) this.refreshNext();
  }
}
