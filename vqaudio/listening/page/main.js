// Leads through a test: welcome, volume, training, trials, end. A listener returns to the page last reached.

import { Answers, request } from "./answers.js";
import { decode } from "./player.js";
import { showTrial } from "./trial.js";
import { showEnd, showMessage, showVolume, showWelcome } from "./pages.js";

const STATES = {
  saved: "All answers saved",
  saving: "Saving …",
  waiting: "No connection: your answers are kept here and sent as soon as possible",
  refused: "Your answers could not be saved: please tell the person who sent you this link",
};
const BEFORE = 2; // pages before the first trial

// The token comes after the #, which browsers do not send to servers.
const token = decodeURIComponent(location.hash.slice(1));
addEventListener("hashchange", () => location.reload());

/** What every page works with. */
const test = {
  session: null,
  answers: null,
  /** The audio context, made at the listener's first command to play. */
  openContext() {
    this.context ??= new AudioContext({ sampleRate: this.session.sample_rate, latencyHint: "interactive" });
    if (this.context.state === "suspended") this.context.resume();
    return this.context;
  },
  /** The clips of a trial by name, decoded; each is fetched once. */
  clips(trial) {
    const names = [trial.reference, ...trial.stimuli, trial.x].filter(Boolean);
    trial.loading ??= Promise.all(names.map(async (name) => [name, await this.clip(name)])).then((all) => new Map(all));
    trial.loading.catch(() => (trial.loading = undefined)); // the next call tries again
    return trial.loading;
  },
  async clip(name) {
    const response = await fetch(`audio/${name}.wav`);
    if (!response.ok) throw new Error(`audio: ${response.status}`);
    return decode(await response.arrayBuffer(), this.session.sample_rate);
  },
};

async function begin() {
  if (!token) return showMessage("This address is not complete", "Please open the whole link that was sent to you.");
  try {
    test.session = await loadSession();
  } catch (error) {
    return showMessage("The test could not be loaded", error.message, begin);
  }
  test.answers = new Answers(test.session, token, showSaved);
  addEventListener("beforeunload", (event) => {
    if (!test.answers.saved) event.preventDefault();
  });
  open(test.answers.page);
}

async function loadSession() {
  // Our server always answers in JSON; any other server has a static test, with a file for each listener.
  let response = await request("api/session", token).catch(() => null);
  const ours = response?.headers.get("Content-Type")?.includes("json");
  if (!ours) response = await fetch(`sessions/${encodeURIComponent(token)}.json`).catch(() => null);
  if (!response) throw new Error("There is no connection. Please try again.");
  if (response.status === 401 || response.status === 404) throw new Error("This link is unknown. Please check it.");
  if (!response.ok) throw new Error("The server is busy. Please try again in a moment.");
  return response.json();
}

async function open(page) {
  const { session, answers } = test;
  const count = session.trials.length;
  const index = page - BEFORE;
  const next = () => {
    if (index >= 0) session.trials[index].loading = undefined; // its audio is no longer needed
    open(page + 1);
  };
  answers.reach(page);
  if (page === 0) showWelcome(test, next);
  else if (page === 1) await showVolume(test, next);
  else if (index >= count) showEnd(test);
  else await showTrial(test, session.trials[index], next);
  showPlace(index, count);
  if (index + 1 < count) test.clips(session.trials[Math.max(0, index + 1)]).catch(() => {}); // ahead of time
}

function showPlace(index, count) {
  const { trials } = test.session;
  const training = trials.filter((trial) => trial.training).length;
  let text = "";
  if (index >= 0 && index < training) text = training > 1 ? `Training ${index + 1} of ${training}` : "Training";
  else if (index >= training && index < count) text = `Trial ${index - training + 1} of ${count - training}`;
  document.getElementById("place").textContent = text;
  document.getElementById("progress").value = Math.max(0, index) / count;
}

function showSaved(state) {
  const saved = document.getElementById("saved");
  if (test.session.static && state === "saved") saved.textContent = "Answers kept in this browser";
  else saved.textContent = STATES[state];
  saved.dataset.state = state;
}

begin();
