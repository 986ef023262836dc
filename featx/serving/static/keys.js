// Keys of a page: they do nothing while somebody types, nor with Ctrl, Alt or Meta.

const TYPING = "input:not([type=checkbox]), textarea, select, [contenteditable]";
const PRESSED_BY_SPACE = "button, summary, input";

/** Call what `actions` has for a key: an action that returns false lets the browser act, too. */
export function onKeys(actions) {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || event.isComposing) return;
    if (document.querySelector("dialog[open]")) return;
    const target = event.target instanceof Element ? event.target : document.body;
    if (target.closest(TYPING) && event.key !== "Escape") return;
    if (event.key === " " && target.closest(PRESSED_BY_SPACE)) return;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const action = actions[key];
    if (action && action(event) !== false) event.preventDefault();
  });
}

/** Open the list of keys with its button. Return a function that does so, too. */
export function helpDialog() {
  const dialog = document.getElementById("help");
  const open = () => dialog.showModal();
  document.querySelector("[data-action=help]").addEventListener("click", open);
  // A click beside it closes it.
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close();
  });
  return open;
}

/** Return the reason in an answer that isn't what was asked for. */
export async function reasonOf(answer) {
  try {
    const said = await answer.json();
    if (said.error?.what) return said.error.what;
  } catch {
    // It isn't JSON.
  }
  return `the server answered ${answer.status} ${answer.statusText}`.trim();
}

/** Log in again if the session is over. */
export function leaveIfLoggedOut(answer) {
  if (answer.status === 401 || (answer.redirected && new URL(answer.url).pathname === "/login")) {
    location.reload();
    return true;
  }
  return false;
}
