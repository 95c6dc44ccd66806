"use strict";
/* The further slices of a long text: made when they are opened, so that closed ones cost nothing. */
(() => {
  const fill = (slice) => {
    if (!slice.dataset?.html) return;
    slice.insertAdjacentHTML("beforeend", slice.dataset.html);
    delete slice.dataset.html;
  };

  document.addEventListener("toggle", (event) => {
    if (event.target.matches?.("details.more[open]")) fill(event.target);
  }, true); // it does not bubble

  // All of them, one after the other, so that the page answers in between.
  document.addEventListener("click", async (event) => {
    const button = event.target.closest?.("[data-show-all]");
    if (!button) return;
    button.hidden = true;
    for (const slice of button.parentElement.querySelectorAll(":scope > details.more:not([open])")) {
      fill(slice);
      slice.open = true;
      await new Promise((resume) => { requestAnimationFrame(() => setTimeout(resume)); });
    }
  });
})();
