// The result of this window: live preview of the job that runs, the picture that is chosen, its PNG text.
atelier.result = (() => {
  const STRIP = 60;
  let chosen = null; // {image, job} that the user picked; null: the live preview, else the latest picture
  let shelf = null; // the pictures among which ← and → move: those of the gallery, or null for this window's
  let preview = { shown: "", loading: false };

  const part = (name) => atelier.find(`#a-panel .a-${name}`);
  const imageUrl = (image) => `/api/v1/images/${encodeURIComponent(image.id)}.png`;
  const thumbUrl = (image) => `/api/v1/images/${encodeURIComponent(image.id)}/thumb.jpg`;

  /** All pictures of this window, newest job first, in a job in the order they were made. */
  function pictures() {
    const jobs = atelier.jobs.known().reverse();
    return jobs.flatMap((job) => job.images.map((image) => ({ image, job }))).slice(0, STRIP);
  }

  /** The picture that is shown where there is no live preview. */
  const shown = () => chosen ?? pictures()[0] ?? null;

  /** A new job was taken: from now on the live preview is shown. */
  function started() {
    chosen = shelf = null;
    atelier.say("result");
    draw();
    if (window.matchMedia("(max-width: 860px)").matches) window.scrollTo({ top: 0, behavior: "smooth" });
  }

  /** The server told how a job stands. */
  function update(view, before) {
    if (atelier.jobs.over(view) && !atelier.jobs.over(before)) ended(view);
    draw();
  }

  function ended(view) {
    tell(view, view.state === "interrupted" ? [{ level: "info", message: "Interrupted.", cure: view.images.length ? "What was finished is kept." : "" }] : []);
    if (view.error?.code === "engine_died") atelier.status.look();
    atelier.gallery.stale();
  }

  /** Shows the error and the notes of a job that is over. */
  function tell(view, first = []) {
    const notes = view.notes.map((note) => ({ level: "warning", message: note }));
    const messages = [...(view.error ? [view.error] : first), ...notes];
    if (messages.length) atelier.say("result", ...messages);
  }

  function draw() {
    const panel = atelier.find("#a-panel");
    if (!panel) return;
    const job = atelier.jobs.view(atelier.jobs.current());
    const live = !chosen && job?.preview > 0;
    const picture = live ? null : shown();
    const busy = atelier.jobs.waiting().length > 0;
    document.body.classList.toggle("a-busy", busy);
    panel.classList.toggle("a-nothing", !picture && !busy);
    atelier.progress.draw(job);
    if (live) showPreview(job);
    else showPicture(picture);
    drawStrip(picture);
    drawText(picture);
    atelier.reports.draw(live || !picture ? (job ?? null) : picture.job);
    part("actions").hidden = !picture;
  }

  function showPicture(picture) {
    const element = part("picture");
    preview.shown = "";
    element.classList.remove("a-live");
    element.hidden = !picture;
    if (!picture) return;
    const { image } = picture;
    element.alt = `Seed ${image.seed}`;
    setSize(element, image.width, image.height);
    if (element.getAttribute("src") !== imageUrl(image)) element.src = imageUrl(image);
  }

  /** The next preview replaces the last one only when it has arrived: no flicker, and no request while one is under way. */
  function showPreview(job) {
    const url = atelier.jobs.path(job.id, `/preview.jpg?n=${job.preview}`);
    if (url === preview.shown || preview.loading) return;
    preview.loading = true;
    const next = new Image();
    next.onload = () => {
      preview.loading = false;
      if (chosen || atelier.jobs.current() !== job.id) return;
      preview.shown = url;
      putPreview(url, ...sizeOfPreview(next, job.request));
      draw();
    };
    next.onerror = () => (preview.loading = false);
    next.src = url;
  }

  /** The size of what is drawn, known by the request to the pixel; pictures of a batch stand side by side. */
  function sizeOfPreview(image, { width, height }) {
    if (!width || !height) return [image.width, image.height];
    return [width * Math.max(1, Math.round((image.width * height) / (image.height * width))), height];
  }

  function putPreview(url, width, height) {
    const element = part("picture");
    element.classList.add("a-live");
    element.hidden = false;
    element.alt = "Live preview";
    setSize(element, width, height);
    element.src = url;
  }

  /** Small pictures are shown up to four times as large as they are; the shape is known before the pixels come. */
  function setSize(picture, width, height) {
    picture.style.aspectRatio = `${width} / ${height}`;
    picture.style.setProperty("--wide", `${Math.max(width, Math.min(width * 4, 512))}px`);
    picture.style.setProperty("--ratio", width / height);
  }

  function drawStrip(shown) {
    const all = pictures();
    const strip = part("strip");
    strip.hidden = all.length < 2;
    arrange(strip, all);
    [...strip.children].forEach((thumb) => thumb.classList.toggle("a-chosen", shown?.image.id === thumb.dataset.id));
  }

  /** Puts up the thumbnails of these pictures. One that is there already stays: nothing is loaded twice, no press lost. */
  function arrange(strip, all) {
    const have = new Map([...strip.children].map((child) => [child.dataset.id, child]));
    if ([...have.keys()].join() === all.map(({ image }) => image.id).join()) return;
    strip.replaceChildren(...all.map(({ image }) => have.get(image.id) ?? thumbnail(image, () => choose(image.id))));
  }

  function thumbnail(image, onclick) {
    const img = atelier.el("img", { src: thumbUrl(image), alt: `Seed ${image.seed}`, loading: "lazy" });
    const title = `Seed ${image.seed}, ${image.width} × ${image.height}`;
    return atelier.el("button", { class: "a-thumb", title, "data-id": image.id, onclick }, img);
  }

  function drawText(shown) {
    part("info").hidden = !shown;
    if (shown && part("text").textContent !== shown.image.infotext) part("text").textContent = shown.image.infotext;
  }

  function choose(id) {
    const found = pictures().find(({ image }) => image.id === id);
    if (found) show(found);
  }

  /** Shows a picture, of this window or of the gallery (`among` its pictures). */
  function show(picture, among = null) {
    chosen = picture;
    shelf = among;
    draw();
  }

  /** Moves the choice by so many pictures. */
  function step(by) {
    const all = shelf ?? pictures();
    const at = all.findIndex(({ image }) => image.id === shown()?.image.id);
    if (all.length) show(all[Math.min(all.length - 1, Math.max(0, at + by))], shelf);
  }

  const FOLLOWS = ["prompt", "negative_prompt", "styles", "sampler", "scheduler", "steps", "cfg_scale"];

  /** The picture goes over to another tab, and the words that made it with it. */
  function send(tab) {
    const picture = shown();
    if (!picture) return;
    show(picture);
    const { request } = picture.job;
    atelier.form.fill(tab, Object.fromEntries(FOLLOWS.map((name) => [name, request[name]])));
    document.getElementById(`${tab}-send`).click();
  }

  /** The whole request comes back into its form, with the seed of this very picture. */
  function reuse() {
    const picture = shown();
    if (!picture) return;
    const { job, image } = picture;
    atelier.form.fill(job.kind, { ...job.request, seed: image.seed });
    atelier.tabs.open(job.kind);
  }

  function download() {
    const picture = shown();
    if (!picture) return;
    const { image } = picture;
    atelier.el("a", { href: imageUrl(image), download: `${image.seed}-${image.id.slice(0, 8)}.png` }).click();
  }

  /** Browsers lend the clipboard only to pages of this computer and of https; elsewhere the text is selected. */
  async function copyText() {
    window.getSelection().selectAllChildren(part("text"));
    if (!navigator.clipboard) return;
    await navigator.clipboard.writeText(shown().image.infotext);
    part("copy").textContent = "Copied";
    setTimeout(() => (part("copy").textContent = "Copy"), 1200);
  }

  function wire() {
    const does = { "send-img2img": () => send("img2img"), "send-inpaint": () => send("inpaint"), reuse, download, copy: copyText };
    for (const [name, action] of Object.entries(does)) part(name).addEventListener("click", action);
    part("picture").addEventListener("click", () => part("picture").matches(":not(.a-live)") && atelier.viewer.open());
    part("picture").addEventListener("error", () => (part("picture").hidden = true));
  }

  return {
    started, update, tell, draw, choose, show, shown, step, send, download, wire, imageUrl, thumbnail, pictures,
    seed: () => shown()?.image.seed,
    id: () => shown()?.image.id ?? "",
  };
})();
