// The label page between two presses: it paints tasks, keeps what is unsent, and talks to /rate.
// Gradio draws the frame; it has no means for keys, for work ahead, or for a lost connection.
(() => {
  "use strict";
  const SETTLE_MS = 250; // nobody has read a task this soon: a second press of a double press
  const READ_MS = 15; // a character: faster than most people read with care
  const READ_CAP_MS = 20000;
  const TIMEOUT_MS = 20000;
  const RETRY_MS = [500, 1000, 2000, 4000, 8000];
  const REFUSAL_MS = 8000; // a refusal stays this long, whatever is pressed
  const ODD_TRIES = 6; // answers that are no JSON before a call is given up: perhaps a proxy starts
  const LATER = [401, 408, 425, 429]; // refusals that pass: signed out, too slow, too many
  const OUT_OF_DATE_MS = 7 * 86400000; // what was given up is sent again by the pages of a week
  const LOOK_MS = 3000; // between looks for new tasks while there are none

  let facts = null; // what the server told the page once
  let queue = []; // tasks held, the painted one left out
  let shown = null; // the painted task
  let editing = false;
  let last = null; // the assignment that undo takes back
  let progress = null;
  let draft = null; // strength, flags and comment of the painted task
  let readMs = 0; // visible time on the painted task
  let readSince = null;
  let paintedAt = 0;
  let sending = false;
  let tries = 0;
  let retryTimer = 0;
  let pressed = 0; // presses so far: a look that began before one says nothing new
  let lookTimer = 0;
  let activeAt = performance.now();
  let order = 0; // the order of what was pressed last
  let refusedAt = -Infinity; // when the server last refused something
  let signedOut = false; // the server said so, and has answered nothing since
  let skipped = false; // the last press was a skip, which cannot be taken back
  const readBefore = new Map(); // assignment -> visible time on it before it was painted again

  const $ = (id) => document.getElementById(id);
  const random = () => Math.random().toString(36).slice(2, 12).padEnd(10, "0");
  const emptyDraft = () => ({ strength: null, flags: [], comment: "" });

  // -- what is unsent: one entry of localStorage each, so that two tabs do not overwrite each other

  const memory = new Map(); // where the browser refuses storage, until the page is closed
  const prefix = () => `coach-unsent:${facts.person}:`;

  function stored(kind) {
    try {
      return Object.entries(window[kind]);
    } catch {
      return []; // storage is refused
    }
  }

  function unsent() {
    const entries = [...memory, ...stored("localStorage")];
    return entries.filter(([key]) => key.startsWith(prefix())).sort()
      .map(([key, text]) => ({ key, ...understood(text) })).filter((item) => item.path);
  }

  // A press as it was kept; nothing where the entry is not one (cut off, or of another version).
  function understood(text) {
    try {
      const { path, body } = JSON.parse(text);
      const known = ["/rate/answer", "/rate/skip", "/rate/undo"].includes(path);
      return known && Number.isInteger(body?.assignment) ? { path, body } : {};
    } catch {
      return {};
    }
  }

  // -- what is given up: nobody takes it now. It is put aside, and the next page sends it once more.

  const aside = () => `coach-aside:${facts.person}:`;

  function giveUp(item, words) {
    move(item.key, item.key.replace(prefix(), aside()));
    const what = { "/rate/answer": "An answer", "/rate/skip": "A skip", "/rate/undo": "An undo" }[item.path];
    refuse(`${what} could not be sent and is put aside: ${words} The page sends it once more when it is reloaded.`);
  }

  function move(key, other) {
    try {
      const text = memory.get(key) ?? localStorage.getItem(key);
      if (!memory.has(key)) localStorage.setItem(other, text);
      localStorage.removeItem(key);
    } catch {
      // storage is refused or full: it is given up for good
    }
    memory.delete(key);
  }

  // Once a page: what earlier pages put aside is sent again, what nobody can read is told and dropped.
  function takeUpAgain() {
    let unreadable = 0;
    for (const [key, text] of stored("localStorage")) {
      const own = [prefix(), aside()].find((start) => key.startsWith(start));
      if (!own) continue;
      const readable = understood(text).path && key.split(":").length === prefix().split(":").length + 1;
      if (readable && own === aside() && Date.now() - orderOf(key) < OUT_OF_DATE_MS) move(key, key.replace(aside(), prefix()));
      else if (!readable || own === aside()) {
        localStorage.removeItem(key);
        unreadable += 1;
      }
    }
    if (unreadable) refuse(`${unreadable} unsent in this browser could not be read or sent for a week, and ${unreadable > 1 ? "are" : "is"} given up.`);
  }

  const orderOf = (key) => Number(key.split(":").at(-2)) || 0;

  function keep(path, body) {
    order = Math.max(Date.now(), order + 1); // a clock that is set back changes no order
    const key = `${prefix()}${`${order}`.padStart(15, "0")}:${random()}`;
    pressed += 1;
    const text = JSON.stringify({ path, body });
    try {
      localStorage.setItem(key, text);
    } catch {
      memory.set(key, text);
    }
    send();
  }

  async function send() {
    if (sending) return;
    sending = true;
    clearTimeout(retryTimer);
    let late = false;
    try {
      for (let [item] = unsent(); item; [item] = unsent()) {
        badge();
        const answer = await call(item.path, item.body);
        late = answer === null;
        if (late) return again();
        late = answer.odd && tries < ODD_TRIES;
        if (late) return again();
        tries = 0;
        if (answer.odd || answer.refused) {
          giveUp(item, answer.notice);
          continue;
        }
        if (!memory.delete(item.key)) localStorage.removeItem(item.key);
        if (answer.tasks) take(answer, item.path === "/rate/undo" && answer.kept);
        else refuse(answer.notice);
      }
    } finally {
      sending = false;
      badge();
      if (!late && !shown && !lookTimer) look();
    }
  }

  function again() {
    retryTimer = setTimeout(send, RETRY_MS[Math.min(tries, RETRY_MS.length - 1)]);
    tries += 1;
    if (!shown) waiting(`No connection. ${unsent().length} unsent: kept here, and sent by themselves.`);
  }

  // The answer's JSON; null where it is to be sent again. The app may be served below a path.
  async function call(path, body) {
    const headers = { "content-type": "application/json", "coach-person": facts.person };
    const options = { headers, cache: "no-store", keepalive: Boolean(body && body.assignment) };
    if (body) Object.assign(options, { method: "POST", body: JSON.stringify(body) });
    const over = new AbortController();
    const timer = setTimeout(() => over.abort(), TIMEOUT_MS);
    try {
      const answer = await fetch(`..${path}`, { ...options, signal: over.signal });
      if (answer.status === 401) refused((await answer.json()).notice);
      else if (answer.ok && signedOut) back();
      return await read(answer);
    } catch {
      return null;
    } finally {
      clearTimeout(timer);
    }
  }

  // What an answer comes to: its JSON; null where the same call may be taken later; `refused` where
  // it never will; `odd` where something else than the app answers.
  async function read(answer) {
    const { ok, status } = answer;
    if (status >= 500 || LATER.includes(status)) return null;
    const text = await answer.text();
    const odd = { odd: true, notice: "something else than this app answers." };
    try {
      const found = JSON.parse(text);
      if (status === 422 || Array.isArray(found) || (ok && (found.tasks || "version" in found))) return found;
      if (ok) return odd;
      return { refused: true, notice: found.notice || `the server refuses it (${status}).` };
    } catch {
      const words = { 403: "it is not allowed from here", 413: "it is too long for the server" }[status];
      if (!ok) return { refused: true, notice: `${words || "the server does not know it"} (${status}).` };
      return odd;
    }
  }

  // Nobody is signed in: said once, however often the call is tried again.
  function refused(words) {
    if (signedOut && $("notice").textContent.includes(words)) return;
    signedOut = true;
    say(words, "bad");
    const link = Object.assign(document.createElement("a"), { href: "../sign-in", textContent: "Sign in" });
    $("notice").append(" ", link);
  }

  function back() {
    signedOut = false;
    refusedAt = -Infinity;
    say("", "");
  }

  function badge() {
    const n = unsent().length;
    const late = n > 1 || (n === 1 && tries > 0);
    const words = late ? `${n} unsent` : "";
    if (words && words !== $("unsent").textContent) tell(words);
    $("unsent").hidden = !late;
    $("unsent").textContent = words;
  }

  // -- what the server says

  async function look() {
    clearTimeout(lookTimer);
    lookTimer = 0;
    if (unsent().length) return send();
    const before = pressed;
    const view = await call("/rate/tasks", {});
    if (pressed !== before) return undefined; // older than what was pressed since
    if (view && view.tasks) return take(view, false);
    const why = view && view.notice ? `The server gives no tasks: ${view.notice}` : "The server does not answer.";
    if (!shown && $("notice").hidden) say(`${why} Trying again.`, "warn");
    lookTimer = setTimeout(look, LOOK_MS);
    return undefined;
  }

  // The lead has published other guidelines since: they are shown beside the next answer.
  async function renew() {
    const found = await call("/rate/guidelines");
    if (!found || !found.version || found.version === facts.guidelines) return;
    facts.guidelines = found.version;
    $("guide-text").innerHTML = found.html;
    say(`The guidelines have changed: this is version ${found.version}.`, "warn");
    if ($("guide").hidden) guide();
  }

  // `anew`: an undo brought a task back, which is shown before the one that is painted.
  function take(view, anew) {
    const waiting = unsent();
    const pending = new Set(waiting.map((item) => item.body.assignment));
    const undoing = waiting.some((item) => item.path === "/rate/undo");
    const held = view.tasks.filter((task) => !pending.has(task.assignment));
    const left = view.progress.left ?? (progress ? progress.left : 0);
    const unheard = waiting.filter((item) => item.path === "/rate/answer" && !item.body.edit).length;
    const { today, done } = view.progress;
    progress = { ...view.progress, left, today: today + unheard, done: done + unheard };
    if (!pending.size) last = view.last;
    if (view.guidelines && view.guidelines > (facts.guidelines || 0)) renew();
    if (view.notice && view.kept) say(view.notice, "");
    else if (view.notice) refuse(view.notice);
    const same = !anew && shown && held.find((task) => task.assignment === shown.assignment);
    queue = held.filter((task) => task !== same);
    if (!editing && !same && !undoing) {
      if (shown && !anew && !view.notice) say("That task is no longer yours to answer. Here is the next.", "warn");
      next(view);
    }
    count();
  }

  function next(view) {
    const task = queue.shift();
    if (task) return paint(task);
    shown = null;
    return view && view.state !== "task" ? rest(view) : waiting();
  }

  // -- painting

  function paint(task, answer) {
    shown = task;
    editing = Boolean(answer);
    draft = answer ? { ...emptyDraft(), ...answer, comment: answer.comment || "" } : saved(task);
    frame(task.kind, task.html);
    if (editing) say(`You said: ${spoken(task.kind, answer)}. Answer anew, or leave it with Earlier.`, "");
    readMs = readBefore.get(task.assignment) || 0;
    readSince = document.hidden ? null : performance.now();
    paintedAt = performance.now();
    setTimeout(() => { if (shown === task) $("task").dataset.ready = task.token; }, SETTLE_MS + 1);
    reading(task);
    showDraft();
    if (window.scrollY > 0) window.scrollTo(0, 0);
  }

  function frame(kind, html) {
    const pressing = document.activeElement?.closest?.(".press.choice");
    $("painted").innerHTML = html;
    $("rate").dataset.kind = kind;
    // The choices of the other kinds are gone: who presses by keyboard goes on at these.
    if (pressing && kind && !pressing.checkVisibility()) {
      $(`choices-${kind}`).querySelector(".press").focus({ preventScroll: true });
    }
    $("question").textContent = facts.questions[kind] || "";
    if (!kind) return;
    $("rate").dataset.rest = "";
    tell(`Next task. ${facts.questions[kind]}`);
  }

  function rest(view) {
    const [done, total] = view.sampled;
    const share = total ? (100 * done) / total : 0;
    const count = total ? `${done.toLocaleString()} of ${total.toLocaleString()} completions` : "starting";
    const words = view.state === "sampling" ? "Answers are being written." : "All done for now.";
    if ($("rate").dataset.rest !== view.state) tell(words);
    $("rate").dataset.rest = view.state;
    const thanks = progress.done
      ? `You have rated ${progress.done.toLocaleString()}. Thank you.` : "There is nothing to rate yet.";
    frame("", view.state === "sampling"
      ? `<div class="card empty" data-state="sampling"><h2>Answers are being written</h2>
         <p>The model is answering the prompts. Tasks appear here by themselves; this page can stay open.</p>
         <span class="meter wide"><i style="width:${share}%"></i></span><p class="mute small">${count}</p></div>`
      : `<div class="card empty" data-state="done"><h2>All done for now</h2><p>${thanks}</p>
         <p class="mute small">New tasks appear here by themselves; this page can stay open.</p></div>`);
    clearTimeout(lookTimer);
    lookTimer = setTimeout(look, document.hidden ? 20 * LOOK_MS : LOOK_MS);
  }

  function waiting(words = "Fetching your next task") {
    frame("", `<div class="card empty"><p class="mute">${words}</p></div>`);
  }

  function reading(task) {
    const bar = document.querySelector(".reading");
    const long = task.answers.reduce((sum, answer) => sum + answer.text.length, 0);
    task.least = editing ? 0 : Math.min(READ_CAP_MS, READ_MS * long);
    bar.hidden = false;
    bar.firstElementChild.getAnimations().forEach((animation) => animation.cancel());
    bar.firstElementChild.animate([{ width: "0%" }, { width: "100%" }], {
      duration: Math.max(task.least, 1), fill: "forwards",
    });
  }

  function count() {
    const { done, today, pace, streak, left } = progress;
    const parts = [`<b>${today.toLocaleString()}</b> today`, `<b>${left.toLocaleString()}</b> left`];
    if (pace) parts.push(`${pace < 10 ? pace : Math.round(pace)} s each`);
    if (streak > 1) parts.push(`${streak} days in a row`);
    $("count").innerHTML = parts.join(" · ");
    const share = done + left ? (100 * done) / (done + left) : 0;
    $("meter").setAttribute("aria-valuenow", share.toFixed(0));
    $("meter").firstElementChild.style.width = `${share}%`;
  }

  function say(text, tone) {
    const box = $("notice");
    const stays = performance.now() - refusedAt < REFUSAL_MS;
    if (!stays) box.className = `notice ${tone || ""}`;
    if (text) tell(text);
    if (stays) box.append(text && ` ${text}`);
    else box.textContent = text;
    box.hidden = !box.textContent;
  }

  // An answer that was not kept: the next press does not wipe the words away.
  function refuse(text) {
    refusedAt = -Infinity;
    say(text, "warn");
    refusedAt = performance.now();
  }

  // To a screen reader: one region that is always there; the same words twice are said twice.
  function tell(text) {
    const region = $("announce");
    if (region.dataset.at && performance.now() - region.dataset.at < 100) {
      region.textContent += ` ${text}`;
    } else region.textContent = region.textContent === text ? `${text}\u00a0` : text;
    region.dataset.at = performance.now();
  }

  // -- presses

  function press(name) {
    activeAt = performance.now();
    if (name === "guide") return guide();
    if (["keys", "flag", "comment", "past"].includes(name)) return open(name);
    if (name === "raw") return raw();
    if (shown && performance.now() - paintedAt < SETTLE_MS) return undefined;
    if (name === "undo") return undo();
    if (!shown) return undefined;
    return name === "skip" ? skip() : answer(name, false);
  }

  function answer(value, much) {
    const { assignment, token, kind } = shown;
    const bothBad = kind === "pairwise" && value === "bad";
    const sided = kind === "pairwise" && (value === "a" || value === "b");
    const body = {
      assignment, token, edit: editing, value: bothBad ? "tie" : value, seconds: seconds(),
      strength: sided ? (much ? 3 : draft.strength) : null,
      both_bad: bothBad ? true : null, comment: draft.comment.trim() || null, flags: draft.flags,
      guidelines: facts.guidelines,
    };
    const hasty = seconds() * 1000 < shown.least;
    done(body.edit ? "Your answer was changed." : "", true);
    if (hasty) say("That was quicker than one can read it. Undo takes it back.", "warn");
    keep("/rate/answer", body);
  }

  function skip() {
    if (editing) return leave();
    const body = { assignment: shown.assignment, comment: draft.comment.trim() || null, flags: draft.flags };
    done("Skipped: you are not asked that one again.", false);
    skipped = true;
    return keep("/rate/skip", body);
  }

  // The painted task is over: show the next one before the server has answered.
  function done(notice, answered) {
    say(notice, "");
    skipped = false;
    if (answered && !editing) last = shown.assignment;
    if (progress && !editing) {
      const one = answered ? 1 : 0;
      const { today, left } = progress;
      progress = { ...progress, today: today + one, done: progress.done + one, left: Math.max(0, left - 1) };
      count();
    }
    readBefore.set(shown.assignment, 1000 * seconds());
    shown = null;
    editing = false;
    next(null);
  }

  function undo() {
    if (editing) return leave();
    if (skipped) {
      skipped = false;
      return say("A skip is final. Undo once more takes back the answer before it.", "");
    }
    if (last === null) return say("There is nothing to take back.", "");
    const assignment = last;
    last = null;
    if (shown) putBack();
    shown = null;
    waiting();
    return keep("/rate/undo", { assignment, token: random() + random() });
  }

  function leave() {
    editing = false;
    shown = null;
    say("", "");
    next(null);
    return look();
  }

  // The painted task comes again later; the time on it counts on.
  function putBack() {
    readBefore.set(shown.assignment, 1000 * seconds());
    queue.unshift(shown);
  }

  function seconds() {
    const running = readSince === null ? 0 : performance.now() - readSince;
    return Math.round((readMs + running) / 10) / 100;
  }

  // -- flags, comment, strength: kept with the task until it is answered, over a reload too

  const draftKey = (task) => `coach-draft:${facts.person}:${task.assignment}`;

  function saved(task) {
    const found = new Map(stored("sessionStorage")).get(draftKey(task));
    try {
      const { strength, flags, comment } = { ...emptyDraft(), ...JSON.parse(found || "{}") };
      return Array.isArray(flags) && typeof comment === "string" ? { strength, flags, comment } : emptyDraft();
    } catch {
      return emptyDraft();
    }
  }

  function change(changes) {
    if (!shown) return;
    Object.assign(draft, changes);
    showDraft();
    try {
      if (!editing) sessionStorage.setItem(draftKey(shown), JSON.stringify(draft));
    } catch {
      // storage is refused: the draft lasts as long as the page
    }
  }

  function showDraft() {
    document.querySelectorAll("[data-strength]").forEach((button) => {
      button.setAttribute("aria-pressed", String(Number(button.dataset.strength) === draft.strength));
    });
    document.querySelectorAll("input[name=flag]").forEach((box) => {
      box.checked = draft.flags.includes(box.value);
    });
    if ($("comment-text") && $("comment-text").value !== draft.comment) $("comment-text").value = draft.comment;
    for (const [name, on] of [["flag", draft.flags.length > 0], ["comment", draft.comment.trim() !== ""]]) {
      $(`press-${name}`).classList.toggle("on", on);
      $(`press-${name}`).setAttribute("aria-pressed", String(on));
    }
  }

  const stronger = () => change({ strength: draft && draft.strength !== 3 ? (draft.strength || 0) + 1 : null });

  // -- dialogs

  const dialog = () => document.querySelector("dialog[open]");

  function open(name) {
    const other = dialog();
    if (other) other.close();
    const wanted = $(`dialog-${name}`);
    if (!wanted || wanted === other) return undefined;
    if (name === "past" && editing) return leave();
    if (name === "past") list();
    return wanted.showModal();
  }

  function guide() {
    const panel = $("guide");
    panel.hidden = !panel.hidden;
    $("rate").classList.toggle("guided", !panel.hidden);
    $("guidelines").setAttribute("aria-expanded", String(!panel.hidden));
    (panel.hidden ? $("guidelines") : panel).focus({ preventScroll: true });
  }

  function raw() {
    const on = $("rate").classList.toggle("as-raw");
    $("press-raw").setAttribute("aria-pressed", String(on));
  }

  async function list() {
    const box = $("past-list");
    box.textContent = "Fetching your answers";
    const answers = await call("/rate/past");
    if (!Array.isArray(answers)) {
      box.textContent = "The server does not answer. Close this and try again.";
      return;
    }
    box.textContent = answers.length ? "" : "You have not answered anything yet.";
    for (const task of answers) {
      const row = Object.assign(document.createElement("div"), { className: "past" });
      const about = document.createElement("span");
      const asked = Object.assign(document.createElement("bdi"), { textContent: task.about });
      about.append(asked, ` · ${spoken(task.kind, task.said)}`);
      const button = Object.assign(document.createElement("button"),
        { className: "quiet", type: "button", textContent: "Change" });
      button.setAttribute("aria-label", `Change: ${about.textContent}`);
      button.addEventListener("click", () => {
        dialog().close();
        if (shown && !editing) putBack();
        paint(task, task.said);
      });
      row.append(about, button);
      box.append(row);
    }
  }

  function spoken(kind, said) {
    if (said.both_bad) return "both bad";
    if (kind !== "pairwise") return said.value;
    const how = [null, "slightly ", "clearly ", "much "][said.strength || 0] || "";
    return said.value === "tie" ? "a tie" : `${said.value.toUpperCase()} is ${how}better`;
  }

  // -- keys and clicks

  // A dialog that was closed just now may still have the focus.
  const typing = (target) =>
    target instanceof Element && target.closest("input, textarea, select, [contenteditable]")
    && !target.closest("dialog:not([open])");

  function onKey(event) {
    // A key that is held down presses nothing again, not even the button that has the focus.
    if (event.repeat && event.target.closest?.("button")) event.preventDefault();
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
    if (event.isComposing || event.keyCode === 229 || typing(event.target)) return;
    if (!facts || dialog()) return;
    if (event.key === "Escape" && !$("guide").hidden) return guide();
    if (!$("keys-on").checked) return;
    const digit = event.key.length === 1 && /^(?:Digit|Numpad)(\d)$/.exec(event.code); // on any layout
    const key = digit ? digit[1] : event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const name = key === "h" ? "guide" : facts.more[key];
    const value = shown && facts.keys[shown.kind][key];
    const much = event.shiftKey && shown && shown.kind === "pairwise" && (value === "a" || value === "b");
    if (key === "w" && shown && shown.kind === "pairwise") stronger();
    else if (much && performance.now() - paintedAt >= SETTLE_MS) answer(value, true);
    else if (event.shiftKey && key !== "?") return;
    else if (value || name) press(value || name);
    else return;
    event.preventDefault();
  }

  function onClick(event) {
    if (!(event.target instanceof Element)) return;
    // After a click of the mouse a later space or Enter is not one more press of that button.
    if (event.detail > 0) event.target.closest(".press")?.blur();
    const presser = event.target.closest("[data-press]");
    const strength = event.target.closest("[data-strength]");
    if (presser) press(presser.dataset.press);
    else if (strength) change({ strength: Number(strength.dataset.strength) === draft.strength ? null : Number(strength.dataset.strength) });
    else if (event.target instanceof HTMLDialogElement && outside(event)) event.target.close();
  }

  function outside({ target, clientX, clientY }) {
    const box = target.getBoundingClientRect();
    return clientX < box.left || clientX > box.right || clientY < box.top || clientY > box.bottom;
  }

  function onInput(event) {
    if (event.target.id === "keys-on") keysOn(event.target.checked);
    if (event.target.id === "comment-text") change({ comment: event.target.value });
    if (event.target.name === "flag") {
      const ticked = [...document.querySelectorAll("input[name=flag]:checked")];
      change({ flags: ticked.map((box) => box.value) });
    }
  }

  function onHidden() {
    if (document.hidden && readSince !== null) {
      readMs += performance.now() - readSince;
      readSince = null;
    } else if (!document.hidden && shown && readSince === null) readSince = performance.now();
    if (!document.hidden && !shown) look();
  }

  // A person who is still reading keeps the task: a look renews it.
  function alive() {
    const idle = performance.now() - activeAt;
    if (!document.hidden && shown && !editing && idle < facts.leaseMinutes * 60000) look();
  }

  // Which keys press which button: all of them to a screen reader, the first on the button.
  function shortcuts(on) {
    const all = Object.entries(facts.more).map(([key, name]) => [`press-${name}`, key]);
    for (const [kind, keys] of Object.entries(facts.keys)) {
      all.push(...Object.entries(keys).map(([key, value]) => [`press-${kind}-${value}`, key]));
    }
    for (const id of new Set(all.map(([name]) => name))) {
      const keys = all.filter(([name]) => name === id).map(([, key]) => key);
      [$(id).dataset.key] = keys;
      if (on) $(id).setAttribute("aria-keyshortcuts", keys.join(" "));
      else $(id).removeAttribute("aria-keyshortcuts");
    }
  }

  // Single keys can be switched off: speech input, for one, presses them by accident.
  function keysOn(on) {
    $("keys-on").checked = on;
    $("rate").classList.toggle("no-keys", !on);
    shortcuts(on);
    try {
      localStorage.setItem("coach-keys", on ? "on" : "off");
    } catch {
      // storage is refused: it lasts as long as the page
    }
  }

  function start() {
    const top = $("top");
    if (facts || !top || !$("painted") || !$("dialog-keys")) return;
    facts = JSON.parse(top.dataset.facts);
    document.addEventListener("keydown", onKey);
    document.addEventListener("click", onClick);
    document.addEventListener("input", onInput);
    document.addEventListener("visibilitychange", onHidden);
    for (const sign of ["pointermove", "scroll", "keydown"]) {
      document.addEventListener(sign, () => { activeAt = performance.now(); }, { passive: true });
    }
    window.addEventListener("beforeunload", (event) => {
      if (memory.size) event.preventDefault(); // the browser asks: these answers are only here
    });
    keysOn(new Map(stored("localStorage")).get("coach-keys") !== "off");
    takeUpAgain();
    for (const item of unsent()) order = Math.max(order, orderOf(item.key));
    window.addEventListener("online", () => { tries = 0; send(); });
    setInterval(alive, 60000);
    look();
  }

  window.coach = { press };
  new MutationObserver(start).observe(document.documentElement, { childList: true, subtree: true });
  start();
})();
