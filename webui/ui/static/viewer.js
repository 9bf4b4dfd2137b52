// The picture alone, as large as the window: ← → to the next, s to save, Esc back.
atelier.viewer = (() => {
  let box = null;

  function open() {
    box ??= document.body.appendChild(build());
    box.hidden = false;
    draw();
    box.focus();
  }

  function build() {
    const side = (sign, label, name) => atelier.el("button", { class: `a-side a-${name}`, "aria-label": label, onclick: (event) => { event.stopPropagation(); move(sign); } }, sign < 0 ? "‹" : "›");
    const img = atelier.el("img", { alt: "" });
    return atelier.el("div", { class: "a-viewer", tabindex: "-1", role: "dialog", "aria-label": "Picture", onclick: close }, side(-1, "Previous", "left"), img, side(1, "Next", "right"));
  }

  function draw() {
    const picture = atelier.result.shown();
    if (!picture) return close();
    const img = box.querySelector("img");
    img.src = atelier.result.imageUrl(picture.image);
    img.alt = `Seed ${picture.image.seed}`;
  }

  function move(by) {
    atelier.result.step(by);
    draw();
  }

  function close() {
    if (box) box.hidden = true;
  }

  const isOpen = () => box !== null && !box.hidden;

  /** True where the key was meant for the viewer. */
  function key(name) {
    const does = { ArrowLeft: () => move(-1), ArrowRight: () => move(1), s: atelier.result.download, Escape: close };
    if (!isOpen() || !does[name]) return false;
    does[name]();
    return true;
  }

  return { open, close, key, isOpen };
})();
