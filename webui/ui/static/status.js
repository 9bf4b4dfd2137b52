// Is the server there, is its engine ready, is there a public link? Asked now and then while the window is visible.
atelier.status = (() => {
  const CALM = 10_000;
  const SOON = 1_500;
  let reached = true;
  let timer = 0;

  async function look() {
    clearTimeout(timer);
    let pause = CALM;
    try {
      const status = await atelier.api("/api/v1/status");
      draw(status);
      pause = status.ready ? CALM : SOON;
      if (!reached) atelier.jobs.resume();
      reached = true;
    } catch (problem) {
      reached = false;
      atelier.jobs.unanswered();
      pause = SOON;
      draw({ ready: false, message: problem.message, cure: problem.cure, lost: true });
    }
    timer = setTimeout(() => (document.hidden ? document.addEventListener("visibilitychange", look, { once: true }) : look()), pause);
  }

  function draw({ ready, message, cure = "", share = null, share_problem: unshared = "", login = false, lost = false }) {
    const chip = atelier.find("#a-state");
    chip.className = `a-state ${lost ? "a-lost" : ready ? "a-ready" : "a-starting"}`;
    chip.textContent = lost ? "No connection" : ready ? "Ready" : "Starting";
    chip.title = message ?? "";
    banner(ready ? unshared : message, cure, lost);
    link(share);
    if (!lost) atelier.find("#a-logout").hidden = !login;
  }

  function banner(message, cure, lost) {
    const box = atelier.find("#a-banner");
    box.hidden = !message;
    box.className = lost ? "a-banner a-error" : "a-banner a-info";
    box.textContent = message ? `${message} ${cure}`.trim() : "";
  }

  function link(share) {
    const anchor = atelier.find("#a-share");
    const safe = typeof share === "string" && /^https?:\/\//.test(share);
    anchor.hidden = !safe;
    if (safe) anchor.href = share;
    anchor.textContent = safe ? share.replace(/^https?:\/\//, "") : "";
  }

  return { look };
})();
