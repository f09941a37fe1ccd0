// What the browser's own storage keeps of a test: the answers that the server does not have, and the page reached.
//
// Windows of the same test share it. Each change is read, made and written at once, so that no window writes over what
// another one has added.

export class Kept {
  /** onchange is called when another window has changed something. */
  constructor(session, token, onchange) {
    this.name = session.run ? `listening ${token} ${session.run}` : `listening ${token}`;
    this.memory = { events: [], page: 0 };
    this.stores = !session.preview;
    addEventListener("storage", (event) => event.key === this.name && onchange());
  }

  /** The answers, oldest first: [{ trial, stimulus, seq, value, client_ms, … }]. */
  get events() {
    return this.read().events;
  }

  /** The page reached. */
  get page() {
    return this.read().page;
  }

  /** Changes the content by a function that gets { events, page }. */
  change(edit) {
    const kept = this.read();
    edit(kept);
    this.memory = kept;
    try {
      if (this.stores) localStorage.setItem(this.name, JSON.stringify(kept));
    } catch {
      this.stores = false; // off or full: answers are kept as long as the page is open
    }
  }

  /** Removes answers, also if another window has given them new numbers. */
  remove(events) {
    const name = ({ trial, stimulus, value, client_ms }) => JSON.stringify([trial, stimulus, value, client_ms]);
    const gone = new Set(events.map(name));
    this.change((kept) => (kept.events = kept.events.filter((event) => !gone.has(name(event)))));
  }

  read() {
    try {
      if (this.stores) return JSON.parse(localStorage.getItem(this.name)) ?? { events: [], page: 0 };
    } catch {
      this.stores = false;
    }
    return this.memory;
  }
}
