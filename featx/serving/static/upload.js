// Files and folders that are dropped or chosen go to the server a few at a time.

import { leaveIfLoggedOut, reasonOf } from "./keys.js";

const BATCH_FILES = 8;
const BATCH_BYTES = 24 * 2 ** 20;
const PARALLEL = 2;
const TRIES = 4;
const ADDRESS = "/api/v1/predictions?wait=0";
const MOST_REFUSED_SHOWN = 200;

const days = document.getElementById("days");
const panel = document.getElementById("uploads");
const state = document.getElementById("upload-state");
const bar = document.getElementById("upload-progress");
const refused = document.getElementById("refused");
const again = document.getElementById("upload-again");
const close = document.getElementById("upload-close");
const drop = document.getElementById("drop");
const most = {
  files: Number(days.dataset.requestFiles),
  bytes: Number(days.dataset.fileBytes),
};

const queue = [];
const known = new Set();
let counts = { all: 0, done: 0, taken: 0, before: 0, refused: 0 };
let failed = [];
let workers = 0;
let waits = "";

const sleep = (seconds) => new Promise((resolve) => setTimeout(resolve, seconds * 1000));

// What is said of earlier uploads goes once new ones are chosen.
function begin() {
  if (workers) return;
  counts = { all: 0, done: 0, taken: 0, before: 0, refused: 0 };
  failed = [];
  refused.replaceChildren();
  days.querySelectorAll("tr[data-image]").forEach((row) => known.add(row.dataset.key));
}

function add(files) {
  if (!files.length) return;
  counts.all += files.length;
  queue.push(...files);
  panel.hidden = false;
  while (workers < PARALLEL) {
    workers += 1;
    work().finally(() => {
      workers -= 1;
      show();
    });
  }
  show();
}

async function work() {
  for (let batch = next(); batch.length; batch = next()) {
    await send(batch);
    document.dispatchEvent(new Event("featx-uploaded"));
  }
}

function next() {
  const batch = [];
  let bytes = 0;
  while (queue.length && batch.length < Math.min(BATCH_FILES, most.files)) {
    if (batch.length && bytes + queue[0].size > BATCH_BYTES) break;
    const file = queue.shift();
    if (file.size > most.bytes) {
      refuse(file.name, `a file of more than ${Math.floor(most.bytes / 2 ** 20)} MiB`);
      continue;
    }
    bytes += file.size;
    batch.push(file);
  }
  return batch;
}

async function send(batch) {
  for (let number = 1; ; number += 1) {
    const form = new FormData();
    batch.forEach((file) => form.append("images", file, file.name));
    let answer;
    try {
      answer = await fetch(ADDRESS, { method: "POST", body: form });
    } catch {
      if (number < TRIES) {
        wait("The server doesn't answer. It is tried again.");
        await sleep(2 ** number);
        continue;
      }
      batch.forEach((file) => refuse(file.name, "the server doesn't answer", file));
      return;
    }
    wait("");
    if (leaveIfLoggedOut(answer)) return;
    if (answer.status === 429 || answer.status === 503) {
      number -= 1; // a full queue is waited for
      wait("The server has enough to do at the moment. The rest is sent when it has room.");
      await sleep(Number(answer.headers.get("Retry-After")) || 5);
      continue;
    }
    const copy = answer.clone();
    const found = await answer.json().catch(() => null);
    // If all files of an upload are refused, their rows are in the error.
    const rows = Array.isArray(found) ? found : answer.status === 422 ? found?.predictions : null;
    if (rows?.length) return take(batch, rows);
    if (batch.length > 1) {
      // One of them may be what was refused.
      for (const file of batch) await send([file]);
      return;
    }
    refuse(batch[0].name, await reasonOf(copy), answer.status >= 500 ? batch[0] : null);
    return;
  }
}

// Rows come in the order of the files: one for each run, or one for a file that was refused. The
// server may have other runs than when this page was loaded.
function take(batch, rows) {
  const first = rows.find((row) => row.state !== "refused")?.run;
  const one = rows.filter((row) => row.state === "refused" || row.run === first);
  batch.forEach((file, place) => {
    const row = one[place];
    if (row.state === "refused") return refuse(file.name, row.error);
    if (known.has(row.id)) counts.before += 1;
    else counts.taken += 1;
    counts.done += 1;
    known.add(row.id);
  });
  show();
}

function refuse(name, reason, file = null) {
  counts.done += 1;
  counts.refused += 1;
  if (file) failed.push(file);
  if (refused.children.length < MOST_REFUSED_SHOWN) {
    const line = document.createElement("li");
    const what = document.createElement("b");
    what.textContent = name;
    line.append(what, `: ${reason}`);
    refused.append(line);
  }
  show();
}

function wait(why) {
  waits = why;
  show();
}

function show() {
  const busy = workers > 0 && counts.done < counts.all;
  const said = [`${counts.done} of ${counts.all} uploaded`];
  if (!busy) said[0] = `${counts.taken} of ${counts.all} added`;
  if (counts.before) said.push(`${counts.before} already here`);
  if (counts.refused) said.push(`${counts.refused} not taken`);
  state.textContent = [said.join(" · "), waits].filter(Boolean).join(". ");
  bar.max = Math.max(counts.all, 1);
  bar.value = counts.done;
  bar.hidden = !busy;
  refused.hidden = !refused.children.length;
  again.hidden = busy || !failed.length;
  close.hidden = busy;
}

again.addEventListener("click", () => {
  const files = failed.splice(0);
  begin();
  add(files);
});
close.addEventListener("click", () => {
  panel.hidden = true;
});

for (const id of ["files", "folder"]) {
  const input = document.getElementById(id);
  input.addEventListener("change", () => {
    begin();
    add([...input.files].filter((file) => !file.name.startsWith(".")));
    input.value = "";
  });
}

// Folders are walked through. Hidden files, such as .DS_Store, are no images.
async function filesOf(entry) {
  if (entry.name.startsWith(".")) return [];
  if (entry.isFile) {
    return new Promise((resolve) => entry.file((file) => resolve([file]), () => {
      refuseUnread(entry.name);
      resolve([]);
    }));
  }
  const reader = entry.createReader();
  const found = [];
  for (;;) {
    const some = await new Promise((resolve) => reader.readEntries(resolve, () => {
      refuseUnread(entry.name);
      resolve([]);
    }));
    if (!some.length) return found;
    for (const each of some) found.push(...(await filesOf(each)));
  }
}

function refuseUnread(name) {
  counts.all += 1;
  panel.hidden = false;
  refuse(name, "the browser can't read it");
}

const hasFiles = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
let depth = 0;

function mark(change) {
  depth = Math.max(0, depth + change);
  drop.classList.toggle("over", depth > 0);
}

document.addEventListener("dragenter", (event) => hasFiles(event) && mark(1));
document.addEventListener("dragleave", (event) => hasFiles(event) && mark(-1));
document.addEventListener("dragover", (event) => hasFiles(event) && event.preventDefault());
document.addEventListener("drop", async (event) => {
  if (!hasFiles(event)) return;
  event.preventDefault();
  mark(-depth);
  // Both are gone once this function waits for something.
  const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry?.());
  const plain = [...event.dataTransfer.files];
  begin();
  if (entries.some(Boolean)) {
    for (const entry of entries.filter(Boolean)) add(await filesOf(entry));
  } else add(plain);
});
addEventListener("beforeunload", (event) => {
  if (workers && counts.done < counts.all) event.preventDefault();
});
