// What is worked on large: a dialog before the whole page, and in it a board that is zoomed.
atelier.dialog = (() => {
  const { el } = atelier;
  const CLOSER = 1.2; // a step of the zoom
  const CLOSEST = 8; // times the width at which all of a board is seen
  const NARROWEST = 40; // pixels of the screen

  const button = (text, act, title, more = {}) => el("button", { type: "button", class: "a-chip", title, onclick: act, ...more }, text);

  /** Shows a dialog. head: what stands beside its title; hint: how it is worked with; steps: {undo, redo}; pressed: takes
   *  each other key, and says whether it was for it; use: what "Use it" does, given what closes the dialog with an answer;
   *  resolve: told the answer, null where the user cancelled. Keys stay in the dialog. */
  function open({ title, head, body, hint, steps, pressed, use, resolve }) {
    const close = (answer) => {
      element.remove();
      resolve(answer);
    };
    const take = button("Use it", () => use(close), null, { class: "a-chip a-strong" });
    const top = el("div", { class: "a-paint-head" }, el("strong", {}, title), ...head);
    const foot = el("div", { class: "a-paint-foot" }, el("span", { class: "a-soft" }, hint), button("Cancel", () => close(null)), take);
    const element = el("div", { class: "a-paint a-html", role: "dialog", "aria-modal": "true", "aria-label": title, tabindex: "-1" }, el("div", { class: "a-paint-frame" }, top, body, foot));
    element.addEventListener("keydown", (event) => {
      event.stopPropagation();
      if (usual(event, steps, close) || pressed(event)) event.preventDefault();
    });
    document.body.append(element);
    return { element, take };
  }

  /** The keys of every dialog; says whether it was one of them. */
  function usual(event, steps, close) {
    const [control, name] = [event.ctrlKey || event.metaKey, event.key.toLowerCase()];
    if (event.key === "Escape") close(null);
    else if (control && name === "z") steps[event.shiftKey ? "redo" : "undo"]();
    else if (control && name === "y") steps.redo();
    else return false;
    return true;
  }

  const STOPS = "button:not(:disabled), input:not(:disabled), textarea, select, summary, [href], [tabindex='0']";

  /** Tab stays in the dialog: at an edge it goes to the other one. Says whether it was at one. */
  function within(event, dialog) {
    const stops = [...dialog.querySelectorAll(STOPS)].filter((stop) => stop.getClientRects().length);
    const [first, last] = [stops[0], stops.at(-1)];
    const edge = event.shiftKey ? [first, dialog].includes(document.activeElement) : document.activeElement === last;
    if (edge) (event.shiftKey ? last : first).focus();
    return edge;
  }

  /** Lets a board that shows so many pixels be zoomed, by the wheel too. zoom: its width times this; 1 fits it again.
   *  zoomed: called after that. */
  function zooming(board, [width, height], zoomed = () => {}) {
    let factor = 1;
    const scroll = el("div", { class: "a-board-scroll" }, board);
    board.style.aspectRatio = `${width} / ${height}`;
    function zoom(by) {
      factor = Math.min(CLOSEST, Math.max(1, factor * by));
      const room = Math.min(scroll.clientWidth / width, scroll.clientHeight / height) * width;
      board.style.width = `${Math.max(NARROWEST, room * factor)}px`;
      zoomed();
    }
    scroll.addEventListener("wheel", (event) => {
      event.preventDefault();
      zoom(event.deltaY < 0 ? CLOSER : 1 / CLOSER);
    }, { passive: false });
    return { scroll, zoom };
  }

  /** Where a pointer is on an element that shows so many pixels, in these. */
  function point(event, element, [width, height]) {
    const frame = element.getBoundingClientRect();
    return [((event.clientX - frame.left) / frame.width) * width, ((event.clientY - frame.top) / frame.height) * height];
  }

  return { open, within, button, zooming, point, CLOSER, isOpen: () => atelier.find(".a-paint, .a-about, .a-book") !== null };
})();
