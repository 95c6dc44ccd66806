// Keys for the label page, and the tie between a press and the task that is painted.
// Gradio has no hotkeys of its own; everything else is Gradio's.
(() => {
  "use strict";
  const KEYS = {
    pairwise: { 1: "a", a: "a", 0: "tie", 2: "b", b: "b" },
    binary: { g: "good", b: "bad" },
    scalar: { 1: "1", 2: "2", 3: "3", 4: "4", 5: "5", 6: "6", 7: "7", 8: "8", 9: "9", 0: "10" },
  };
  const RELEASE_AFTER = 10000; // a press that got no answer from the server may be repeated
  let paintedAt = 0;
  let paintedToken = null;
  let spent = null;
  let release = 0;

  const task = () => document.getElementById("task");
  const dialog = () => document.querySelector("dialog[open]");
  const isBusy = () => document.documentElement.classList.contains("busy");
  const setBusy = (busy) => document.documentElement.classList.toggle("busy", busy);

  function painted() {
    const token = task() ? task().dataset.token : null;
    if (token === paintedToken) return;
    paintedToken = token;
    paintedAt = performance.now();
    clearTimeout(release);
    setBusy(false);
    if (window.scrollY > 0) window.scrollTo(0, 0);
  }

  function press(value) {
    const shown = task();
    if (!shown) return "null";
    const { assignment, token } = shown.dataset;
    spent = token;
    setBusy(true);
    clearTimeout(release);
    release = setTimeout(() => { spent = null; setBusy(false); }, RELEASE_AFTER);
    const seconds = (performance.now() - paintedAt) / 1000;
    return JSON.stringify({ assignment, token, value, seconds });
  }

  function open(id) {
    const other = dialog();
    if (other) other.close();
    const wanted = document.getElementById(id);
    if (wanted && wanted !== other) wanted.showModal();
  }

  // The buttons of a kind may be shown a frame or two after its task: wait for them, not longer
  // than that task stays.
  function click(id, token, frames = 60) {
    if (isBusy() || (task() ? task().dataset.token : null) !== token) return;
    const element = document.getElementById(id);
    const button = element && (element.matches("button") ? element : element.querySelector("button"));
    if (button && !button.disabled && button.getClientRects().length) button.click();
    else if (frames > 0) requestAnimationFrame(() => click(id, token, frames - 1));
  }

  function typing(target) {
    return target instanceof Element && target.closest("input, textarea, select, [contenteditable]");
  }

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
    if (event.isComposing || event.keyCode === 229 || typing(event.target)) return;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (key === "h" || key === "?") {
      event.preventDefault();
      open(key === "h" ? "guide" : "keys");
      return;
    }
    if (dialog() || event.shiftKey) return;
    const token = task() ? task().dataset.token : null;
    if (isBusy() || (token && token === spent)) return;
    const kind = task() ? task().dataset.kind : null;
    const value = kind && KEYS[kind][key];
    const id = value ? `press-${kind}-${value}` : { s: "press-skip", u: "press-undo" }[key];
    if (!id) return;
    event.preventDefault();
    click(id, token);
  });

  document.addEventListener("click", (event) => {
    const opener = event.target instanceof Element && event.target.closest("[data-open]");
    if (opener) open(opener.dataset.open);
    else if (event.target instanceof HTMLDialogElement) event.target.close();
  });

  new MutationObserver(painted).observe(document.documentElement, {
    childList: true, subtree: true, attributes: true, attributeFilter: ["data-token"],
  });
  window.coach = { press, open };
})();
