"use strict";
// Shows the values under the pointer, the same moment in all charts. The page is complete without it.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const readout = document.getElementById("readout");
  const resting = readout.textContent;
  const plots = document.querySelectorAll("#timeline .plot, #fates .plot");
  const cursors = document.querySelectorAll(".cursor");
  const ms = (x) => x >= 1000 ? (x / 1000).toPrecision(3) + " s" : x >= 100 ? x.toFixed(0) + " ms" : x.toPrecision(3) + " ms";
  const per = (x) => Math.round(x).toLocaleString("en").replace(/,/g, "\u202f") + "/s";
  const show = (event) => {
    const box = event.currentTarget.getBoundingClientRect();
    const at = Math.min(Math.max((event.clientX - box.left) / box.width, 0), 1);
    const seconds = at * data.length;
    const row = data.rows[Math.min(Math.floor(seconds / data.step), data.rows.length - 1)];
    let text = seconds.toFixed(data.length < 10 ? 3 : 1) + " s: appends " + per(row[0]) + ", reads " + per(row[1]);
    if (row[2]) text += ", failing " + per(row[2]);
    if (row[3]) text += " · append p50 " + ms(row[3]) + ", p95 " + ms(row[4]) + ", p99 " + ms(row[5]) + ", max " + ms(row[6]);
    const active = data.faults.filter((f) => f.from <= seconds && seconds <= f.to).map((f) => f.name);
    if (active.length) text += " · " + active.join(", ");
    readout.textContent = text;
    for (const c of cursors) { c.style.left = 100 * at + "%"; c.style.display = "block"; }
  };
  const hide = () => {
    readout.textContent = resting;
    for (const c of cursors) c.style.display = "none";
  };
  for (const p of plots) {
    p.addEventListener("pointermove", show);
    p.addEventListener("pointerdown", show);
    p.addEventListener("pointerleave", hide);
  }
})();
