// The control units of each tab: what they hold, and the panel that shows one of them at a time.
atelier.units = (() => {
  const { el } = atelier;
  const KEY = (tab) => `atelier/control/${tab}`;
  const PICTURES = ["image", "mask", "region_mask"];
  const FOLLOWED = { txt2img: ["model", "width", "height", "seed"] }; // what maps follow from in the form
  FOLLOWED.img2img = [...FOLLOWED.txt2img, "resize_mode"];
  FOLLOWED.inpaint = [...FOLLOWED.img2img, "mask_blur", "mask_invert", "inpaint_area", "padding"];
  let about = null; // what the server has: fields, preprocessors, models, types, the largest number of units
  const panels = {}; // tab -> {units, chosen, view}
  const asked = {}; // tab -> what waits for the tab's own picture

  /** A fresh unit: declared defaults, switched off until it has something to do. */
  const fresh = () => ({ ...Object.fromEntries(about.fields.map((field) => [field.id, field.default])), image: "", mask: "", region_mask: "", params: {}, layer_weights: [], union_type: "", enabled: false, map: null, type: "All" });

  /** As the request has it. */
  function outgoing(unit) {
    const { map, type, ...sent } = unit;
    for (const name of PICTURES) sent[name] = unit[name] ? { sha256: unit[name] } : null;
    return sent;
  }

  /** As it came in a request; a map that was made before is gone. */
  function incoming(sent) {
    const pictures = Object.fromEntries(PICTURES.map((name) => [name, sent[name]?.sha256 ?? ""]));
    const known = Object.fromEntries(Object.entries(sent).filter(([name]) => name in fresh()));
    return { ...fresh(), ...known, ...pictures, map: null, type: "All" };
  }

  /** What Generate sends: the units that are on. */
  const collect = (tab) => (panels[tab]?.units ?? []).filter((unit) => unit.enabled).map(outgoing);

  /** Units from elsewhere: a picture's text, or a request. None: those that are there are switched off. */
  async function fill(tab, sent) {
    await ready;
    const panel = panels[tab];
    panel.units = sent.length ? sent.map(incoming) : panel.units.map((unit) => ({ ...unit, enabled: false }));
    panel.chosen = 0;
    panel.view.details.open ||= sent.length > 0;
    draw(tab);
    keep(tab);
  }

  function keep(tab) {
    atelier.session.set(KEY(tab), panels[tab].units);
    atelier.local.set(KEY(tab), panels[tab].units);
    mark(tab);
  }

  function mark(tab) {
    const { units, view, tabs } = panels[tab];
    const on = units.filter((unit) => unit.enabled).length;
    view.mark(on ? `${on} on` : "");
    tabs?.forEach((button, index) => {
      button.classList.toggle("a-on", units[index].enabled);
      button.firstChild.data = name(units[index], index);
    });
  }

  const name = (unit, index) => {
    const made = about.preprocessors.find((item) => item.id === unit.preprocessor);
    return `${index + 1}${made ? ` ${made.label}` : unit.model ? ` ${unit.model}` : ""}`;
  };

  /** Draws the row of units and the chosen one. */
  function draw(tab) {
    const panel = panels[tab];
    panel.chosen = Math.min(panel.chosen, panel.units.length - 1);
    panel.tabs = panel.units.map((unit, index) => {
      const choose = () => {
        panel.chosen = index;
        draw(tab);
      };
      return el("button", { type: "button", role: "tab", class: `a-unit-tab${index === panel.chosen ? " a-chosen" : ""}`, onclick: choose }, name(unit, index));
    });
    const add = el("button", { type: "button", class: "a-plain a-unit-add", title: "Another control unit", onclick: () => append(tab) }, "+ Add unit");
    const row = el("div", { class: "a-unit-tabs", role: "tablist" }, ...panel.tabs, panel.units.length < about.max_units ? add : null);
    panel.view.body.replaceChildren(row, atelier.unit.card(api(tab, panel.chosen)));
    mark(tab);
  }

  function append(tab) {
    panels[tab].units.push(fresh());
    panels[tab].chosen = panels[tab].units.length - 1;
    draw(tab);
    keep(tab);
  }

  function remove(tab, index) {
    panels[tab].units.splice(index, 1);
    if (!panels[tab].units.length) panels[tab].units.push(fresh());
    draw(tab);
    keep(tab);
  }

  /** What the card of one unit may do. */
  function api(tab, index) {
    const unit = panels[tab].units[index];
    return {
      tab, unit, about,
      set: (changes) => {
        Object.assign(unit, changes);
        keep(tab);
      },
      redraw: () => draw(tab),
      remove: () => remove(tab, index),
      own: () => own(tab),
      request: () => request(tab),
      outgoing: () => outgoing(unit),
      reload: look,
    };
  }

  /** The picture of the tab itself (img2img, inpaint), handed in; "" where there is none. */
  const own = async (tab) => (await pictures(tab)).image;

  /** The picture of the tab and its mask, handed in; "" where there is none. */
  async function pictures(tab) {
    const [source, uploaded] = await held(tab);
    try {
      const image = (await atelier.zones.ofGradio(source)) ?? "";
      return { image, mask: tab === "inpaint" && image ? await atelier.zones.maskOfGradio(source, uploaded) : "" };
    } catch {
      return { image: "", mask: "" };
    }
  }

  /** What Gradio's components of the tab hold. */
  function held(tab) {
    const button = document.getElementById(`${tab}-own`);
    if (!button) return [];
    return new Promise((resolve) => {
      asked[tab] = resolve;
      button.click();
    });
  }

  /** Gradio calls it with the tab's pictures when `held` asked. */
  function take(tab, ...values) {
    asked[tab]?.(values);
    delete asked[tab];
  }

  /** The tab's form as a request, as far as maps follow from it. A picture or a mask that is missing is no mistake yet:
   *  a unit with a picture of its own can be looked at. */
  async function request(tab) {
    const { image, mask } = await pictures(tab);
    const kind = image ? (tab === "inpaint" && !mask ? "img2img" : tab) : "txt2img";
    const values = FOLLOWED[kind].map((name) => [name, atelier.form.value(tab, name)]).filter(([, value]) => value !== null);
    const ref = (name, sha, wanted) => (wanted ? { [name]: { sha256: sha } } : {});
    return { kind, ...Object.fromEntries(values), ...ref("init_image", image, kind !== "txt2img"), ...ref("mask", mask, kind === "inpaint") };
  }

  const ask = async () => (about = await atelier.api("/api/v1/control"));

  /** Asks again what the server has: an extension or a model file came or went. */
  async function look() {
    await ask();
    Object.keys(panels).forEach(draw);
  }

  /** Gradio draws a tab when it is first opened, and may draw its slot anew: the panel then moves in. */
  async function attach(tab) {
    const slot = await atelier.appears(`.a-control[data-tab="${tab}"]`);
    await ready;
    if (panels[tab] && !slot.contains(panels[tab].view.details)) slot.replaceChildren(panels[tab].view.details);
  }

  let up = null;
  const ready = new Promise((done) => (up = done));

  async function start(tabs) {
    for (;;) {
      try {
        await ask();
        break;
      } catch {
        await new Promise((done) => setTimeout(done, 2000)); // the server starts, or is gone for a while
      }
    }
    for (const tab of tabs) {
      const kept = atelier.session.get(KEY(tab)) ?? atelier.local.get(KEY(tab)) ?? [];
      const units = kept.length ? kept.map((unit) => ({ ...fresh(), ...unit })) : [fresh()];
      panels[tab] = { units, chosen: 0, view: atelier.knobs.fold("Control", units.some((unit) => unit.enabled)) };
      draw(tab);
    }
    up();
    tabs.forEach(attach);
  }

  return { start, attach, collect, fill, take, look, own };
})();
