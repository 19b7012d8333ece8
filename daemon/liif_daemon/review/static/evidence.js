// Says how far a report is, and leads to it, without loading the page anew: a screen reader would begin again each time.
"use strict";

const LOOK_MS = 2000;

async function look() {
  const answer = await fetch(location.href).catch(() => null);
  if (!answer || answer.status >= 500) return; // asked again soon: the page has ended, or has much to do
  const text = await answer.text();
  if (!text.includes('id="made"')) return location.reload(); // the report
  const made = new DOMParser().parseFromString(text, "text/html").getElementById("made");
  if (!made.querySelector("progress")) clearInterval(looking); // it failed
  document.getElementById("made").replaceChildren(...made.childNodes);
}

const looking = setInterval(look, LOOK_MS);
