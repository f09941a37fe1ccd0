// Plays one of several clips at a time.
//
// Looping clips run in step from the moment the first is started, all but one of them muted, so that a switch continues
// at the same place. At a switch the old clip fades out and then the new one fades in, each within 5 ms along a raised
// cosine; the two never sound together (ITU-R BS.1534-3). Both ends of a clip fade in the same way, so that its loop
// makes no click. Clips that do not loop start from the beginning whenever they are chosen.

export const FADE = 0.005; // seconds
const LEAD = 0.01; // seconds from a command to its effect, so that the sound card is never ahead of the schedule
const MIN_HEARD = 3; // seconds of a loop that must have sounded before it counts as heard
const QUANTUM = 128; // samples that browsers render at a time
const SILENT = 3000; // milliseconds after a command within which time must move: some devices take two seconds
const STEPS = 32; // points of a fade; the browser interpolates linearly between them

const rising = Float32Array.from({ length: STEPS + 1 }, (_, i) => (1 - Math.cos((Math.PI * i) / STEPS)) / 2);
const falling = rising.slice().reverse();

/** Decodes an audio file at a sample rate (Hz) and fades both of its ends. */
export async function decode(bytes, sampleRate) {
  const buffer = await new OfflineAudioContext(1, 1, sampleRate).decodeAudioData(bytes);
  fadeEnds(buffer);
  return buffer;
}

/** Multiplies the first and the last 5 ms of each channel of a buffer by a raised cosine. */
export function fadeEnds(buffer) {
  const length = Math.min(Math.round(FADE * buffer.sampleRate), buffer.length >> 1);
  for (let channel = 0; channel < buffer.numberOfChannels; channel++) {
    const samples = buffer.getChannelData(channel);
    for (let i = 0; i < length; i++) {
      const factor = (1 - Math.cos((Math.PI * i) / length)) / 2;
      samples[i] *= factor;
      samples[samples.length - 1 - i] *= factor;
    }
  }
}

export class Player {
  /**
   * @param {() => BaseAudioContext} openContext called whenever the listener plays a clip
   * @param {Map<string, AudioBuffer>} clips all of the same length if they loop
   * @param {boolean} loop
   */
  constructor(openContext, clips, loop) {
    this.openContext = openContext;
    this.clips = clips;
    this.loop = loop;
    this.current = null; // name of the clip that sounds, or sounded before the pause
    this.playing = false;
    this.voices = new Map(); // name -> { source, gain }
    this.offset = 0; // seconds into the clips at which they continue after a pause
    this.freeFrom = 0; // time after which the next fade may be scheduled
    this.heardSeconds = new Map();
    this.plays = new Map(); // name -> how often it was started
    this.countedTo = 0;
    this.onchange = () => {};
  }

  /** Plays a clip: from the start, from where it was paused, or in place of the current one. */
  play(name) {
    this.count();
    this.use(this.openContext());
    this.plays.set(name, (this.plays.get(name) ?? 0) + 1);
    let when = Math.max(this.context.currentTime + LEAD, this.freeFrom);
    if (this.playing && this.loop) {
      this.fade(this.current, falling, when);
      this.fade(name, rising, when + FADE);
    } else {
      if (this.playing) when = this.close(when);
      this.open(this.loop ? [...this.clips.keys()] : [name], when);
      this.fade(name, rising, when);
    }
    this.current = name;
    this.playing = true;
    this.countedTo = this.freeFrom;
    this.onchange();
  }

  // Starts afresh in a context that replaces one that gave no sound.
  use(context) {
    this.askedAt = performance.now();
    this.askedTime = context.currentTime;
    if (context === this.context) return;
    this.context = context;
    this.voices.clear();
    this.playing = false;
    this.freeFrom = 0;
  }

  /** Whether the time of the sound has moved since the last command to play. */
  get moved() {
    return this.context !== undefined && this.context.currentTime > this.askedTime;
  }

  /** Whether nothing came out for 3 seconds after the last command to play: no device, or one that does not answer. */
  get silent() {
    return this.playing && !this.moved && performance.now() - this.askedAt > SILENT;
  }

  /** Fades out; a looping clip continues from here when it is played again. */
  pause() {
    if (!this.playing) return;
    this.count();
    const when = Math.max(this.context.currentTime + LEAD, this.freeFrom);
    if (this.loop) this.offset = this.positionAt(when);
    this.close(when);
    this.playing = false;
    this.onchange();
  }

  /** Seconds into the clip. */
  get position() {
    return this.playing ? this.positionAt(this.context.currentTime) : this.offset;
  }

  /** Whether a clip has been heard: all of it at once; of a loop, its length or 3 seconds, also in pieces. */
  heard(name) {
    this.count();
    const whole = this.clips.get(name).duration - 4 * FADE; // switches take some of it
    const needed = this.loop ? Math.min(whole, MIN_HEARD) : whole;
    return (this.heardSeconds.get(name) ?? 0) >= needed;
  }

  positionAt(time) {
    const duration = this.clips.get(this.current).duration;
    const passed = Math.max(0, time - this.startedAt);
    return this.loop ? passed % duration : Math.min(passed, duration);
  }

  // Adds the time since the last call to what was heard. Only a loop may be heard in pieces.
  count() {
    if (!this.playing) return;
    const now = this.context.currentTime;
    const passed = Math.max(0, now - this.countedTo);
    const before = this.heardSeconds.get(this.current) ?? 0;
    this.heardSeconds.set(this.current, this.loop ? before + passed : Math.max(before, this.position));
    this.countedTo = Math.max(now, this.countedTo);
  }

  // Starts clips at the same time, muted.
  open(names, when) {
    for (const name of names) {
      const source = new AudioBufferSourceNode(this.context, { buffer: this.clips.get(name), loop: this.loop });
      const gain = new GainNode(this.context, { gain: 0 });
      source.connect(gain).connect(this.context.destination);
      source.start(when, this.offset);
      const voice = { source, gain };
      source.onended = () => this.ended(voice);
      this.voices.set(name, voice);
    }
    this.startedAt = when - this.offset;
  }

  // Fades the current clip out and ends all; returns when it is silent.
  close(when) {
    this.fade(this.current, falling, when);
    for (const { source } of this.voices.values()) source.stop(when + FADE);
    this.voices.clear();
    return when + FADE;
  }

  // Browsers reject curves that overlap, and Chromium plays a curve wrongly if it begins in the quantum in which
  // another curve of the same gain ended. So fades keep their distance, however fast the listener switches.
  fade(name, curve, when) {
    this.voices.get(name).gain.gain.setValueCurveAtTime(curve, when, FADE);
    this.freeFrom = when + FADE + QUANTUM / this.context.sampleRate;
  }

  // A clip that does not loop has reached its end.
  ended(voice) {
    if (this.voices.get(this.current) !== voice) return;
    this.heardSeconds.set(this.current, this.clips.get(this.current).duration);
    this.voices.clear();
    this.playing = false;
    this.onchange();
  }
}
