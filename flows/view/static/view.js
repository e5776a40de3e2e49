// Keys, and parts of a page that are fetched again while a run goes on. Every page can be read and walked without it.
"use strict";

(() => {
  const rows = () => [...document.querySelectorAll("[data-row]")];
  let at = -1;

  const select = (place) => {
    const all = rows();
    if (!all.length) return false;
    at = Math.max(0, Math.min(place, all.length - 1));
    all.forEach((row, n) => row.toggleAttribute("data-at", n === at));
    all[at].scrollIntoView({ block: "nearest" });
    sessionStorage.setItem(`at ${location.pathname}${location.search}`, String(at));
    return true;
  };

  const follow = (selector) => {
    const link = document.querySelector(selector);
    if (link) link.click();
    return Boolean(link);
  };

  const step = (by) => {
    if (follow(by > 0 ? "a[rel=next]" : "a[rel=prev]")) return;
    const last = rows().length - 1;
    if (by > 0 && at === last && follow(".pager a[data-page=next]")) return;
    if (by < 0 && at === 0 && follow(".pager a[data-page=previous]")) return;
    select(at + by);
  };

  const isField = (element) => element && /^(INPUT|SELECT|TEXTAREA)$/.test(element.tagName) && element.type !== "checkbox";
  const keys = document.getElementById("keys");
  const button = document.querySelector("[data-keys]");
  if (button) {
    button.hidden = false;
    button.addEventListener("click", () => keys.showModal());
  }

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || keys.open) return;
    if (isField(event.target)) {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    if (event.key === "j" || event.key === "k") step(event.key === "j" ? 1 : -1);
    else if (event.key === "Enter" && at >= 0 && !event.target.closest("a, button, summary, input")) {
      const link = rows()[at] && rows()[at].querySelector("a[data-open]");
      if (link) link.click();
    } else if (event.key === "Escape") follow("a[rel=up]");
    else if (event.key === "/") {
      const field = document.querySelector("input[type=search]");
      if (!field) return;
      field.focus();
      field.select();
    } else if (event.key === "?") keys.showModal();
    else return;
    event.preventDefault();
  });

  const kept = sessionStorage.getItem(`at ${location.pathname}${location.search}`);
  if (kept !== null && document.referrer.startsWith(location.origin)) select(Number(kept));

  document.querySelectorAll("form[data-auto] select").forEach((field) => {
    field.addEventListener("change", () => field.form.requestSubmit());
  });

  // An empty field need not stand in an address that is sent to somebody.
  document.querySelectorAll("form.search").forEach((form) => {
    form.addEventListener("submit", () => {
      form.querySelectorAll("[name]").forEach((field) => { field.disabled = !field.value; });
    });
  });

  const fetchAgain = async (part) => {
    let pause = 2000;
    for (;;) {
      await new Promise((done) => setTimeout(done, pause));
      if (document.hidden) continue;
      try {
        const answer = await fetch(part.dataset.live, { cache: "no-cache" });
        if (!answer.ok) throw new Error(String(answer.status));
        const text = await answer.text();
        const page = new DOMParser().parseFromString(text, "text/html");
        if (page.querySelector("[data-done]")) {
          location.reload();
          return;
        }
        if (part.dataset.text !== text) part.replaceChildren(...page.body.childNodes);
        part.dataset.text = text;
        pause = 2000;
      } catch {
        pause = Math.min(2 * pause, 30000); // the server is away; it may come back
      }
    }
  };
  document.querySelectorAll("[data-live]").forEach(fetchAgain);

  document.querySelectorAll("img[data-again]").forEach((image) => {
    const source = image.getAttribute("src");
    setInterval(() => { if (!document.hidden) image.src = `${source}?at=${Date.now()}`; }, Number(image.dataset.again));
  });
  document.querySelectorAll("p[data-again]").forEach((note) => {
    setTimeout(() => { if (at < 0 && !isField(document.activeElement)) location.reload(); }, Number(note.dataset.again));
  });
})();
