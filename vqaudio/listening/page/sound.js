// The sound of a test: fetches its clips, and holds the one audio context in which they are played.

import { decode } from "./player.js";

const PATIENCE = 3000; // milliseconds until a context whose time stands still is given up

export class Sound {
  /** @param {{ sample_rate: number, extension: string }} session */
  constructor(session) {
    this.sampleRate = session.sample_rate;
    this.extension = session.extension;
    this.fetched = new Map(); // name -> { clip: promise of an AudioBuffer, part: 0 to 1 }
    this.onstop = () => {};
    this.onprogress = () => {};
  }

  /**
   * The audio context, for a command of the listener to play. It is made at the first and woken at each one, since browsers
   * suspend it whenever they like (a call, a locked screen, no device); one that never moved is replaced.
   */
  open() {
    const stands = this.context?.currentTime === this.time && performance.now() - this.opened > PATIENCE;
    if (stands) {
      this.context.onstatechange = null;
      this.context.close();
    }
    if (!this.context || stands) {
      // Then iPhones play in silent mode, too, as they do for music.
      if (navigator.audioSession) navigator.audioSession.type = "playback";
      this.context = new AudioContext({ sampleRate: this.sampleRate, latencyHint: "interactive" });
      this.running = false;
      this.context.onstatechange = () => this.stateChanged();
    }
    if (this.context.state !== "running") this.context.resume().catch(() => {}); // the page sees that time stands still
    this.time = this.context.currentTime;
    this.opened = performance.now();
    return this.context;
  }

  stateChanged() {
    const stopped = this.running && this.context.state !== "running"; // "suspended", or "interrupted" on iPhones
    this.running = this.context.state === "running";
    if (stopped) this.onstop();
  }

  /** The clips of these names, decoded, by name; each is fetched once, or again if that failed. */
  async clips(names) {
    return new Map(await Promise.all(names.map(async (name) => [name, await this.clip(name)])));
  }

  /** How much of these clips has arrived, from 0 to 1. */
  part(names) {
    return names.reduce((sum, name) => sum + (this.fetched.get(name)?.part ?? 0), 0) / names.length;
  }

  /** Lets go of clips that are no longer needed. */
  forget(names) {
    for (const name of names) this.fetched.delete(name);
  }

  clip(name) {
    let entry = this.fetched.get(name);
    if (!entry) {
      entry = { part: 0 };
      entry.clip = this.fetch(name, entry);
      entry.clip.catch(() => this.fetched.delete(name));
      this.fetched.set(name, entry);
    }
    return entry.clip;
  }

  async fetch(name, entry) {
    const response = await fetch(`audio/${name}.${this.extension}`);
    if (!response.ok) throw new Error(`audio: ${response.status}`);
    const bytes = await read(response, (part) => {
      entry.part = part;
      this.onprogress();
    });
    return decode(bytes, this.sampleRate);
  }
}

// The bytes of a response; tells which part of them has arrived, if the server says how many there are.
async function read(response, tell) {
  const length = Number(response.headers.get("Content-Length"));
  const reader = response.body.getReader();
  const chunks = [];
  let got = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    chunks.push(value);
    got += value.length;
    if (length) tell(Math.min(1, got / length));
  }
  tell(1);
  return new Blob(chunks).arrayBuffer();
}
