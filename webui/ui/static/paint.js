// A canvas to paint on: a mask over a picture, strokes on a map, or a drawing from nothing.
atelier.paint = (() => {
  const { el } = atelier;
  const { button, zooming } = atelier.dialog;
  const LARGEST = 2048;
  const KEPT = 30; // strokes that can be taken back
  const MASK = "#8a6cff";
  let opening = false; // a canvas is open, or its picture is being loaded

  /** title; picture: address of what is painted on, or "" for a drawing from nothing; size: of that; mask: paint a mask
   *  over the picture (what comes back is white where it is painted, on black); layer: a mask to begin with; colours: a
   *  mask is painted, and comes back, in these.
   *  Resolves to a PNG blob, or null when the user closed it (at once where a canvas is open or being opened). */
  async function open(what) {
    if (opening) return null;
    opening = true;
    try {
      const prepared = await prepare(what);
      return await new Promise((resolve) => show({ title: what.title, colours: what.colours ?? [], ...prepared, resolve }));
    } finally {
      opening = false;
    }
  }

  /** The canvas as it is at first, and the picture below a mask. */
  async function prepare({ picture = "", size = [512, 512], mask = false, layer = "", colours = [] }) {
    const below = picture ? await load(picture) : null;
    const [width, height] = below ? fitted(below.naturalWidth, below.naturalHeight) : size;
    const canvas = el("canvas", { width, height });
    const context = canvas.getContext("2d", { willReadFrequently: true });
    if (!mask) begin(context, below);
    if (mask && layer) tint(context, await load(layer), colours.length > 0);
    return { below, canvas, context, mask };
  }

  function load(address) {
    const image = new Image();
    return new Promise((resolve, reject) => {
      image.onload = () => resolve(image);
      image.onerror = () => reject({ message: "The picture could not be loaded.", cure: "" });
      image.src = address;
    });
  }

  const fitted = (width, height) => {
    const scale = Math.min(1, LARGEST / Math.max(width, height));
    return [Math.round(width * scale), Math.round(height * scale)];
  };

  function begin(context, below) {
    const { width, height } = context.canvas;
    context.fillStyle = "black";
    context.fillRect(0, 0, width, height);
    if (below) context.drawImage(below, 0, 0, width, height);
  }

  /** White of a black and white mask becomes paint; of a coloured one all but black stays as it is. */
  function tint(context, mask, coloured) {
    const { width, height } = context.canvas;
    context.drawImage(mask, 0, 0, width, height);
    const pixels = context.getImageData(0, 0, width, height);
    for (let at = 0; at < pixels.data.length; at += 4) {
      const painted = Math.max(pixels.data[at], pixels.data[at + 1], pixels.data[at + 2]) > 127;
      if (!coloured) pixels.data.set([138, 108, 255], at);
      pixels.data[at + 3] = painted ? 255 : 0;
    }
    context.putImageData(pixels, 0, 0);
  }

  /** The mask as it is sent: white, or the colours, on black, without half-painted rims. */
  function flattened(canvas, coloured) {
    const { width, height } = canvas;
    const flat = el("canvas", { width, height });
    const pixels = canvas.getContext("2d").getImageData(0, 0, width, height);
    for (let at = 0; at < pixels.data.length; at += 4) {
      const painted = pixels.data[at + 3] > 127;
      if (!painted || !coloured) pixels.data.fill(painted ? 255 : 0, at, at + 3);
      pixels.data[at + 3] = 255;
    }
    flat.getContext("2d").putImageData(pixels, 0, 0);
    return flat;
  }

  function show({ title, below, canvas, context, mask, colours, resolve }) {
    const state = { size: Math.max(4, Math.round(Math.min(canvas.width, canvas.height) / 24)), colour: mask ? (colours[0] ?? MASK) : "#ffffff", erase: false, past: [], future: [] };
    const board = el("div", { class: `a-board${mask ? " a-board-mask" : ""}` }, canvas);
    if (mask && below) board.prepend(el("img", { src: below.src, alt: "" }));
    const ring = board.appendChild(el("i", { class: "a-ring" }));
    const { scroll, zoom } = zooming(board, [canvas.width, canvas.height]);
    const bar = tools({ state, context, mask, offered: colours });
    const { element } = atelier.dialog.open({
      title, head: [bar.element], body: scroll, hint: "[ ] size · X erase · Ctrl+Z undo · wheel zoom",
      steps: bar, pressed: (event) => keys(event, bar),
      use: (close) => (mask ? flattened(canvas, colours.length > 0) : canvas).toBlob(close, "image/png"),
      resolve,
    });
    zoom(1);
    strokes({ board, canvas, context, state, ring, keep: bar.keep });
    element.focus();
  }

  /** Whether a key was for the brush. */
  function keys({ key }, bar) {
    if (key === "[" || key === "]") bar.resize(key === "]" ? 1.25 : 0.8);
    else if (key.toLowerCase() === "x") bar.toggle();
    else return false;
    return true;
  }

  function tools({ state, context, mask, offered }) {
    const { canvas } = context;
    const shot = () => context.getImageData(0, 0, canvas.width, canvas.height);
    const keep = () => {
      state.past = [...state.past, shot()].slice(-KEPT);
      state.future = [];
    };
    const step = (from, to) => () => {
      if (!state[from].length) return;
      state[to].push(shot());
      context.putImageData(state[from].pop(), 0, 0);
    };
    const change = (work) => () => {
      keep();
      work();
    };
    const clear = change(() => (mask ? context.clearRect(0, 0, canvas.width, canvas.height) : begin(context, null)));
    const invert = change(() => {
      const pixels = shot();
      for (let at = 0; at < pixels.data.length; at += 4) {
        if (mask) pixels.data.set([138, 108, 255, 255 - pixels.data[at + 3]], at);
        else for (let channel = 0; channel < 3; channel++) pixels.data[at + channel] = 255 - pixels.data[at + channel];
      }
      context.putImageData(pixels, 0, 0);
    });
    const most = Math.max(40, Math.round(Math.min(canvas.width, canvas.height) / 3));
    const size = el("input", { type: "range", min: 1, max: most, value: state.size, "aria-label": "Brush size" });
    size.addEventListener("input", () => (state.size = Number(size.value)));
    const colours = (mask ? offered : ["#ffffff", "#000000"]).map(swatch);
    const free = mask ? null : el("input", { type: "color", class: "a-swatch", value: "#ff0000", title: "Another colour", oninput: (event) => pick(event.target.value, event.target) });
    const eraser = button("Erase", () => toggle(), "Take paint away (X)");

    function swatch(colour) {
      const one = el("button", { type: "button", class: "a-swatch", title: { "#ffffff": "White", "#000000": "Black" }[colour] ?? colour, onclick: () => pick(colour, one) });
      one.style.background = colour;
      one.classList.toggle("a-chosen", colour === state.colour);
      return one;
    }

    function pick(colour, element) {
      state.colour = colour;
      if (state.erase) toggle();
      [...colours, free].forEach((other) => other?.classList.toggle("a-chosen", other === element));
    }

    /** A mask is erased; on a drawing the brush goes from white to black and back. */
    function toggle() {
      if (!mask) return pick(state.colour === "#000000" ? "#ffffff" : "#000000", colours[state.colour === "#000000" ? 0 : 1]);
      state.erase = !state.erase;
      eraser.classList.toggle("a-strong", state.erase);
    }

    const undo = step("past", "future");
    const redo = step("future", "past");
    const resize = (factor) => (size.value = state.size = Math.min(most, Math.max(1, Math.round(state.size * factor))));
    const element = el("div", { class: "a-paint-tools" }, ...colours, free, mask && eraser, el("label", { class: "a-paint-size" }, "Size", size), button("Undo", undo, "Ctrl+Z"), button("Redo", redo, "Ctrl+Y"), offered.length ? null : button("Invert", invert), button("Clear", clear));
    return { element, keep, undo, redo, resize, toggle };
  }

  /** Pointer, pen or finger draws; the ring shows how large the brush is. */
  function strokes({ board, canvas, context, state, ring, keep }) {
    let last = null;
    const point = (event) => atelier.dialog.point(event, board, [canvas.width, canvas.height]);
    const line = (from, to) => {
      context.globalCompositeOperation = state.erase ? "destination-out" : "source-over";
      Object.assign(context, { strokeStyle: state.colour, lineWidth: state.size * 2, lineCap: "round", lineJoin: "round" });
      context.beginPath();
      context.moveTo(...from);
      context.lineTo(to[0] + 0.01, to[1]);
      context.stroke();
      context.globalCompositeOperation = "source-over";
    };
    const follow = (event) => {
      const frame = board.getBoundingClientRect();
      const width = (state.size * 2 * frame.width) / canvas.width;
      Object.assign(ring.style, { width: `${width}px`, height: `${width}px`, left: `${event.clientX - frame.left}px`, top: `${event.clientY - frame.top}px` });
    };
    board.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      event.preventDefault();
      board.setPointerCapture(event.pointerId);
      keep();
      last = point(event);
      line(last, last);
    });
    board.addEventListener("pointermove", (event) => {
      follow(event);
      if (!last) return;
      for (const part of event.getCoalescedEvents?.() ?? [event]) {
        const next = point(part);
        line(last, next);
        last = next;
      }
    });
    for (const kind of ["pointerup", "pointercancel"]) board.addEventListener(kind, () => (last = null));
  }

  return { open };
})();
