// Copies the command.

const copied = document.getElementById("copied");
const command = document.getElementById("command");

document.getElementById("copy").addEventListener("click", async () => {
  try {
    await navigator.clipboard.writeText(command.textContent);
    copied.textContent = "Copied.";
  } catch {
    // Without TLS a browser may not let a page copy: the text is selected instead.
    getSelection().selectAllChildren(command);
    copied.textContent = "Press Ctrl-C to copy it.";
  }
});
