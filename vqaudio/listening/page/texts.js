// The words of the page. Those of a test come with its session; these here are for the time before that.

const FIRST = {
  en: {
    title: "Listening test",
    loading: "Loading …",
    again: "Try again",
    incomplete_title: "This address is not complete",
    incomplete: "Please open the whole link that was sent to you.",
    failed_title: "The test could not be loaded",
    no_connection: "There is no connection. Please try again.",
    unknown: "This link is unknown. Please check it.",
    busy: "The server is busy. Please try again in a moment.",
  },
  de: {
    title: "Hörtest",
    loading: "Wird geladen …",
    again: "Noch einmal versuchen",
    incomplete_title: "Diese Adresse ist nicht vollständig",
    incomplete: "Bitte öffnen Sie den ganzen Link, der Ihnen geschickt wurde.",
    failed_title: "Der Test konnte nicht geladen werden",
    no_connection: "Es gibt keine Verbindung. Bitte versuchen Sie es noch einmal.",
    unknown: "Dieser Link ist unbekannt. Bitte prüfen Sie ihn.",
    busy: "Der Server ist gerade überlastet. Bitte versuchen Sie es gleich noch einmal.",
  },
};

let texts = {};

/** Takes the words of a study, and tells the browser their language. */
export function useTexts(words, language) {
  texts = words;
  document.documentElement.lang = language;
}

/** Takes the words that need no session, in the language of the browser if it is one of theirs. */
export function useFirstTexts() {
  const language = navigator.language.slice(0, 2) in FIRST ? navigator.language.slice(0, 2) : "en";
  useTexts({ ...FIRST[language], first: FIRST[language] }, language);
}

/** The text, or the list of texts, of a name such as "volume.title", with {n} and the like filled in. */
export function t(name, values = {}) {
  const found = name.split(".").reduce((part, key) => part?.[key], texts);
  if (typeof found !== "string") return found;
  return found.replace(/\{(\w+)\}/g, (_, key) => values[key]);
}

/** A number with a minus sign instead of a hyphen. */
export function number(value) {
  return String(value).replace("-", "−");
}
