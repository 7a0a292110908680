// Fetches <main> of this page again every 5 s while it is visible. The page is complete without it.
"use strict";
(() => {
  const EVERY_MS = 5000, LONGEST_MS = 60000;
  const live = document.getElementById("live");
  let tag = "", delay = EVERY_MS, timer = 0, well = new Date(live.querySelector("time").dateTime);

  const clock = (date) => date.toISOString().slice(11, 19) + " UTC";

  function show(date) {
    well = date;
    live.setAttribute("aria-live", "off"); // a clock that is read aloud every 5 s is noise
    live.classList.remove("stale");
    live.textContent = clock(date);
  }

  function stale() {
    live.setAttribute("aria-live", "polite");
    live.classList.add("stale");
    live.textContent = `stale since ${clock(well)}`;
  }

  function busy() { // a selection, or a field of <main> in which something is typed
    const main = document.getElementById("main"), picked = getSelection(), field = document.activeElement;
    return (picked && !picked.isCollapsed && main.contains(picked.anchorNode)) ||
      (field && main.contains(field) && /^(INPUT|TEXTAREA|SELECT)$/.test(field.tagName));
  }

  function replace(text) {
    const fresh = new DOMParser().parseFromString(text, "text/html"), next = fresh.getElementById("main");
    const main = document.getElementById("main"), focused = document.activeElement;
    if (!next) throw new Error("no content");
    const id = main.contains(focused) ? focused.id : "", x = scrollX, y = scrollY;
    const open = [...main.querySelectorAll("details[open][id]")].map((one) => one.id);
    const moved = [...main.querySelectorAll("[id]")].filter((one) => one.scrollLeft).map((one) => [one.id, one.scrollLeft]);
    main.replaceWith(document.importNode(next, true));
    document.title = fresh.title;
    for (const one of open) document.getElementById(one)?.setAttribute("open", "");
    for (const [one, left] of moved) { const box = document.getElementById(one); if (box) box.scrollLeft = left; }
    if (id) document.getElementById(id)?.focus({ preventScroll: true });
    scrollTo(x, y);
  }

  async function refresh() {
    if (document.hidden || busy()) return again();
    try {
      const headers = tag ? { "If-None-Match": tag, Accept: "text/html" } : { Accept: "text/html" };
      const answer = await fetch(location.href, { headers, cache: "no-store", signal: AbortSignal.timeout(10000) });
      if (answer.status === 200) {
        const text = await answer.text();
        if (!busy()) { replace(text); tag = answer.headers.get("ETag") || ""; }
      } else if (answer.status !== 304) throw new Error(answer.statusText);
      show(new Date(answer.headers.get("Date") || Date.now()));
      delay = EVERY_MS;
    } catch {
      stale();
      delay = Math.min(2 * delay, LONGEST_MS);
    }
    again();
  }

  function again() {
    clearTimeout(timer);
    timer = setTimeout(refresh, delay);
  }

  if (document.getElementById("main").hasAttribute("data-still")) return;
  const here = new URL(location.href);
  if (here.searchParams.has("done")) { // the message of a command stands until the next refresh
    here.searchParams.delete("done");
    history.replaceState(null, "", here);
  }
  document.addEventListener("visibilitychange", () => { if (!document.hidden) { clearTimeout(timer); refresh(); } });
  again();
})();
