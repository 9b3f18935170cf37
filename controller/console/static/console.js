// What pages do beside htmx: opened tables stay open when a fragment is renewed, changes are said, and it is told when
// the controller does not answer. Everything works without this file.
(() => {
  "use strict";
  let open = [];
  let lost = null;
  const by = (id) => document.getElementById(id);

  document.addEventListener("htmx:beforeSwap", (event) => {
    open = [...event.detail.target.querySelectorAll("details[open][id]")].map((each) => each.id);
  });
  document.addEventListener("htmx:afterSwap", () => {
    for (const id of open) by(id)?.setAttribute("open", "");
    open = [];
    say();
  });

  const said = new Map();
  function say() {
    const words = [];
    for (const each of document.querySelectorAll("[data-say]")) {
      const key = each.closest(".live")?.id + each.className;
      const text = each.dataset.say.trim();
      if (said.has(key) && said.get(key) !== text) words.push(text);
      said.set(key, text);
    }
    if (words.length) by("said").textContent = words.join(". ");
  }

  document.addEventListener("htmx:afterRequest", (event) => {
    const banner = by("offline");
    if (event.detail.successful) {
      lost = null;
      banner.hidden = true;
    } else if (lost === null) {
      lost = new Date();
      const at = lost.toISOString().slice(11, 16);
      banner.textContent = `The controller does not answer. What you see is how it was at ${at} UTC; it is asked again.`;
      banner.hidden = false;
    }
  });
  document.addEventListener("DOMContentLoaded", () => {
    say();
    by("problem")?.focus();
  });
})();
