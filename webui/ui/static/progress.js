// The line above the result: how far the job of this window is, and what waits behind it.
atelier.progress = (() => {
  const part = (name) => atelier.find(`#a-panel .a-${name}`);

  function draw(job) {
    const waiting = atelier.jobs.waiting();
    part("progress").hidden = waiting.length === 0;
    document.title = job?.fraction > 0 && waiting.length ? `(${Math.floor(job.fraction * 100)} %) Atelier` : "Atelier";
    if (!waiting.length) return;
    const percent = Math.round((job?.fraction ?? 0) * 100);
    part("bar").setAttribute("aria-valuenow", percent);
    part("bar").classList.toggle("a-unknown", !job || job.state === "queued" || job.steps === 0);
    part("bar").firstElementChild.style.width = `${percent}%`;
    part("now").textContent = describe(job);
    part("time").textContent = job?.eta_seconds != null ? `${atelier.duration(job.eta_seconds)} left` : "";
    drawQueue(waiting.slice(1));
  }

  function describe(job) {
    if (!job) return "Waiting for its turn";
    if (atelier.jobs.stopping(job.id)) return "Stopping after this step";
    if (job.state === "queued") return job.message || (job.position > 0 ? `Waiting: ${job.position} before this one` : "Waiting for its turn");
    const parts = [];
    if (job.steps > 0) parts.push(`Step ${job.step}/${job.steps}`);
    if (job.image_count > 1) parts.push(`picture ${Math.min(job.image + 1, job.image_count)} of ${job.image_count}`);
    if (job.message) parts.push(job.message);
    return parts.join(" · ") || "Starting";
  }

  /** Jobs of this window that wait behind the one that runs, each with its own way out. A chip stays the same element
   *  while its job waits: it could not be clicked otherwise. */
  function drawQueue(ids) {
    const queue = part("queue");
    if (queue.dataset.ids === ids.join()) return;
    queue.dataset.ids = ids.join();
    queue.replaceChildren(...ids.map(chip));
  }

  function chip(id, index) {
    const label = "Take it out of the queue";
    const cancel = () => atelier.jobs.interrupt(id);
    const button = atelier.el("button", { class: "a-close", title: label, "aria-label": label, onclick: cancel }, "×");
    return atelier.el("span", { class: "a-chip" }, `next ${index + 1}`, button);
  }

  return { draw };
})();
