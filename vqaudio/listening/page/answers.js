// Keeps the listener's answers until the server has them on disk.
//
// Every answer gets the next sequence number, is put into the browser's own storage, and is then sent. An answer that
// is not acknowledged is sent again: after a pause, or when the page is opened again. Without a server (a static test)
// nothing is sent, and the storage becomes the result file. Windows of the same test share the storage.

import { Kept } from "./kept.js";

const FORMAT = "vqaudio-listening-1";
const BATCH = 100; // answers per request
const TEXTS = 5; // texts per request, of up to 8 kB each: browsers finish requests of 64 kB when a page is closed
const MAX_WAIT = 10_000; // milliseconds between attempts

export class Answers {
  /**
   * Starts from the session as the server knows it, and the answers that this browser has not sent yet.
   *
   * onstate is called with "saved", "saving", "waiting" or "refused"; onothers when answers came from another window,
   * onelsewhere when that window belongs to another browser.
   */
  constructor(session, token, { onstate, onothers, onelsewhere }) {
    this.session = session;
    this.token = token;
    this.onstate = onstate;
    this.onothers = onothers;
    this.onelsewhere = onelsewhere;
    this.sends = !session.static;
    this.values = new Map();
    this.take(session.values);
    this.kept = new Kept(session, token, () => this.merge());
    this.sentPage = session.page;
    this.nextSeq = session.next_seq;
    this.answered = session.values.length > 0;
    this.merge();
    this.page = Math.max(session.page, this.kept.page);
    this.flush();
  }

  /** The value last given to a stimulus of a trial, or undefined. */
  value(trial, stimulus) {
    return this.values.get(`${trial} ${stimulus}`);
  }

  /** Saves an answer, with the time since its page was shown (ms) and how often its stimulus was played. */
  record(trial, stimulus, value, shown_ms, plays) {
    if (this.value(trial, stimulus) === value) return;
    this.values.set(`${trial} ${stimulus}`, value);
    const client_ms = Date.now();
    this.kept.change(({ events }) => {
      this.nextSeq = Math.max(this.nextSeq, ...events.map((event) => event.seq + 1));
      events.push({ trial, stimulus, seq: this.nextSeq++, value, client_ms, shown_ms: Math.round(shown_ms), plays });
    });
    this.answered = true;
    this.flush();
  }

  /** Saves that a page has been reached; the listener returns to it later. */
  reach(page) {
    this.page = Math.max(this.page, page);
    this.kept.change((kept) => (kept.page = Math.max(kept.page, page)));
    this.flush();
  }

  /** The result file of a static test. */
  result() {
    const { events, page } = this.kept;
    return JSON.stringify({ format: FORMAT, token: this.token, run: this.session.run, page, events });
  }

  get saved() {
    return !this.sends || (this.kept.events.length === 0 && this.sentPage >= this.page);
  }

  /** Waits until the server has everything; returns false if it refuses something. */
  async settled() {
    while (!this.saved) {
      await this.flush();
      if (this.refused) return false;
    }
    return true;
  }

  /** Sends what the server does not have yet; answers given meanwhile go with it. */
  flush() {
    this.running ??= this.send().finally(() => {
      this.running = undefined;
      if (!this.saved && !this.refused) this.flush();
    });
    return this.running;
  }

  async send() {
    this.refused = false;
    let wait = 500;
    while (!this.saved) {
      this.onstate(wait > 500 ? "waiting" : "saving");
      const outcome = await this.sendSome().catch(() => "again"); // no connection
      if (outcome === "refused") {
        this.refused = true;
        return this.onstate("refused"); // the answers stay in this browser
      }
      wait = outcome === "sent" ? 500 : Math.min(2 * wait, MAX_WAIT);
      if (outcome === "again") await sleep(wait);
    }
    this.onstate("saved");
  }

  // Sends the oldest answers, or the page once there are none.
  async sendSome() {
    const { events: all } = this.kept;
    const texts = all.some(({ value }) => typeof value === "string");
    const events = all.slice(0, texts ? TEXTS : BATCH);
    const page = this.page;
    const response = await (events.length
      ? request("api/events", this.token, { events })
      : request("api/page", this.token, { page }));
    if (response.ok) {
      if (events.length) this.kept.remove(events);
      else this.sentPage = page;
      return "sent";
    }
    if (response.status === 409) {
      await this.renumber((await response.json()).next_seq);
      return "sent";
    }
    return mayWorkLater(response) ? "again" : "refused";
  }

  // A window elsewhere has used these numbers: ours continue after them, and its answers are shown here.
  async renumber(next_seq) {
    this.kept.change(({ events }) => {
      // Another window of this browser may have done it already.
      if (events.some(({ seq }) => seq < next_seq)) events.forEach((event, i) => (event.seq = next_seq + i));
      this.nextSeq = Math.max(next_seq + events.length, ...events.map(({ seq }) => seq + 1));
    });
    const response = await request("api/session", this.token);
    if (response.ok) this.take((await response.json()).values);
    this.merge();
    this.onelsewhere();
  }

  // Takes the answers that the server has.
  take(values) {
    for (const [trial, stimulus, value] of values) this.values.set(`${trial} ${stimulus}`, value);
  }

  // Takes the answers in the storage, also those of other windows.
  merge() {
    const { events } = this.kept;
    for (const { trial, stimulus, value } of events) this.values.set(`${trial} ${stimulus}`, value);
    this.nextSeq = Math.max(this.nextSeq, ...events.map(({ seq }) => seq + 1));
    this.answered ||= events.length > 0;
    this.onothers();
  }
}

/** Sends a request with the token of a listener, if there is one: a POST if there is a body. */
export function request(path, token, body) {
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  if (body === undefined) return fetch(path, { headers });
  headers["Content-Type"] = "application/json";
  // keepalive: the browser finishes the request even if the tab is closed
  return fetch(path, { method: "POST", headers, body: JSON.stringify(body), keepalive: true });
}

/** Sends a request until the server can answer it. */
export async function insist(path, token, body) {
  for (let wait = 500; ; wait = Math.min(2 * wait, MAX_WAIT)) {
    const response = await request(path, token, body).catch(() => null);
    if (response && !mayWorkLater(response)) return response;
    await sleep(wait);
  }
}

function mayWorkLater(response) {
  return response.status === 429 || response.status >= 500;
}

function sleep(milliseconds) {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
