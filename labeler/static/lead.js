"use strict";
/* What the lead pages do by themselves: folds stay as a person left them, charts fit their cards. */
(() => {
  const chosen = new Map();

  document.addEventListener("click", (event) => {
    const fold = event.target.closest?.("summary")?.parentElement;
    if (fold?.dataset.fold) chosen.set(fold.dataset.fold, !fold.open); // it turns after this click
  });

  // Plotly draws a chart 700 px wide while its tab is hidden: it is fitted once it has a width,
  // and again where it is fed after that. Once for each width: one that cannot be reached is left.
  const tried = new WeakMap();
  const refit = (chart) => {
    const wanted = chart.offsetWidth;
    const drawn = chart._fullLayout?.width;
    if (!wanted || !drawn || Math.abs(wanted - drawn) < 2) return;
    if (tried.get(chart) === `${drawn} ${wanted}`) return;
    tried.set(chart, `${drawn} ${wanted}`);
    window.Plotly?.Plots.resize(chart);
  };
  const fit = new ResizeObserver((seen) => seen.forEach(({ target }) => refit(target)));

  const keep = () => {
    for (const chart of document.querySelectorAll(".js-plotly-plot")) {
      fit.observe(chart);
      refit(chart);
    }
    for (const fold of document.querySelectorAll("details[data-fold]")) {
      const open = chosen.get(fold.dataset.fold);
      if (open !== undefined && open !== fold.open) fold.open = open;
    }
  };
  new MutationObserver(keep).observe(document.documentElement, { childList: true, subtree: true });
})();
