// Notices that the same test is open in another window of this browser.

/** Calls tell(true) when there is another window, and tell(false) when the last other one has been closed. */
export function watchWindows(name, tell) {
  const channel = new BroadcastChannel(name);
  channel.onmessage = ({ data }) => {
    if (data === "who") channel.postMessage("here");
    tell(data !== "closed");
    if (data === "closed") channel.postMessage("who"); // there may be a third one
  };
  channel.postMessage("who");
  addEventListener("pagehide", () => channel.postMessage("closed"));
  addEventListener("pageshow", (event) => event.persisted && channel.postMessage("who"));
}
