// Places that take a picture: dropped, pasted, chosen, or dragged over from a result. The server keeps the picture and
// gives its name, by which requests mean it.
atelier.zones = (() => {
  const { el } = atelier;
  let hovered = null; // the zone that a paste is meant for

  const url = (sha) => `/api/v1/inputs/${encodeURIComponent(sha)}.png`; // it may come from a picture's text

  /** Hands a picture in; its name. Throws `{code, message, cure}`. */
  async function upload(blob) {
    const headers = { "content-type": blob.type || "application/octet-stream" };
    return (await atelier.api("/api/v1/images", { method: "POST", body: blob, headers })).sha256;
  }

  /** label: what it takes; sha: the picture it holds; place: where errors are told; change: told the next name, or "". */
  function zone({ label, hint = "Drop, paste or click", sha = "", place, change, buttons = [] }) {
    const file = el("input", { type: "file", accept: "image/*", hidden: true });
    const box = el("div", { class: "a-zone", tabindex: "0", role: "button", "aria-label": label });
    const bar = el("div", { class: "a-zone-bar" }, el("span", { class: "a-zone-label" }, label), ...buttons.map(tool));
    const whole = el("div", { class: "a-zone-frame" }, bar, box, file);

    function tool({ text, title, act }) {
      return el("button", { type: "button", class: "a-plain", title, onclick: act }, text);
    }

    function show(next) {
      const clear = el("button", { type: "button", class: "a-close", title: "Take it away", "aria-label": "Take it away", onclick: take("") }, "×");
      const image = next && el("img", { src: url(next), alt: label, draggable: "true" });
      box.replaceChildren(...(next ? [image, clear] : [el("span", { class: "a-empty" }, hint)]));
      whole.classList.toggle("a-filled", Boolean(next));
    }

    function take(next) {
      return (event) => {
        event?.stopPropagation();
        show(next);
        change(next);
      };
    }

    async function receive(blob) {
      box.classList.add("a-waiting");
      try {
        take(await upload(blob))();
      } catch (problem) {
        atelier.say(place, problem);
      }
      box.classList.remove("a-waiting");
    }

    box.addEventListener("click", () => file.click());
    box.addEventListener("keydown", (event) => {
      if (event.key === "Enter" || event.key === " ") file.click();
      else if (event.key === "Delete" || event.key === "Backspace") take("")();
      else return;
      event.preventDefault();
    });
    file.addEventListener("change", () => {
      if (file.files.length) receive(file.files[0]);
      file.value = "";
    });
    for (const kind of ["mouseenter", "focus"]) box.addEventListener(kind, () => (hovered = receive));
    for (const kind of ["mouseleave", "blur"]) box.addEventListener(kind, () => hovered === receive && (hovered = null));
    drops(box, receive);
    show(sha);
    return whole;
  }

  function drops(box, receive) {
    for (const kind of ["dragover", "dragleave", "drop"]) {
      box.addEventListener(kind, async (event) => {
        event.preventDefault();
        event.stopPropagation();
        box.classList.toggle("a-over", kind === "dragover");
        const blob = kind === "drop" ? await dropped(event.dataTransfer) : null;
        if (blob) receive(blob);
      });
    }
  }

  /** A file from the desktop, or a picture of this page. */
  async function dropped(transfer) {
    if (transfer.files.length) return transfer.files[0];
    const address = transfer.getData("text/uri-list").split("\n")[0];
    if (!address || new URL(address, location.href).origin !== location.origin) return null;
    return (await fetch(address)).blob();
  }

  /** A picture that Gradio holds, handed in. null: it holds none. */
  async function ofGradio(value) {
    const file = value?.background ?? value;
    if (!file?.url) return null;
    return upload(await (await fetch(file.url)).blob());
  }

  /** The mask of the inpaint tab, handed in: what was uploaded, else white where a layer is painted. "": there is none. */
  async function maskOfGradio(editor, uploaded) {
    if (uploaded?.url) return ofGradio(uploaded);
    const files = (editor?.layers ?? []).filter((layer) => layer?.url);
    const layers = await Promise.all(files.map(async ({ url }) => createImageBitmap(await (await fetch(url)).blob())));
    if (!layers.length) return "";
    const canvas = Object.assign(document.createElement("canvas"), { width: layers[0].width, height: layers[0].height });
    const pen = canvas.getContext("2d");
    for (const layer of layers) pen.drawImage(layer, 0, 0);
    const picture = pen.getImageData(0, 0, canvas.width, canvas.height);
    let painted = false;
    for (let at = 0; at < picture.data.length; at += 4) {
      const white = picture.data[at + 3] > 0;
      painted ||= white;
      picture.data.fill(white ? 255 : 0, at, at + 3).fill(255, at + 3, at + 4);
    }
    pen.putImageData(picture, 0, 0);
    return painted ? upload(await new Promise((done) => canvas.toBlob(done))) : "";
  }

  function paste(event) {
    const file = [...(event.clipboardData?.files ?? [])].find((item) => item.type.startsWith("image/"));
    if (!file || !hovered) return;
    event.preventDefault();
    event.stopPropagation();
    hovered(file);
  }

  return { zone, upload, url, ofGradio, maskOfGradio, wire: () => document.addEventListener("paste", paste, true) };
})();
