// The X-ray on its dark ground: zoom, pan, the window, and the heat map over it.

import { reasonOf } from "./keys.js";

const MOST_ZOOM = 12;
const STEP = 1.25;
const PAN_STEP = 60;
const FULL = 100;
const SHOWN_AT_FIRST = 60; // percent of the map's opacity that a key fades it in to
const FADED = "featx-fade";

const stage = document.getElementById("stage");
const film = document.getElementById("film");
const xray = document.getElementById("xray");
const state = document.getElementById("film-state");
const again = document.getElementById("film-again");
const fade = document.getElementById("fade");
const level = document.getElementById("level");
const width = document.getElementById("width");
const value = document.getElementById("zoom-value");
const parts = [...document.querySelectorAll("#window feFuncR, #window feFuncG, #window feFuncB")];

let zoom = 1;
let x = 0;
let y = 0;

// Zoom and pan. The film lies in the middle of the stage: x and y are how far it was moved.

function place() {
  const room = { x: (film.clientWidth * zoom) / 2, y: (film.clientHeight * zoom) / 2 };
  x = Math.min(Math.max(x, -room.x), room.x);
  y = Math.min(Math.max(y, -room.y), room.y);
  if (zoom <= 1) [x, y] = [0, 0];
  film.style.setProperty("--x", `${x}px`);
  film.style.setProperty("--y", `${y}px`);
  film.style.setProperty("--zoom", zoom);
  stage.classList.toggle("zoomed", zoom > 1);
  value.textContent = `${Math.round(zoom * 100)} %`;
}

function zoomBy(factor, at = null) {
  const wanted = Math.min(Math.max(zoom * factor, 1), MOST_ZOOM);
  const box = stage.getBoundingClientRect();
  const from = at ?? { x: box.left + box.width / 2, y: box.top + box.height / 2 };
  const [left, top] = [from.x - box.left - box.width / 2, from.y - box.top - box.height / 2];
  x = left - ((left - x) * wanted) / zoom;
  y = top - ((top - y) * wanted) / zoom;
  zoom = wanted;
  place();
}

export const zoomIn = () => zoomBy(STEP);
export const zoomOut = () => zoomBy(1 / STEP);
export function fit() {
  zoom = 1;
  place();
}

/** Move a zoomed film with a key. Say whether it is zoomed. */
export function pan(right, down) {
  if (zoom <= 1) return false;
  x -= right * PAN_STEP;
  y -= down * PAN_STEP;
  place();
  return true;
}

document.getElementById("zoom-in").addEventListener("click", zoomIn);
document.getElementById("zoom-out").addEventListener("click", zoomOut);
document.getElementById("zoom-fit").addEventListener("click", fit);
stage.addEventListener("wheel", (event) => {
  event.preventDefault();
  zoomBy(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.002)), { x: event.clientX, y: event.clientY });
}, { passive: false });
stage.addEventListener("dblclick", (event) => {
  if (zoom > 1) fit();
  else zoomBy(2.5, { x: event.clientX, y: event.clientY });
});

// Fingers and the mouse. Two fingers zoom, one moves, the right button changes the window.

const pointers = new Map();

stage.addEventListener("pointerdown", (event) => {
  if (event.target.closest("button")) return;
  pointers.set(event.pointerId, { x: event.clientX, y: event.clientY, right: event.button === 2 });
  stage.setPointerCapture(event.pointerId);
});
stage.addEventListener("pointermove", (event) => {
  const last = pointers.get(event.pointerId);
  if (!last) return;
  const now = { x: event.clientX, y: event.clientY, right: last.right };
  if (last.right) {
    change(level, (now.y - last.y) / 2);
    change(width, (now.x - last.x) / 2);
  } else if (pointers.size === 2) {
    const other = [...pointers].find(([id]) => id !== event.pointerId)[1];
    const apart = (one) => Math.hypot(one.x - other.x, one.y - other.y) || 1;
    zoomBy(apart(now) / apart(last), { x: (now.x + other.x) / 2, y: (now.y + other.y) / 2 });
  } else if (zoom > 1) {
    x += now.x - last.x;
    y += now.y - last.y;
    place();
  }
  pointers.set(event.pointerId, now);
});
for (const end of ["pointerup", "pointercancel"]) {
  stage.addEventListener(end, (event) => pointers.delete(event.pointerId));
}
stage.addEventListener("contextmenu", (event) => event.preventDefault());
addEventListener("resize", place);

// Level and width of the window, on the picture of 8 bits.

let [exactLevel, exactWidth] = [0, 0];

function change(slider, by) {
  const exact = Math.min(Math.max((slider === level ? exactLevel : exactWidth) + by, -FULL), FULL);
  slider.value = exact;
  if (slider === level) exactLevel = exact;
  else exactWidth = exact;
  applyWindow();
}

function applyWindow() {
  // A wider window has less contrast; a higher level makes the picture darker.
  const slope = 4 ** (-exactWidth / FULL);
  const intercept = 0.5 - 0.5 * slope - (0.75 * exactLevel) / FULL;
  for (const part of parts) {
    part.setAttribute("slope", slope);
    part.setAttribute("intercept", intercept);
  }
  const plain = exactLevel === 0 && exactWidth === 0;
  xray.style.filter = plain ? "" : "url(#window)";
}

for (const slider of [level, width]) {
  slider.addEventListener("input", () => {
    [exactLevel, exactWidth] = [Number(level.value), Number(width.value)];
    applyWindow();
  });
}
document.getElementById("window-reset").addEventListener("click", () => {
  [exactLevel, exactWidth, level.value, width.value] = [0, 0, 0, 0];
  applyWindow();
});

// The heat map.

function showMap() {
  film.style.setProperty("--fade", fade.value / FULL);
  fade.setAttribute("aria-valuetext", `${fade.value} percent`);
}

/** Fade the map in or out. */
export function toggleMap() {
  if (fade.disabled) return;
  const shown = Number(fade.value) > 0;
  if (shown) sessionStorage.setItem(FADED, fade.value);
  fade.value = shown ? 0 : sessionStorage.getItem(FADED) || SHOWN_AT_FIRST;
  film.classList.add("fades");
  showMap();
}

fade.addEventListener("input", () => {
  film.classList.remove("fades");
  showMap();
});
// Keys are the page's again once the mouse lets go of a slider.
for (const slider of [fade, level, width]) {
  slider.addEventListener("pointerup", () => slider.blur());
}
showMap();

// The picture.

async function load() {
  state.textContent = "Loading the X-ray …";
  [state.hidden, again.hidden, film.hidden] = [false, true, true];
  try {
    const answer = await fetch(xray.dataset.src);
    if (!answer.ok) {
      state.textContent = `The X-ray can't be shown: ${await reasonOf(answer)}.`;
      again.hidden = answer.status === 422 || answer.status === 404; // it would fail again
      return;
    }
    xray.src = URL.createObjectURL(await answer.blob());
    await xray.decode();
    [state.hidden, film.hidden] = [true, false];
    place();
  } catch {
    state.textContent = "The X-ray can't be loaded.";
    again.hidden = false;
  }
}
again.addEventListener("click", load);

/** Fulfilled once the picture is shown, or can't be. */
export const settled = load();
