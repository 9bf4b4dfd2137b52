// The pose editor: people on a board, whose joints are dragged, switched off and on, and taken as a pose JSON.
atelier.poseEdit = (() => {
  const { el } = atelier;
  const { NAMES, COLOURS, isOn, read, write, standing } = atelier.pose;
  const { button, zooming, CLOSER } = atelier.dialog;
  const HINT = "Drag a joint, or a limb to move somebody whole · Shift takes along what hangs on it · double click or Delete: off and on · arrow keys · Ctrl+V pastes a pose JSON";
  const STEPS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  const PARTS = { face: "Face", leftHand: "Left hand", rightHand: "Right hand" };

  /** text: a pose JSON to begin with, or "" for somebody who stands; size: of the map; picture: address of what shows
   *  through, or ""; note: told at first. Resolves to a pose JSON, or null when the user closed it. */
  function open({ text, size, picture = "", note = "" }) {
    if (atelier.dialog.isOpen()) return Promise.resolve(null);
    const state = { people: [], chosen: 0, past: [], future: [], last: "", note };
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
    const { scroll, zoom } = zooming(el("div", { class: "a-pose-board" }, back, svg), size, () => draw());
    const unit = () => size[0] / (svg.getBoundingClientRect().width || size[0]);
    const editor = atelier.poseChange.actions(state, size, () => draw());
    const side = el("div", { class: "a-pose-side" });
    const note = el("span", { class: "a-pose-note", role: "status" });
    const bar = tools(editor, zoom, back);
    const fit = () => zoom(1);
    const dialog = atelier.dialog.open({
      title: "Edit joints", head: [bar.element, note], body: el("div", { class: "a-pose-rows" }, scroll, side), hint: HINT,
      steps: editor, pressed: (event) => keys(event, editor, svg, dialog.element),
      use: (close) => close(write(state.people, ...size)),
      resolve: (answer) => {
        window.removeEventListener("resize", fit);
        resolve(answer);
      },
    });

    function draw() {
      const pressed = side.contains(document.activeElement) ? document.activeElement.textContent : "";
      atelier.poseView.draw(svg, state.people, state.chosen, unit());
      side.replaceChildren(...panel(state, editor));
      if (pressed) [...side.querySelectorAll("button")].find((one) => one.textContent === pressed)?.focus();
      bar.undo.disabled = !state.past.length;
      bar.redo.disabled = !state.future.length;
      dialog.take.disabled = !state.people.length;
      note.textContent = state.note || (state.people.length ? "" : "Nobody is here: add a person.");
      if (!dialog.element.contains(document.activeElement) || document.activeElement.disabled) dialog.element.focus(); // for the keys
    }

    dialog.element.addEventListener("paste", (event) => editor.load(event.clipboardData.getData("text")));
    window.addEventListener("resize", fit);
    atelier.poseDrag.wire(svg, scroll, {
      ...editor, size, unit, people: () => state.people, chosen: () => state.chosen,
      choose: (person, joint) => {
        editor.choose(person);
        if (joint == null) dialog.element.focus();
        else atelier.poseView.focus(svg, `${person}-${joint}`);
      },
    });
    fit();
    dialog.element.focus();
  }

  function tools(editor, zoom, back) {
    const file = el("input", { type: "file", accept: ".json,application/json", hidden: true, "aria-label": "Pose JSON" });
    file.addEventListener("change", async () => {
      const text = await file.files[0]?.text();
      if (text != null && file.isConnected) editor.load(text); // the dialog may have been closed meanwhile
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

  /** Whether a key was for the editor. */
  function keys(event, editor, svg, dialog) {
    const [person, joint] = (svg.contains(event.target) && event.target.dataset.key?.split("-").map(Number)) || [];
    const far = event.shiftKey ? 10 : 1;
    if (event.key === "Tab") return atelier.dialog.within(event, dialog);
    if (joint == null) return false;
    if (STEPS[event.key]) editor.nudge(person, joint, STEPS[event.key].map((step) => step * far));
    else if (["Delete", "Backspace", "Enter", " "].includes(event.key)) editor.toggle(person, joint);
    else return false;
    return true;
  }

  return { open };
})();
