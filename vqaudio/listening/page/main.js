// Leads through the pages of a test. A listener returns to the page last reached.

import { Answers, insist, request } from "./answers.js";
import { leave, say } from "./dom.js";
import { showForm } from "./form.js";
import { findToken } from "./join.js";
import { showConsent, showEnd, showLoading, showMessage, showOutcome, showVolume, showWelcome } from "./pages.js";
import { Sound } from "./sound.js";
import { t, useFirstTexts, useTexts } from "./texts.js";
import { showTrial } from "./trial.js";
import { watchWindows } from "./windows.js";

const LOADING = 150; // milliseconds after which a page that is not there yet says so

addEventListener("hashchange", () => location.reload());

/** What every page works with; renew shows answers of another window on the page. */
const test = { session: null, answers: null, sound: null, token: null, renew: () => {}, shownAt: 0, ask };

async function begin() {
  useFirstTexts();
  test.token = await findToken();
  if (test.token === null) return;
  try {
    test.session = await loadSession();
  } catch (error) {
    return showMessage(t("first.failed_title"), error.message, begin);
  }
  const { session } = test;
  useTexts(session.texts, session.language);
  showNames();
  test.sound = new Sound(session);
  test.answers = new Answers(session, test.token, {
    onstate: showSaved,
    onothers: () => test.renew(),
    onelsewhere: () => {
      elsewhere = true;
      showOtherWindow(true);
      test.renew();
    },
  });
  watchWindows(test.answers.kept.name, showOtherWindow);
  addEventListener("beforeunload", (event) => {
    if (!test.answers.saved) event.preventDefault();
  });
  if (session.outcome) return showOutcome(session, session.outcome);
  open(Math.min(test.answers.page, session.pages.length - 1));
}

async function loadSession() {
  // Our server always answers in JSON; any other server has a static test, with a file for each listener.
  let response = await request("api/session", test.token).catch(() => null);
  const ours = response?.headers.get("Content-Type")?.includes("json");
  if (!ours) response = await fetch(`sessions/${encodeURIComponent(test.token)}.json`).catch(() => null);
  if (!response) throw new Error(t("first.no_connection"));
  if (response.status === 401 || response.status === 404) throw new Error(t("first.unknown"));
  if (!response.ok) throw new Error(t("first.busy"));
  return response.json();
}

let turning = false; // while a page is on its way, nothing else opens one

// Turns to a page: fetches its clips, and says so if that takes longer than a moment.
async function open(index) {
  if (turning) return;
  turning = true;
  leave();
  const page = test.session.pages[index];
  const names = clipsOf(page);
  const waiting = setTimeout(() => showLoading(test.sound, names), LOADING);
  try {
    const clips = await test.sound.clips(names);
    clearTimeout(waiting);
    await show(page, index, clips);
  } catch (error) {
    console.error(error);
    showMessage(t("loading.failed_title"), t("loading.failed"), () => open(index));
  } finally {
    clearTimeout(waiting);
    turning = false;
  }
}

function show(page, index, clips) {
  const { answers, sound } = test;
  sound.onstop = sound.onprogress = test.renew = () => {};
  const next = () => goOn(index, clips);
  answers.reach(index);
  const pages = { welcome: showWelcome, consent: showConsent, form: showForm, volume: showVolume, trial: showTrial, end: showEnd };
  const shown = pages[page.kind](test, page, next, clips);
  test.shownAt = performance.now();
  showPlace(page, index);
  const ahead = test.session.pages.slice(index + 1).map(clipsOf).find((names) => names.length);
  if (ahead) sound.clips(ahead).catch(() => {}); // tried again when its page is opened
  return shown; // a promise for the end, which asks the server
}

function clipsOf(page) {
  if (page.kind === "volume") return [page.clip];
  if (page.kind !== "trial") return [];
  const { reference, stimuli, x } = test.session.trials[page.trial];
  return [...new Set([reference, ...stimuli, x].filter(Boolean))];
}

// Leaves a page; behind a gate the server decides whether the test goes on for this listener.
async function goOn(index, clips) {
  if (turning) return;
  if (test.session.pages[index].gate && !(await passed(index))) return;
  await open(index + 1);
  if (clips) test.sound.forget([...clips.keys()]);
}

async function passed(index) {
  const outcome = await ask("api/gate", { page: index }, t("loading.refused_title"), () => open(index));
  if (outcome?.outcome) showOutcome(test.session, outcome);
  return outcome && !outcome.outcome;
}

// Asks the server for an outcome when it has all answers; shows what it refuses, and returns null.
async function ask(path, body, refusal, again) {
  if (!test.answers.sends) return { outcome: null };
  turning = true;
  leave();
  const waiting = setTimeout(() => showMessage(t("loading.sending_title"), t("loading.sending")), LOADING);
  try {
    if (!(await test.answers.settled())) return showMessage(refusal, t("state.refused"), again);
    const response = await insist(path, test.token, body);
    if (response.ok) return await response.json();
    const { error } = await response.json().catch(() => ({}));
    return showMessage(refusal, error ?? "", again);
  } finally {
    clearTimeout(waiting);
    turning = false;
  }
}

// The parts of the page that stay.
function showNames() {
  const { session } = test;
  document.title = session.title ?? t("name");
  document.querySelector(".name").textContent = document.title;
  document.getElementById("progress").setAttribute("aria-label", t("done_part"));
  if (session.preview) document.getElementById("preview").textContent = t("preview");
}

function showPlace(page, index) {
  const { trials, pages } = test.session;
  let text = "";
  if (page.kind === "trial") {
    const trial = trials[page.trial];
    const alike = trials.filter((other) => !other.check && other.training === trial.training);
    const values = { n: alike.indexOf(trial) + 1, of: alike.length };
    if (trial.check) text = t("place.check");
    else if (!trial.training) text = t("place.trial_of", values);
    else text = alike.length > 1 ? t("place.training_of", values) : t("place.training");
  }
  document.getElementById("place").textContent = text;
  document.getElementById("progress").value = index / (pages.length - 1);
}

let trouble = false;

// Shown always, but said to a screen reader only when answers cannot be saved, and when that is over.
function showSaved(state) {
  const { session, answers } = test;
  const saved = document.getElementById("saved");
  const inTrouble = state === "waiting" || state === "refused";
  let text = t(`state.${session.static && state === "saved" ? "kept" : state}`);
  if (session.preview || (!inTrouble && !answers?.answered)) text = "";
  saved.textContent = text;
  saved.dataset.state = state;
  if (inTrouble !== trouble && (inTrouble || state === "saved")) {
    trouble = inTrouble;
    say(text);
  }
}

let elsewhere = false; // whether a window of another browser has been noticed, which cannot be asked

function showOtherWindow(there) {
  const note = document.getElementById("note");
  const text = there || elsewhere ? t("other_window") : "";
  if (note.textContent !== text) note.textContent = text; // screen readers say it once
}

begin();
