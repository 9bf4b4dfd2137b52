// Recent pictures of this owner, from all windows, and the jobs that still run somewhere.
atelier.gallery = (() => {
  const PAGE = 100;
  let fresh = false;
  let all = []; // the pictures on show, newest job first
  let oldest = ""; // id of the oldest job on show

  async function open() {
    if (fresh) return;
    const grid = await atelier.appears("#a-gallery");
    const jobs = await read("");
    if (!jobs) return;
    fresh = true;
    all = [];
    grid.replaceChildren(...jobs.filter((job) => !atelier.jobs.over(job)).map(pending));
    add(grid, jobs);
    atelier.find("#a-gallery-more").onclick = async () => add(grid, (await read(`&before=${oldest}`)) ?? []);
    atelier.find("#a-gallery-empty").hidden = grid.childElementCount > 0;
  }

  async function read(before) {
    try {
      return (await atelier.api(`/api/v1/jobs?limit=${PAGE}${before}`)).jobs;
    } catch (problem) {
      atelier.say("gallery", problem);
      return null;
    }
  }

  function add(grid, jobs) {
    const found = jobs.flatMap((job) => job.images.map((image) => ({ image, job })));
    all.push(...found);
    oldest = jobs.at(-1)?.id ?? oldest;
    grid.append(...found.map(cell));
    atelier.find("#a-gallery-more").hidden = jobs.length < PAGE;
  }

  function cell(picture) {
    const thumb = atelier.result.thumbnail(picture.image, () => atelier.result.show(picture, all));
    thumb.title = picture.job.request.prompt || `Seed ${picture.image.seed}`;
    return thumb;
  }

  /** A job that runs, perhaps of a window that was closed: this window can follow it. */
  function pending(job) {
    const follow = () => {
      atelier.jobs.add(job.id);
      atelier.result.started();
    };
    return atelier.el("button", { class: "a-thumb a-pending", title: job.request.prompt, onclick: follow }, job.state === "queued" ? "Waiting" : "Running", atelier.el("small", {}, "follow"));
  }

  /** Something new was made: read again when the tab is next looked at. */
  function stale() {
    fresh = false;
    if (atelier.find("#a-gallery")?.offsetParent) open();
  }

  return { open, stale };
})();
