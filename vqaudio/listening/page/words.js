// The texts of the page by type of test. The scales are worded as in ITU-R BS.1534-3 and ITU-T P.800.

const quality = ["Excellent", "Good", "Fair", "Poor", "Bad"];

// An option: [value, words, key]
const numbered = (words) => words.map((text, i) => [5 - i, text, String(5 - i)]);

export const WORDS = {
  mushra: {
    task: "You will hear a reference and several versions of it, and rate how good each is compared with the reference.",
    question: "How good is each version, compared with the reference?",
    hint:
      "One of them is the reference itself: give 100 to a version that you cannot tell from the reference. " +
      "You can move the slider of the version that is playing.",
    bands: quality,
  },
  acr: {
    task: "You will hear short recordings of speech, one at a time, and say how good each one sounds.",
    question: "How good does this recording sound?",
    hint: "Listen to the end, then choose. You may listen again.",
    options: numbered(quality),
  },
  dcr: {
    task: "You will hear a reference and then a version of it, and say how much worse the version is.",
    question: "How much worse is the version than the reference?",
    hint: "Listen to the reference first, then to the version, both to the end. You may listen again.",
    options: numbered([
      "Degradation is inaudible",
      "Degradation is audible but not annoying",
      "Degradation is slightly annoying",
      "Degradation is annoying",
      "Degradation is very annoying",
    ]),
  },
  ccr: {
    task: "You will hear two versions of a recording, A and B, and say how B compares with A.",
    question: "How good is B, compared with A?",
    hint: "Listen to A first, then to B, both to the end. You may listen again.",
    options: [
      [3, "Much better", "7"],
      [2, "Better", "6"],
      [1, "Slightly better", "5"],
      [0, "About the same", "4"],
      [-1, "Slightly worse", "3"],
      [-2, "Worse", "2"],
      [-3, "Much worse", "1"],
    ],
  },
  ab: {
    task: "You will hear two versions of a recording, A and B, and say which of them you prefer.",
    question: "Which of the two do you prefer?",
    hint: "Listen to both. You may switch between them at any moment.",
    options: [
      [-1, "A", "1"],
      [0, "No preference", "2"],
      [1, "B", "3"],
    ],
  },
  abx: {
    task: "You will hear two versions of a recording, A and B, and X, which is one of the two. Say which one.",
    question: "Which of the two is X?",
    hint: "Listen to all three. You may switch between them at any moment. If you are not sure, guess.",
    options: [
      [-1, "X is A", "1"],
      [1, "X is B", "2"],
    ],
  },
};

/** Types whose clips loop and are switched in step; clips of other types are heard from beginning to end. */
export const LOOPING = new Set(["mushra", "ab", "abx"]);
