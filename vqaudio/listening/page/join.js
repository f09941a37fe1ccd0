// From the address to the token of a listener: it comes after the #, or from the server if the address is one for all.

import { insist, request } from "./answers.js";
import { showFull, showMessage } from "./pages.js";
import { t, useTexts } from "./texts.js";

const NAME = `listening token ${location.pathname}`; // under which a browser without an identifier keeps its token
const MTURK_PREVIEW = "ASSIGNMENT_ID_NOT_AVAILABLE";

/** Returns the token, or shows why there is none and returns null. */
export async function findToken() {
  const [, text] = location.hash.split(/^#/);
  if (!text) return join();
  try {
    return decodeURIComponent(text); // after the #, which browsers do not send to servers
  } catch {
    return notComplete(); // cut off within a letter
  }
}

function notComplete() {
  showMessage(t("first.incomplete_title"), t("first.incomplete"));
  return null;
}

async function join() {
  const response = await request("api/study").catch(() => null);
  if (!response?.ok || !response.headers.get("Content-Type")?.includes("json")) return notComplete();
  const study = await response.json();
  useTexts({ ...study.texts, first: t("first") }, study.language);
  const query = new URLSearchParams(location.search);
  if (query.get("assignmentId") === MTURK_PREVIEW) return refuse("join.preview");
  const name = study.parameters.find((parameter) => query.get(parameter));
  const person = name ? query.get(name) : null;
  if (study.required && !person) return refuse("join.lacking");
  const answer = await insist("api/join", null, { person, token: person ? null : keptToken() });
  const found = await answer.json();
  if (answer.status === 409) return showFull(found);
  if (!answer.ok) return refuse("join.lacking");
  if (!person) keepToken(found.token);
  return found.token;
}

function refuse(name) {
  showMessage(t(`${name}_title`), t(name));
  return null;
}

function keptToken() {
  try {
    return localStorage.getItem(NAME);
  } catch {
    return null; // storage is off: a reload then begins anew
  }
}

function keepToken(token) {
  try {
    localStorage.setItem(NAME, token);
  } catch {
    // As above.
  }
}
