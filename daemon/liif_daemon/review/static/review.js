// The review page works without this file but for the slider; here are the slider, the keys and the live strip.
"use strict";

const LIVE_MS = 2000;

document.documentElement.classList.add("script");

// The slider: the original lies over the result and is cut off at the edge.

function compare(whole) {
  const stage = whole.querySelector(".stage");
  const before = whole.querySelector(".before");
  const edge = whole.querySelector(".edge");
  const split = document.querySelector(".split");
  const show = () => {
    const x = (stage.clientWidth * split.value) / 100;
    edge.style.left = `${x}px`;
    const inside = Math.max(0, Math.min(before.offsetWidth, stage.scrollLeft + x));
    before.style.clipPath = `inset(0 ${before.offsetWidth - inside}px 0 0)`;
  };
  const set = (share) => {
    split.value = Math.max(0, Math.min(100, share));
    show();
  };
  split.addEventListener("input", show);
  stage.addEventListener("scroll", show, { passive: true });
  new ResizeObserver(show).observe(stage);

  drag(edge, (event) => {
    const frame = stage.getBoundingClientRect();
    set((100 * (event.clientX - frame.left)) / stage.clientWidth);
  });
  // A mouse pulls the picture; fingers scroll it by themselves.
  let from = null;
  stage.addEventListener("pointerdown", (event) => {
    const onBar = event.offsetX >= stage.clientWidth && event.target === stage;
    if (event.pointerType !== "mouse" || event.button || onBar) return;
    from = { x: event.clientX + stage.scrollLeft, y: event.clientY + stage.scrollTop };
    stage.setPointerCapture(event.pointerId);
    stage.classList.add("held");
  });
  stage.addEventListener("pointermove", (event) => {
    if (from) stage.scrollTo(from.x - event.clientX, from.y - event.clientY);
  });
  for (const end of ["pointerup", "pointercancel"]) {
    stage.addEventListener(end, () => {
      from = null;
      stage.classList.remove("held");
    });
  }
  document.querySelector(".pixels").addEventListener("change", (event) => {
    whole.classList.toggle("pixelated", event.target.checked);
  });
  // A large picture begins in its middle.
  stage.scrollTo((stage.scrollWidth - stage.clientWidth) / 2, (stage.scrollHeight - stage.clientHeight) / 2);
  show();
  return { flip: () => set(split.value > 50 ? 0 : 100) };
}

function drag(element, move) {
  element.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    event.preventDefault();
    element.setPointerCapture(event.pointerId);
    move(event);
  });
  element.addEventListener("pointermove", (event) => {
    if (element.hasPointerCapture(event.pointerId)) move(event);
  });
}

const whole = document.querySelector(".compare");
const slider = whole && compare(whole);

// Keys.

const rows = [...document.querySelectorAll(".row")];
const links = rows.map((row) => row.querySelector(".open"));

// Whose voice or hand hits letters by chance can turn them off. A cookie, since the port and with it the store of a page
// is another each time.
const letters = document.querySelector(".letters input");
letters.checked = !document.cookie.split("; ").includes("letters=off");
letters.addEventListener("change", () => {
  document.cookie = `letters=${letters.checked ? "on" : "off"}; path=/; max-age=31536000; samesite=strict`;
});

function step(by) {
  const at = rows.findIndex((row) => row.contains(document.activeElement));
  const next = links[at < 0 ? 0 : Math.max(0, Math.min(links.length - 1, at + by))];
  if (next) next.focus();
}

function press(key) {
  const selector = `[data-key="${CSS.escape(key)}"]`;
  const row = rows.find((one) => one.contains(document.activeElement));
  const place = rows.length && key !== "/" ? row : document;
  const found = place && place.querySelector(selector);
  if (!found) return false;
  if (found.tagName === "INPUT") found.focus();
  else found.click();
  return true;
}

document.addEventListener("keydown", (event) => {
  const typing = event.target.matches("input:not([type=range]):not([type=checkbox]), select, textarea");
  if (event.ctrlKey || event.altKey || event.metaKey || event.repeat && !event.key.startsWith("Arrow")) return;
  if (typing) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  const isButton = event.target.matches("a, button, input");
  if (rows.length && (event.key === "ArrowDown" || event.key === "ArrowUp")) {
    step(event.key === "ArrowDown" ? 1 : -1);
  } else if (event.key === " " && slider && (!isButton || event.target.type === "range")) {
    slider.flip();
  } else if ((event.key.length === 1 && !letters.checked) || !press(event.key)) {
    return;
  }
  event.preventDefault();
});

for (const select of document.querySelectorAll(".filter select")) {
  select.addEventListener("change", () => select.form.requestSubmit());
}

// No broken picture beside what is no picture.
for (const image of document.querySelectorAll(".row img[src]")) {
  const hide = () => image.classList.add("none");
  image.addEventListener("error", hide);
  if (image.complete && image.loading !== "lazy" && !image.naturalWidth) hide();
}

const damage = document.getElementById("damage");
if (damage) {
  fetch(damage.dataset.from).then(async (answer) => {
    if (answer.ok) damage.textContent = await answer.text();
  }, () => {});
}

// A screen reader speaks of what comes into a live region, not of what the page came with.
for (const one of document.querySelectorAll(".said[role]")) {
  const words = one.textContent;
  one.style.minHeight = `${one.offsetHeight}px`;
  one.textContent = "";
  setTimeout(() => { one.textContent = words; }, 100);
}

// The live strip, while somebody looks.

const ENDED = "The review page has ended: run <code>liif-daemon review</code> again.";
const REPLACED = "This tab is refused by now: go on in the tab of the link that was opened last.";

let newest = Number(document.getElementById("live").dataset.newest);

async function look() {
  if (document.hidden) return;
  const answer = await fetch("/live").catch(() => null);
  if (answer && !answer.ok && answer.status !== 403) return; // much to do: asked again soon
  const wrong = !answer ? ENDED : REPLACED;
  const text = answer?.ok ? await answer.text() : `<section id="live" aria-label="The daemon now"><p class="said bad" role="alert">${wrong}</p></section>`;
  const strip = new DOMParser().parseFromString(text, "text/html").getElementById("live");
  const old = document.getElementById("live");
  if (strip.innerHTML !== old.innerHTML) old.replaceWith(strip);
  if (!strip.dataset.counts) return;
  for (const [view, count] of Object.entries(JSON.parse(strip.dataset.counts))) {
    document.querySelector(`[data-count="${view}"]`).textContent = count;
  }
  const link = document.getElementById("newer");
  if (link && Number(strip.dataset.newest) > newest) link.hidden = false;
}

setInterval(look, LIVE_MS);
document.addEventListener("visibilitychange", look);
