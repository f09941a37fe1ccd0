// The pages before and after the trials.

import { element, keyHint, listenToKeys, say, show } from "./dom.js";
import { Player } from "./player.js";
import { WORDS } from "./words.js";

const ABOUT = [
  "Please use headphones or good loudspeakers, in a quiet room.",
  "Take your time, and take a break whenever you like.",
];

export function showWelcome({ session }, next) {
  const trials = session.trials.filter((trial) => !trial.training).length;
  const keeps = session.static
    ? "Every answer is kept in this browser at once; at the end you download a small file and send it back. " +
      "If you close the window, open the same link in the same browser to continue where you were."
    : "Every answer is saved at once. If you close the window, open the same link again to continue where you were.";
  show(
    element("h1", {}, "Thank you for listening"),
    element("p", { className: "lead" }, WORDS[session.type].task),
    element(
      "ul",
      {},
      ...[...ABOUT, `After some training there ${trials === 1 ? "is one trial" : `are ${trials} trials`}.`, keeps].map(
        (text) => element("li", {}, text),
      ),
    ),
    element("p", { className: "hint" }, "Only your answers and their times are stored. Your name is not asked for."),
    nextButton("Begin", next),
  );
  listenToKeys((key) => {
    if (key === "N") next();
    return key === "N";
  });
}

export async function showVolume(test, next) {
  const trial = test.session.trials[0];
  const name = trial.reference ?? trial.stimuli[0];
  let clips;
  try {
    clips = new Map([[name, await test.clip(name)]]);
  } catch {
    return showMessage("The sound could not be loaded", "Please check the connection.", () => showVolume(test, next));
  }
  const player = new Player(() => test.openContext(), clips, true);
  const play = element("button", { type: "button", className: "play", onclick: toggle, "aria-keyshortcuts": "Space" });
  const button = nextButton("The volume is right", () => {
    player.pause();
    next();
  });
  button.disabled = true;
  show(
    element("h1", {}, "Set the volume"),
    element("p", { className: "lead" }, "Play the recording and set your volume so that it is comfortable and clear."),
    element("p", { className: "hint" }, "Please do not change the volume after that."),
    element("p", {}, play),
    button,
  );
  player.onchange = refresh;
  refresh();
  listenToKeys((key) => {
    if (key === " ") toggle();
    else if (key === "N") button.click();
    else return false;
    return true;
  });

  function toggle() {
    if (player.playing) player.pause();
    else player.play(name);
    button.disabled = false;
    say(player.playing ? "Playing" : "Paused");
  }
  function refresh() {
    play.replaceChildren(player.playing ? "Pause" : "Play", keyHint("space"));
    play.dataset.playing = player.playing;
  }
}

export function showEnd({ session, answers }) {
  const children = [element("h1", {}, "That was all: thank you!")];
  if (session.static) {
    const file = new Blob([answers.result()], { type: "application/json" });
    const link = element("a", {
      className: "button",
      href: URL.createObjectURL(file),
      download: `listening-result-${answers.token.replace(/[^A-Za-z0-9]/g, "").slice(0, 8)}.json`,
    });
    link.append("Download the result");
    children.push(
      element("p", { className: "lead" }, "Please download your result and send it to the person who gave you the link."),
      element("p", {}, link),
    );
  } else {
    const lead = element("p", { className: "lead", role: "status" });
    const tell = () => {
      lead.textContent = answers.saved
        ? "All your answers are saved. You may close this window."
        : "Your last answers are being sent. Please wait a moment.";
    };
    const before = answers.onstate;
    answers.onstate = (state) => {
      before(state);
      tell();
    };
    tell();
    children.push(lead);
  }
  show(...children);
}

/** Shows a message, with a button to try again if that may help. */
export function showMessage(title, text, again) {
  const button = again ? element("button", { type: "button", className: "next", onclick: again }, "Try again") : null;
  show(element("h1", {}, title), element("p", { className: "lead" }, text), button);
}

// The button to the next page; the page makes the key N do the same.
function nextButton(text, next) {
  const button = element("button", { type: "button", className: "next", "aria-keyshortcuts": "N" }, text, keyHint("N"));
  button.onclick = next;
  return button;
}
