"use strict";
/* What the lead pages do by themselves: folds stay as a person left them, charts fit their cards. */
(() => {
  const chosen = new Map();

  document.addEventListener("click", (event) => {
    const fold = event.target.closest?.("summary")?.parentElement;
    if (fold?.dataset.fold) chosen.set(fold.dataset.fold, !fold.open); // it turns after this click
  });

  // Plotly draws a chart 700 px wide while its tab is hidden: it is fitted once it has a width.
  const fit = new ResizeObserver((seen) => {
    for (const { target } of seen) if (target.offsetWidth) window.Plotly?.Plots.resize(target);
  });

  const keep = () => {
    for (const chart of document.querySelectorAll(".js-plotly-plot")) fit.observe(chart);
    for (const fold of document.querySelectorAll("details[data-fold]")) {
      const open = chosen.get(fold.dataset.fold);
      if (open !== undefined && open !== fold.open) fold.open = open;
    }
  };
  new MutationObserver(keep).observe(document.documentElement, { childList: true, subtree: true });
})();
