// Notices that the same test is open in another window of this browser.

const INTERVAL = 3000; // milliseconds between questions

/** Calls tell(true) while there is another window, and tell(false) after it has been closed. */
export function watchWindows(name, tell) {
  const channel = new BroadcastChannel(name);
  let answered = false;
  channel.onmessage = ({ data }) => {
    if (data === "who") channel.postMessage("here");
    answered = true;
    tell(true);
  };
  channel.postMessage("who");
  // Asked again and again: a window that is closed, or put to sleep, cannot be relied on to say so.
  setInterval(() => {
    tell(answered);
    answered = false;
    channel.postMessage("who");
  }, INTERVAL);
}
