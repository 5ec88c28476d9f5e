// Pointing at a member's line or row marks it in every chart of its run; a click keeps it.
for (const run of document.querySelectorAll("article")) {
  let kept = null;
  const mark = (m) => {
    run.classList.toggle("chosen", m !== null);
    for (const x of run.querySelectorAll(".on")) x.classList.remove("on");
    if (m !== null) for (const x of run.querySelectorAll(`[data-m="${m}"]`)) x.classList.add("on");
  };
  const member = (e) => e.target.closest("[data-m]")?.dataset.m ?? null;
  run.addEventListener("pointerover", (e) => mark(member(e) ?? kept));
  run.addEventListener("pointerleave", () => mark(kept));
  run.addEventListener("click", (e) => {
    const m = member(e);
    kept = m === kept ? null : m;
    mark(kept);
  });
}
