// The pages before and after the trials.

import { button, element, keyHint, listenToKeys, nextButton, nextByKey, say, show, whenLeft } from "./dom.js";
import { Player } from "./player.js";
import { t } from "./texts.js";

export function showWelcome({ session }, page, next) {
  const begin = nextButton(t("welcome.begin"), next);
  const words = t(`types.${wordsOf(session.type, session.attribute)}.task`);
  const contact = session.contact ? t("welcome.contact", { contact: session.contact }) : null;
  show(
    element("h1", {}, session.title ?? t("welcome.title")),
    element("p", { className: "lead" }, words),
    element("ul", {}, ...aboutTest(session).map((text) => element("li", {}, text))),
    element("p", { className: "hint" }, storedData(session)),
    contact && element("p", { className: "hint" }, contact),
    begin,
  );
  nextByKey(begin);
}

function aboutTest(session) {
  const { minutes } = session;
  const count = (kind) => session.trials.filter((trial) => kind === (trial.check ? "check" : trial.training)).length;
  const named = (name, n) => t(n === 1 ? `welcome.${name}_one` : `welcome.${name}`, { n });
  return [
    minutes ? named("minutes", minutes) : null,
    t("welcome.room"),
    named("trials", count(false)),
    count(true) ? named("training", count(true)) : null,
    count("check") ? t("welcome.checks") : null,
    t("welcome.pause"),
    session.preview ? null : t(session.static ? "welcome.kept" : "welcome.saved"),
  ].filter(Boolean);
}

function storedData({ pages, platform, preview }) {
  if (preview) return t("preview");
  const stored = t(pages.some(({ kind }) => kind === "form") ? "welcome.stored_form" : "welcome.stored");
  return platform ? `${stored} ${t("welcome.stored_platform")}` : stored;
}

/** The name of the words of a type of trial; a question about an attribute has words of its own. */
export function wordsOf(type, attribute) {
  return type === "acr" && attribute ? `acr_${attribute}` : type;
}

export function showConsent(test, page, next) {
  const agree = nextButton(t("consent.agree"), () => {
    test.answers.record("form", "consent", 1, performance.now() - test.shownAt, 0);
    next();
  });
  show(
    element("h1", {}, t("consent.title")),
    ...page.text.split(/\n\s*\n/).map((text) => element("p", { className: "text" }, text.trim())),
    element("p", { className: "hint" }, t("consent.refuse")),
    agree,
  );
  nextByKey(agree);
}

export function showVolume(test, page, next, clips) {
  const player = new Player(() => test.sound.open(), clips, true);
  const play = button("play", "Space", toggle);
  const alarm = element("p", { className: "alarm", role: "alert" });
  const right = nextButton(t("volume.right"), () => (right.disabled ? say(t("volume.first")) : next()));
  right.disabled = true;
  show(
    element("h1", {}, t("volume.title")),
    element("p", { className: "lead" }, t("volume.lead")),
    element("p", { className: "hint" }, t("volume.keep")),
    element("p", {}, play),
    alarm,
    element(
      "details",
      { className: "help" },
      element("summary", {}, t("volume.nothing")),
      element("ul", {}, ...t("volume.help").map((text) => element("li", {}, text))),
    ),
    right,
  );
  player.onchange = refresh;
  watchSound(test, player, alarm, () => {
    if (player.playing && player.moved) right.disabled = false;
  });
  refresh();
  listenToKeys((key) => {
    if (key === " ") toggle();
    else if (key === "N") right.onclick();
    else return false;
    return true;
  });

  function toggle() {
    if (player.playing) player.pause();
    else player.play(page.clip);
    say(t(player.playing ? "playing" : "paused", { name: t("trial.recording") }));
  }
  function refresh() {
    play.replaceChildren(t(player.playing ? "pause" : "play"), keyHint(t("trial.space")));
    play.dataset.playing = player.playing;
  }
}

/**
 * Watches the player of the page on show: pauses it when the page is left or the browser stops the sound, says when
 * nothing comes out, and calls ontick for every picture.
 */
export function watchSound({ sound }, player, alarm, ontick) {
  const tell = (text) => alarm.textContent !== text && (alarm.textContent = text);
  sound.onstop = () => {
    if (!player.playing) return;
    player.pause();
    tell(t("sound.stopped"));
  };
  whenLeft(() => player.pause());
  const tick = () => {
    if (!alarm.isConnected) return;
    if (player.silent) tell(t("sound.silent"));
    else if (player.playing && player.moved) tell("");
    ontick();
    requestAnimationFrame(tick);
  };
  tick();
}

/** Shows how much of some clips has arrived. */
export function showLoading(sound, names) {
  const bar = element("progress", { max: 1, value: sound.part(names), "aria-label": t("loading.part") });
  sound.onprogress = () => (bar.value = sound.part(names));
  show(element("h1", {}, t("loading.title")), element("p", { className: "lead" }, t("loading.text")), bar);
}

export async function showEnd(test) {
  const { session, answers } = test;
  if (session.static) return showDownload(answers);
  const outcome = await test.ask("api/finish", {}, t("end.incomplete_title"), () => showEnd(test));
  if (outcome) showOutcome(session, outcome);
}

function showDownload(answers) {
  const file = new Blob([answers.result()], { type: "application/json" });
  const link = element("a", {
    className: "button",
    href: URL.createObjectURL(file),
    download: `listening-result-${answers.token.replace(/[^A-Za-z0-9]/g, "").slice(0, 8)}.json`,
  });
  link.append(t("end.download"));
  show(
    element("h1", {}, t("end.title")),
    element("p", { className: "lead" }, t("end.static")),
    element("p", {}, link),
  );
}

/** Shows that the test is over for a listener: { outcome: "finished" or "screened", code, url }. */
export function showOutcome({ preview }, { outcome, code, url }) {
  document.getElementById("place").textContent = "";
  if (outcome === "finished") showLast(t("end.title"), t(preview ? "end.preview" : "end.saved"), code, url);
  else showLast(t("end.screened_title"), t("end.screened"), code, url);
}

/** Shows that no more listeners are wanted: { code, url }; returns null. */
export function showFull({ code, url }) {
  showLast(t("join.full_title"), t("join.full"), code, url);
  return null;
}

// The last page, with the code for a platform and the way back to it, if there are any.
function showLast(title, text, code, url) {
  const field = element("input", { id: "code", className: "code", readOnly: true, value: code ?? "" });
  const copy = element("button", { type: "button", onclick: () => copyCode(field) }, t("end.copy"));
  show(
    element("h1", {}, title),
    element("p", { className: "lead" }, text),
    code ? element("label", { htmlFor: "code", className: "ask" }, t("end.code")) : null,
    code ? element("p", { className: "copy" }, field, copy) : null,
    url ? element("a", { className: "button", href: url }, t("end.link")) : null,
  );
}

async function copyCode(field) {
  field.select();
  // The clipboard of browsers needs https; the old command does not.
  if (navigator.clipboard) await navigator.clipboard.writeText(field.value).catch(() => document.execCommand("copy"));
  else document.execCommand("copy");
  say(t("end.copied"));
  field.nextElementSibling.textContent = t("end.copied");
}

/** Shows a message, with a button to try again if that may help; returns null. */
export function showMessage(title, text, again) {
  const retry = again ? element("button", { type: "button", className: "next", onclick: again }, t("again")) : null;
  show(element("h1", {}, title), element("p", { className: "lead" }, text), retry);
  return null;
}
