// One image: the reading, the explanation, and the keys.

import { helpDialog, leaveIfLoggedOut, onKeys, reasonOf } from "./keys.js";

const SELECTED = "featx-selected";
const WAIT_MS = 1500;

const viewer = document.querySelector(".viewer");
const identifier = viewer.dataset.image;
const base = `/api/v1/predictions/${identifier}`;
const kept = document.getElementById("film") !== null;
const film = kept ? await import("./film.js") : null;
const go = (id) => document.getElementById(id)?.click();

sessionStorage.setItem(SELECTED, identifier);
// A file that is dropped here mustn't take the page's place.
for (const kind of ["dragover", "drop"]) document.addEventListener(kind, (event) => event.preventDefault());

// The reading.

const said = document.getElementById("reading-state");
const next = document.getElementById("next");
const choices = [...document.querySelectorAll(".choice")];
let known = viewer.dataset.reading; // as far as this page knows
let saving = false;
let wanted = null; // a reading that is chosen while another one is saved takes its place
let goesOn = false; // Enter was pressed before the answer
let leaving = false; // what is pressed now is meant for the next image

addEventListener("beforeunload", () => { leaving = true; });
addEventListener("pageshow", () => { leaving = false; });

async function read(label) {
  if (leaving || goesOn) {
    said.textContent = "Another image is being opened. What was pressed meanwhile isn't kept.";
    return;
  }
  wanted = label;
  if (saving) return;
  saving = true;
  while (wanted !== null) {
    const chosen = wanted;
    wanted = null;
    await save(chosen);
  }
  saving = false;
  if (goesOn && !next.hidden && !leaving) next.click();
  goesOn = false;
}

async function save(label) {
  try {
    const answer = await fetch(`${base}/reading`, {
      method: "PUT",
      keepalive: true, // also if another image is opened at once
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ label }),
    });
    if (leaveIfLoggedOut(answer)) return;
    if (!answer.ok) throw new Error(await reasonOf(answer));
    show(await answer.json());
  } catch (error) {
    const reason = error instanceof TypeError ? "the server doesn't answer" : error.message;
    said.textContent = `The reading isn't kept: ${reason}.`;
    next.hidden = true;
  }
}

function show(found) {
  const other = found.earlier && found.earlier !== known && found.earlier !== found.reading;
  const others = other ? ` Meanwhile it had been read as ${found.earlier}.` : "";
  known = found.reading ?? "";
  for (const choice of choices) {
    if (choice.classList.contains("undo")) choice.disabled = !found.reading;
    else choice.setAttribute("aria-pressed", String(choice.dataset.label === found.reading));
  }
  if (!found.reading) {
    said.textContent = `The reading is taken back.${others}`;
    next.hidden = true;
    return;
  }
  const strong = document.createElement("b");
  strong.textContent = found.reading;
  said.replaceChildren("Read: ", strong, found.next ? "." : ". No image is left to read.", others);
  next.hidden = !found.next;
  if (found.next) {
    next.href = `/images/${found.next}`;
    next.textContent = `Next not yet read (${found.left} left) `;
    const key = document.createElement("kbd");
    key.textContent = "Enter";
    next.append(key);
    next.focus({ preventScroll: true });
  }
}

choices.forEach((choice) => choice.addEventListener("click", () => read(choice.dataset.label)));

// The explanation.

const state = document.getElementById("why-state");
const again = document.getElementById("why-again");

async function explain() {
  state.textContent = "The heat map is being made …";
  [state.hidden, again.hidden] = [false, true];
  try {
    const answer = await fetch(`${base}/explanation`);
    if (leaveIfLoggedOut(answer)) return;
    if (!answer.ok) {
      state.textContent = sentence(await reasonOf(answer));
      again.hidden = answer.status === 422 || answer.status === 404;
      return;
    }
    const found = await answer.json();
    const map = document.getElementById("map");
    map.src = `${base}/${found.overlay}`;
    await map.decode();
    map.hidden = false;
    document.getElementById("fade").disabled = false;
    document.getElementById("meaning").textContent = sentence(`Color: ${found.meaning}`);
    fill("notes", found.notes.map((note) => [note]));
    fill("nearest", found.nearest.map(neighbor));
    document.getElementById("nearest-none").hidden = found.nearest.length > 0;
    document.getElementById("why-found").hidden = false;
    state.hidden = true;
  } catch {
    state.textContent = "The heat map can't be loaded.";
    again.hidden = false;
  }
}

const sentence = (text) => `${text[0].toUpperCase()}${text.slice(1)}${/[.!?]$/.test(text) ? "" : "."}`;

function fill(id, lines) {
  document.getElementById(id).replaceChildren(...lines.map((parts) => {
    const line = document.createElement("li");
    line.append(...parts);
    return line;
  }));
}

function neighbor(found) {
  const text = document.createElement("span");
  text.textContent = `${found.label}, distance ${found.distance.toFixed(3)}`;
  if (!found.picture) {
    const gone = document.createElement("span");
    gone.className = "no-file";
    gone.textContent = "the file is gone";
    return [gone, text];
  }
  const picture = document.createElement("img");
  picture.src = `${base}/${found.picture}`;
  picture.alt = `Training image of ${found.label}`;
  picture.loading = "lazy";
  return [picture, text];
}

if (kept) {
  again.addEventListener("click", explain);
  // The scoring process does one thing at a time, and the X-ray comes first.
  film.settled.then(explain);
}

// An image that waits for its score shows it when it has one.
if (document.getElementById("waits")) {
  const ask = async () => {
    const answer = await fetch(base, { cache: "no-store" }).catch(() => null);
    if (answer && leaveIfLoggedOut(answer)) return;
    const rows = answer?.ok ? await answer.json() : [];
    if (rows.length && rows[0].state !== "waiting") location.reload();
    else setTimeout(ask, WAIT_MS);
  };
  setTimeout(ask, WAIT_MS);
}

// Keys.

const help = helpDialog();
const [negative, positive] = viewer.dataset.keys;
const panOr = (right, down, other) => () => film?.pan(right, down) || (other ? go(other) : false);
onKeys({
  j: () => go("after"),
  k: () => go("before"),
  ArrowRight: panOr(1, 0, "after"),
  ArrowLeft: panOr(-1, 0, "before"),
  ArrowDown: panOr(0, 1),
  ArrowUp: panOr(0, -1),
  Enter: () => saving && (goesOn = true),
  u: () => read(""),
  " ": () => film?.toggleMap(),
  "+": () => film?.zoomIn(),
  "=": () => film?.zoomIn(),
  "-": () => film?.zoomOut(),
  0: () => film?.fit(),
  Escape: () => go("back"),
  "?": help,
  [negative]: () => read(viewer.dataset.negative),
  [positive]: () => read(viewer.dataset.positive),
});
