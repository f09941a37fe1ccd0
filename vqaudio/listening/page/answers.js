// Keeps the listener's answers until the server has them on disk.
//
// Every answer gets the next sequence number, is put into the browser's own storage, and is then sent. An answer that
// is not acknowledged is sent again: after a pause, or when the page is opened again. Without a server (a static test)
// nothing is sent, and the storage becomes the result file.

const FORMAT = "vqaudio-listening-1";
const BATCH = 100; // answers per request
const MAX_WAIT = 10_000; // milliseconds between attempts

export class Answers {
  /** Starts from the session as the server knows it, and the answers that this browser has not sent yet. */
  constructor(session, token, onstate) {
    this.token = token;
    this.static = Boolean(session.static);
    this.onstate = onstate;
    this.values = new Map(session.values.map(([trial, stimulus, value]) => [`${trial} ${stimulus}`, value]));
    const kept = this.load();
    this.pending = kept.events;
    this.page = Math.max(session.page, kept.page);
    this.sentPage = session.page;
    this.nextSeq = Math.max(session.next_seq, ...this.pending.map((event) => event.seq + 1));
    for (const event of this.pending) this.values.set(`${event.trial} ${event.stimulus}`, event.value);
    this.sending = false;
    this.flush();
  }

  /** The value last given to a stimulus of a trial, or undefined. */
  value(trial, stimulus) {
    return this.values.get(`${trial} ${stimulus}`);
  }

  /** Saves an answer. */
  record(trial, stimulus, value) {
    if (this.value(trial, stimulus) === value) return;
    this.values.set(`${trial} ${stimulus}`, value);
    this.pending.push({ trial, stimulus, seq: this.nextSeq++, value, client_ms: Date.now() });
    this.keep();
    this.flush();
  }

  /** Saves that a page has been reached; the listener returns to it later. */
  reach(page) {
    this.page = Math.max(this.page, page);
    this.keep();
    this.flush();
  }

  /** The result file of a static test. */
  result() {
    return JSON.stringify({ format: FORMAT, token: this.token, page: this.page, events: this.pending });
  }

  get saved() {
    return this.static || (this.pending.length === 0 && this.sentPage >= this.page);
  }

  async flush() {
    if (this.sending || this.saved) return this.onstate(this.saved ? "saved" : "saving");
    this.sending = true;
    let wait = 500;
    while (!this.saved) {
      this.onstate(wait > 500 ? "waiting" : "saving");
      const outcome = await this.sendSome().catch(() => "again"); // no connection
      if (outcome === "refused") {
        this.onstate("refused"); // the answers stay in this browser
        break;
      }
      wait = outcome === "sent" ? 500 : Math.min(2 * wait, MAX_WAIT);
      if (outcome === "again") await new Promise((resolve) => setTimeout(resolve, wait));
    }
    this.sending = false;
    if (this.saved) this.onstate("saved");
  }

  // Sends the oldest answers, or the page once there are none.
  async sendSome() {
    const events = this.pending.slice(0, BATCH);
    const page = this.page;
    const response = await (events.length
      ? request("api/events", this.token, { events })
      : request("api/page", this.token, { page }));
    if (response.ok) {
      if (events.length) this.pending.splice(0, events.length);
      else this.sentPage = page;
      this.keep();
      return "sent";
    }
    if (response.status === 409) {
      // Another window has used these numbers; ours continue after them.
      const { next_seq } = await response.json();
      this.pending.forEach((event, i) => (event.seq = next_seq + i));
      this.nextSeq = next_seq + this.pending.length;
      this.keep();
      return "sent";
    }
    return response.status === 429 || response.status >= 500 ? "again" : "refused";
  }

  load() {
    try {
      const kept = JSON.parse(localStorage.getItem(`listening ${this.token}`));
      return kept ?? { events: [], page: 0 };
    } catch {
      return { events: [], page: 0 }; // storage is off: answers are kept while the page is open
    }
  }

  keep() {
    try {
      localStorage.setItem(`listening ${this.token}`, JSON.stringify({ events: this.pending, page: this.page }));
    } catch {
      // As above.
    }
  }
}

/** Sends a request with the token of a listener: a POST if there is a body. */
export function request(path, token, body) {
  const headers = { Authorization: `Bearer ${token}` };
  if (body === undefined) return fetch(path, { headers });
  headers["Content-Type"] = "application/json";
  // keepalive: the browser finishes the request even if the tab is closed
  return fetch(path, { method: "POST", headers, body: JSON.stringify(body), keepalive: true });
}
