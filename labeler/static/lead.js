"use strict";
/* A part that a person unfolded or folded stays so while the page paints its card anew. */
(() => {
  const chosen = new Map();

  document.addEventListener("click", (event) => {
    const fold = event.target.closest?.("summary")?.parentElement;
    if (fold?.dataset.fold) chosen.set(fold.dataset.fold, !fold.open); // it turns after this click
  });

  const keep = () => {
    for (const fold of document.querySelectorAll("details[data-fold]")) {
      const open = chosen.get(fold.dataset.fold);
      if (open !== undefined && open !== fold.open) fold.open = open;
    }
  };
  new MutationObserver(keep).observe(document.documentElement, { childList: true, subtree: true });
})();
