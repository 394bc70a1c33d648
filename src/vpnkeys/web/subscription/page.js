// Shows times in the reader's own zone, and lets what is to be taken elsewhere be copied. Without a script, times are
// in UTC and texts are selected by hand.
"use strict";

for (const moment of document.querySelectorAll("time")) {
  const when = new Date(moment.dateTime);
  moment.textContent = when.toLocaleString(document.documentElement.lang, {
    year: "numeric", month: "long", day: "numeric", hour: "2-digit", minute: "2-digit", hourCycle: "h23",
    timeZoneName: "short",
  });
}

const said = /** @type {HTMLElement} */ (document.querySelector("[role=status]"));
for (const button of /** @type {NodeListOf<HTMLButtonElement>} */ (document.querySelectorAll("button.copy"))) {
  const text = /** @type {HTMLElement} */ (document.getElementById(button.dataset.of ?? ""));
  button.hidden = false;
  button.addEventListener("click", () => {
    said.textContent = "";
    copy(text).then(
      () => { said.textContent = said.dataset.copied ?? ""; },
      () => { said.textContent = said.dataset.not ?? ""; select(text); },
    );
  });
}

/** @param {HTMLElement} text */
async function copy(text) {
  await navigator.clipboard.writeText(text.textContent ?? "");
}

/** @param {HTMLElement} text */
function select(text) {
  const range = document.createRange();
  range.selectNodeContents(text);
  const selection = getSelection();
  selection?.removeAllRanges();
  selection?.addRange(range);
  text.focus();
}
