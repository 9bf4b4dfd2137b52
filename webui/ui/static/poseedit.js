// The pose editor: people on a board, whose joints are dragged, switched off and on, and taken as a pose JSON.
atelier.poseEdit = (() => {
  const { el } = atelier;
  const { NAMES, COLOURS, isOn, read, write, standing } = atelier.pose;
  const CLOSER = 1.2; // a step of the zoom
  const STEPS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  const PARTS = { face: "Face", leftHand: "Left hand", rightHand: "Right hand" };
  let box = null; // the dialog that is open

  /** text: a pose JSON to begin with, or "" for somebody who stands; size: of the map; picture: address of what shows
   *  through, or ""; note: told at first. Resolves to a pose JSON, or null when the user closed it. */
  function open({ text, size, picture = "", note = "" }) {
    if (box) return Promise.resolve(null);
    const state = { people: [], chosen: 0, past: [], future: [], last: "", zoom: 1, note };
    try {
      state.people = text ? read(text, ...size) : [standing(...size)];
    } catch (problem) {
      Object.assign(state, { people: [standing(...size)], note: problem.message });
    }
    return new Promise((resolve) => show(state, size, picture, resolve));
  }

  function show(state, size, picture, resolve) {
    const svg = atelier.poseView.board(...size);
    const back = picture ? el("img", { src: picture, alt: "" }) : null;
    const board = el("div", { class: "a-pose-board" }, back, svg);
    board.style.aspectRatio = `${size[0]} / ${size[1]}`;
    const scroll = el("div", { class: "a-board-scroll" }, board);
    const close = (answer) => {
      window.removeEventListener("resize", fit);
      box.remove();
      box = null;
      resolve(answer);
    };
    const unit = () => size[0] / (svg.getBoundingClientRect().width || size[0]);
    const editor = atelier.poseChange.actions(state, size, () => draw());
    const use = el("button", { type: "button", class: "a-chip a-strong", onclick: () => close(write(state.people, ...size)) }, "Use it");
    const side = el("div", { class: "a-pose-side" });
    const note = el("span", { class: "a-pose-note", role: "status" });
    const bar = tools(editor, (factor) => zoom(state.zoom * factor), back);

    function draw() {
      const pressed = side.contains(document.activeElement) ? document.activeElement.textContent : "";
      atelier.poseView.draw(svg, state.people, state.chosen, unit());
      side.replaceChildren(...panel(state, editor));
      if (pressed) [...side.querySelectorAll("button")].find((one) => one.textContent === pressed)?.focus();
      bar.undo.disabled = !state.past.length;
      bar.redo.disabled = !state.future.length;
      use.disabled = !state.people.length;
      note.textContent = state.note || (state.people.length ? "" : "Nobody is here: add a person.");
      if (!box.contains(document.activeElement) || document.activeElement.disabled) box.focus(); // for the keys
    }

    function zoom(factor) {
      state.zoom = Math.min(8, Math.max(1, factor));
      const room = Math.min(scroll.clientWidth / size[0], scroll.clientHeight / size[1]) * size[0];
      board.style.width = `${Math.max(40, room * state.zoom)}px`;
      draw();
    }

    const fit = () => zoom(state.zoom);
    const hint = "Drag a joint, or a limb to move somebody whole · Shift takes along what hangs on it · double click or Delete: off and on · arrow keys · Ctrl+V pastes a pose JSON";
    const foot = el("div", { class: "a-paint-foot" }, el("span", { class: "a-soft" }, hint), el("button", { type: "button", class: "a-chip", onclick: () => close(null) }, "Cancel"), use);
    const head = el("div", { class: "a-paint-head" }, el("strong", {}, "Edit joints"), bar.element, note);
    box = el("div", { class: "a-paint a-html", role: "dialog", "aria-modal": "true", "aria-label": "Edit joints", tabindex: "-1" }, el("div", { class: "a-paint-frame" }, head, el("div", { class: "a-pose-rows" }, scroll, side), foot));
    box.addEventListener("keydown", (event) => keys(event, editor, svg, close));
    box.addEventListener("paste", (event) => editor.load(event.clipboardData.getData("text")));
    document.body.append(box);
    scroll.addEventListener("wheel", (event) => {
      event.preventDefault();
      zoom(state.zoom * (event.deltaY < 0 ? CLOSER : 1 / CLOSER));
    }, { passive: false });
    window.addEventListener("resize", fit);
    atelier.poseDrag.wire(svg, scroll, {
      ...editor, size, unit, people: () => state.people, chosen: () => state.chosen,
      choose: (person, joint) => {
        editor.choose(person);
        if (joint == null) box.focus();
        else atelier.poseView.focus(svg, `${person}-${joint}`);
      },
    });
    zoom(1);
    box.focus();
  }

  const button = (text, act, title, more = {}) => el("button", { type: "button", class: "a-chip", title, onclick: act, ...more }, text);

  function tools(editor, zoom, back) {
    const file = el("input", { type: "file", accept: ".json,application/json", hidden: true, "aria-label": "Pose JSON" });
    file.addEventListener("change", async () => {
      if (file.files.length) editor.load(await file.files[0].text());
      file.value = "";
    });
    const [undo, redo] = [button("Undo", editor.undo, "Ctrl+Z"), button("Redo", editor.redo, "Ctrl+Y")];
    const hide = back && button("Picture", (event) => event.currentTarget.setAttribute("aria-pressed", String(!(back.hidden = !back.hidden))), "Show the picture behind", { "aria-pressed": "true" });
    const zooms = [button("−", () => zoom(1 / CLOSER), "Zoom out", { "aria-label": "Zoom out" }), button("+", () => zoom(CLOSER), "Zoom in", { "aria-label": "Zoom in" })];
    const element = el("div", { class: "a-paint-tools" }, undo, redo, ...zooms, hide, button("Import", () => file.click(), "Read a pose JSON; Ctrl+V pastes one"), button("Export", editor.save, "Save the pose as JSON"), file);
    return { element, undo, redo };
  }

  /** Who is there, what can be done with the chosen one, and their joints. */
  function panel(state, editor) {
    const people = state.people.map((_, index) => button(`Person ${index + 1}`, () => editor.choose(index), "", { "aria-pressed": String(index === state.chosen) }));
    const row = (...inside) => el("div", { class: "a-paint-tools" }, ...inside);
    const person = state.people[state.chosen];
    const first = row(...people, button("+ Person", editor.add, "Add somebody who stands"));
    if (!person) return [first];
    const own = row(button("Mirror", editor.mirror, "Left becomes right"), button("Smaller", editor.shrink), button("Larger", editor.grow), button("Remove", editor.remove, "Remove this person"));
    const joint = (at) => chip(NAMES[at], COLOURS[at], isOn(person.body[at]), () => editor.toggle(state.chosen, at));
    const part = ([name, told]) => (person[name] ? chip(told, [255, 255, 255], true, editor.drop(name), "Take it away") : null);
    return [first, own, el("div", { class: "a-pose-joints", role: "group", "aria-label": "Joints that are on" }, ...NAMES.map((_, at) => joint(at)), ...Object.entries(PARTS).map(part))];
  }

  function chip(text, colour, on, act, title = "Off or on") {
    const dot = el("i", {});
    dot.style.setProperty("--a-joint", `rgb(${colour.join(" ")})`);
    return el("button", { type: "button", class: "a-pose-joint", "aria-pressed": String(on), title, onclick: act }, dot, text);
  }

  function keys(event, editor, svg, close) {
    const control = event.ctrlKey || event.metaKey;
    const [person, joint] = (svg.contains(event.target) && event.target.dataset.key?.split("-").map(Number)) || [];
    const [name, far] = [event.key.toLowerCase(), event.shiftKey ? 10 : 1];
    if (event.key === "Escape") close(null);
    else if (control && name === "z") editor[event.shiftKey ? "redo" : "undo"]();
    else if (control && name === "y") editor.redo();
    else if (event.key === "Tab") return within(event);
    else if (joint != null && STEPS[event.key]) editor.nudge(person, joint, STEPS[event.key].map((step) => step * far));
    else if (joint != null && ["Delete", "Backspace", "Enter", " "].includes(event.key)) editor.toggle(person, joint);
    else return event.stopPropagation();
    event.preventDefault();
    event.stopPropagation();
  }

  /** Tab stays in the dialog. */
  function within(event) {
    const stops = [...box.querySelectorAll("button:not(:disabled), [tabindex='0']")];
    const [first, last] = [stops[0], stops.at(-1)];
    const edge = event.shiftKey ? [first, box].includes(document.activeElement) : document.activeElement === last;
    if (!edge) return;
    event.preventDefault();
    (event.shiftKey ? last : first).focus();
  }

  return { open, isOpen: () => box !== null };
})();
