// The worklist keeps itself up to date, and is walked through with keys.

import { helpDialog, leaveIfLoggedOut, onKeys, reasonOf } from "./keys.js";

const POLL_MS = 2500;
const SLOW_FACTOR = 10; // an answer that took long is asked for less often
const NEWS_MS = 60_000; // so long it is said how many images came
const SELECTED = "featx-selected";
const UNREAD_ONLY = "featx-unread-only";

const days = document.getElementById("days");
const news = document.getElementById("news");
const offline = document.getElementById("offline");
const unreadOnly = document.getElementById("unread-only");
const banners = () => document.getElementById("banners").dataset;
let version = days.dataset.version;
let runs = banners().runs;
let timer = 0;
let fresh = 0;
let forget = 0;

const rows = () => [...days.querySelectorAll("tr[data-image]")];
const shown = () => rows().filter((row) => row.offsetParent !== null);
const keyOf = (element, place) => element.dataset.key ?? `${element.tagName}${place}`;

// What changed is put in place of what was there. All else stays, and so does the focus.
function patch(old, made) {
  const known = new Map([...old.children].map((child, n) => [keyOf(child, n), child]));
  let place = old.firstElementChild;
  [...made.children].forEach((child, n) => {
    const found = known.get(keyOf(child, n));
    known.delete(keyOf(child, n));
    if (found && !found.isEqualNode(child) && child.dataset.parts !== undefined) patch(found, child);
    else if (found && !found.isEqualNode(child)) {
      const focused = found.contains(document.activeElement);
      if (place === found) place = child;
      found.replaceWith(child);
      if (focused) child.querySelector("a, button")?.focus();
      if (place !== child) old.insertBefore(child, place);
      place = child.nextElementSibling;
      return;
    }
    const kept = found ?? child;
    if (place === kept) place = place.nextElementSibling;
    else move(old, kept, place);
  });
  known.forEach((child) => child.remove());
}

function move(parent, child, before) {
  const focused = child.contains(document.activeElement) ? document.activeElement : null;
  parent.insertBefore(child, before);
  focused?.focus({ preventScroll: true });
}

function update(html) {
  const template = document.createElement("template");
  template.innerHTML = html;
  const before = new Set(rows().map((row) => row.dataset.key));
  patch(days, template.content);
  const added = rows().filter((row) => !before.has(row.dataset.key)).length;
  if (added) tell(added);
  afterChange();
}

// Images that come one after the other are counted together.
function tell(added) {
  fresh += added;
  news.textContent = fresh === 1 ? "1 new image" : `${fresh} new images`;
  clearTimeout(forget);
  forget = setTimeout(() => {
    fresh = 0;
    news.textContent = "";
  }, NEWS_MS);
}

function afterChange() {
  const first = Number(banners().first);
  document.title = `${first ? `(${first}) ` : ""}Worklist · featx`;
  const none = unreadOnly.checked && rows().length > 0 && shown().length === 0;
  document.getElementById("none-unread").hidden = !none;
}

// The runs in use are also named around the list.
async function updateRuns() {
  if (banners().runs === runs) return;
  const answer = await fetch(location.href, { cache: "no-store" });
  if (!answer.ok) return;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  for (const part of [".runs", ".bottom", "#help dl"]) {
    document.querySelector(part).replaceChildren(...page.querySelector(part).childNodes);
  }
  runs = page.getElementById("banners").dataset.runs;
}

async function poll() {
  clearTimeout(timer);
  if (document.hidden) return;
  const started = performance.now();
  try {
    const answer = await fetch(`/worklist${location.search}`, {
      headers: { "If-None-Match": version },
      cache: "no-store",
    });
    if (leaveIfLoggedOut(answer)) return;
    if (answer.status === 200) {
      version = answer.headers.get("ETag");
      update(await answer.text());
      await updateRuns();
    } else if (answer.status !== 304) throw new Error(await reasonOf(answer));
    offline.hidden = true;
  } catch (error) {
    const reason = error instanceof TypeError ? "the server doesn't answer" : error.message;
    offline.textContent = `This list may be old: ${reason}. It is tried again.`;
    offline.hidden = false;
  }
  clearTimeout(timer);
  timer = setTimeout(poll, Math.max(POLL_MS, SLOW_FACTOR * (performance.now() - started)));
}

function select(step) {
  const all = shown();
  if (!all.length) return false;
  const current = all.indexOf(document.activeElement?.closest("tr[data-image]"));
  const kept = all.findIndex((row) => row.dataset.key === sessionStorage.getItem(SELECTED));
  const place = current >= 0 ? current + step : kept >= 0 ? kept : 0;
  focus(all[Math.min(Math.max(place, 0), all.length - 1)]);
  return true;
}

function focus(row) {
  row.querySelector("a").focus({ preventScroll: true });
  row.scrollIntoView({ block: "nearest" });
}

days.addEventListener("focusin", (event) => {
  const row = event.target.closest("tr[data-image]");
  if (row) sessionStorage.setItem(SELECTED, row.dataset.key);
});
days.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-action=rescore]");
  if (button) {
    button.disabled = true;
    const answer = await fetch("/api/v1/rescore", { method: "POST" }).catch(() => null);
    if (!answer?.ok) {
      const reason = answer ? await reasonOf(answer) : "the server doesn't answer";
      news.textContent = `Not scored again: ${reason}.`;
    }
    button.disabled = false;
    await poll();
    return;
  }
  const row = event.target.closest("tr[data-image]");
  if (row && !event.target.closest("a") && !getSelection().toString()) row.querySelector("a").click();
});

unreadOnly.checked = sessionStorage.getItem(UNREAD_ONLY) === "yes";
const filter = () => {
  sessionStorage.setItem(UNREAD_ONLY, unreadOnly.checked ? "yes" : "no");
  days.classList.toggle("unread-only", unreadOnly.checked);
  afterChange();
};
unreadOnly.addEventListener("change", filter);
filter();

const help = helpDialog();
onKeys({
  j: () => select(1),
  k: () => select(-1),
  ArrowDown: () => select(1),
  ArrowUp: () => select(-1),
  "?": help,
});
document.addEventListener("visibilitychange", poll);
document.addEventListener("featx-uploaded", poll);
addEventListener("pageshow", (event) => event.persisted && poll());
const asked = days.querySelector(`tr[data-key="${CSS.escape(location.hash.slice(1))}"]`);
if (location.hash && asked?.offsetParent) focus(asked);
timer = setTimeout(poll, POLL_MS);
