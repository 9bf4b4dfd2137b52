// The card of one control unit.
atelier.unit = (() => {
  const { el } = atelier;
  const { knob, segments } = atelier.knobs;
  const NONE = "none";

  function card(given) {
    const { unit, about } = given;
    const spec = (id) => about.fields.find((field) => field.id === id);
    const plain = (id) => knob(spec(id), unit[id], (value) => given.set({ [id]: value }));
    const row = (kind, ...inside) => el("div", { class: `a-knobs ${kind}` }, ...inside);
    const side = (id, reason) => segments(spec(id), unit[id], (value) => given.set({ [id]: value }), reason);
    const modes = [side("mode"), side("resize_mode", overruled(given)), given.tab === "txt2img" ? side("hr_option") : null];
    return el("div", { class: "a-unit", "data-tab": given.tab },
      top(given, plain),
      pictures(given),
      types(given),
      row("a-two", preprocessor(given), model(given)),
      settings(given, row, plain, spec),
      row("a-three", plain("weight"), plain("start"), plain("end")),
      row("a-modes", ...modes),
      more(given, row, plain));
  }

  /** Why a unit's own resize mode does not count; "" where it does. */
  const overruled = ({ unit, tab }) => (tab === "txt2img" || unit.image ? "" : "The Resize mode of this tab holds: the unit has no picture of its own.");

  function top(given, plain) {
    const remove = el("button", { type: "button", class: "a-plain", onclick: given.remove }, "Remove");
    return el("div", { class: "a-unit-top" }, plain("enabled"), plain("pixel_perfect"), remove);
  }

  /** The unit's picture on the left, the map on the right. */
  function pictures(given) {
    const { unit, tab } = given;
    const made = given.about.preprocessors.find((item) => item.id === unit.preprocessor);
    const needed = made?.picture === false ? "No picture needed. " : "";
    const hint = `${tab === "txt2img" ? needed : "Empty: the picture of this tab. "}Drop, paste or click`;
    const zone = atelier.zones.zone({
      label: "Picture", hint, sha: unit.image, place: tab,
      change: (sha) => {
        given.set({ image: sha, map: null, enabled: sha ? true : unit.enabled });
        given.redraw();
      },
      buttons: [{ text: "Draw", title: "Draw a picture, or on this one", act: () => draw(given) }],
    });
    return el("div", { class: "a-unit-pictures" }, zone, mapBox(given));
  }

  async function draw(given) {
    const { unit } = given;
    const size = [atelier.form.value(given.tab, "width") || 512, atelier.form.value(given.tab, "height") || 512];
    await painted(given, { title: "Draw", picture: unit.image && atelier.zones.url(unit.image), size: size.map(Number) }, (sha) => ({ image: sha, enabled: true, map: null }));
  }

  /** Opens the canvas; what was painted is handed in and changes the unit. */
  async function painted(given, what, change) {
    try {
      const blob = await atelier.paint.open(what);
      if (!blob) return;
      given.set(change(await atelier.zones.upload(blob)));
      given.redraw();
    } catch (problem) {
      atelier.say(given.tab, problem);
    }
  }

  function mapBox(given) {
    const { map } = given.unit;
    const act = (text, title, work, off) => el("button", { type: "button", class: "a-chip", title, onclick: work, disabled: off }, text);
    const picture = map ? el("img", { src: atelier.zones.url(map.sha), alt: map.seen ? "What the model sees" : "The map", draggable: "true" }) : el("span", { class: "a-empty" }, atelier.unitPose.offered(given) ? "Edit joints draws a pose here" : "Preview the map here");
    const label = !map ? "Map" : `${map.seen ? "What the model sees" : "Map"} · ${map.width} × ${map.height}${map.masked ? " · masked: black" : ""}`;
    const use = () => {
      given.set({ image: map.sha, preprocessor: NONE, params: {}, map: null, enabled: true });
      given.redraw();
    };
    const edit = () => painted(given, { title: "Edit the map", picture: atelier.zones.url(map.sha) }, (sha) => ({ image: sha, preprocessor: NONE, params: {}, map: null, enabled: true }));
    const actions = el("div", { class: "a-zone-actions" },
      atelier.unitPose.offered(given) ? pose(given, act) : null,
      act("Preview map", "Make the map of the picture", (event) => preview(given, false, event.currentTarget)),
      act("What the model sees", "The map after crop and resize, as a job would make it; what an inpaint model does not see is black", (event) => preview(given, true, event.currentTarget)),
      act("Edit", "Paint on the map and use it as the picture", edit, !map || map.seen),
      act("Use", "Take the map as the picture, without a preprocessor", use, !map || map.seen));
    return el("div", { class: `a-zone-frame${map ? " a-filled" : ""}` }, el("div", { class: "a-zone-bar" }, el("span", { class: "a-zone-label" }, label)), el("div", { class: "a-zone a-map" }, picture), actions);
  }

  function pose(given, act) {
    const possible = atelier.unitPose.possible(given);
    const title = possible ? "Drag the joints, add people, or start from a standing figure" : "Switch the extension Pose on: it draws what is edited";
    const edit = async ({ currentTarget: button }) => {
      try {
        await atelier.unitPose.edit(given, () => preview(given, false, button));
      } catch (problem) {
        atelier.say(given.tab, problem);
      }
    };
    const button = act("Edit joints", title, edit, !possible);
    button.classList.add("a-strong");
    return button;
  }

  async function preview(given, fit, button) {
    const { unit, tab, about } = given;
    button.disabled = true;
    button.classList.add("a-waiting");
    try {
      const request = await given.request();
      const looks = about.preprocessors.find((item) => item.id === unit.preprocessor)?.picture !== false;
      if (!unit.image && !request.init_image && looks) throw { message: "This unit has no picture yet.", cure: "Drop one on its picture field." };
      if (fit && request.kind === "img2img" && atelier.form.value(tab, "inpaint_area") === "Only masked") throw { message: "Nothing is painted on the picture: there is no masked part to see.", cure: "Paint over what shall change." };
      const body = JSON.stringify({ unit: { ...given.outgoing(), enabled: true }, tab: request, fit });
      const made = await atelier.api("/api/v1/preprocess", { method: "POST", body, headers: { "content-type": "application/json" } });
      given.set({ map: { sha: made.image.sha256, width: made.width, height: made.height, seen: fit, masked: made.masked, pose: made.data?.people?.length ? JSON.stringify(made.data) : "" } });
    } catch (problem) {
      atelier.say(tab, problem);
    }
    given.redraw();
  }

  /** What the map shows. The choice narrows the two lists, and takes a fitting pair. */
  function types(given) {
    const { unit, about } = given;
    const chip = ([type, offer]) => {
      const choose = () => {
        const suited = suiting(about, offer);
        const preprocessor = type === "All" ? unit.preprocessor : suited.preprocessor;
        const model = type === "All" ? unit.model : suited.model || unit.model;
        given.set({ type, model, ...(preprocessor === unit.preprocessor ? {} : taking(given, preprocessor)), map: null });
        given.redraw();
      };
      return el("button", { type: "button", class: `a-chip${type === unit.type ? " a-chosen" : ""}`, "aria-pressed": String(type === unit.type), onclick: choose }, type);
    };
    return el("div", { class: "a-types" }, ...Object.entries(about.types).map(chip));
  }

  /** The pair of a type: what is made for the family of the checkpoint goes before the first of all. */
  function suiting(about, offer) {
    const family = atelier.models.family();
    const preprocessor = about.preprocessors.find((item) => item.family === family && offer.preprocessors.includes(item.id));
    const model = about.models.find((item) => item.fits === family && !item.error && offer.models.includes(item.name));
    return { preprocessor: (family && preprocessor?.id) || offer.preprocessor, model: (family && model?.name) || offer.model };
  }

  /** What changes with the preprocessor: it brings the resolution that it declares, for a small checkpoint its own size.
   * A picture of 128 pixels blown up to 512 has no sharp edges left to find. */
  function taking({ unit, about }, id) {
    const declared = about.preprocessors.find((item) => item.id === id)?.resolution;
    const usual = id === NONE ? unit.resolution : about.fields.find((item) => item.id === "resolution").default;
    return { preprocessor: id, params: {}, map: null, resolution: typeof declared === "number" ? Math.min(declared, atelier.models.size() || declared) : usual };
  }

  const chosenType = ({ unit, about }) => about.types[unit.type] ?? about.types.All;

  function preprocessor(given) {
    const { unit, about } = given;
    const among = chosenType(given).preprocessors;
    const groups = { "": [[NONE, "none"]] };
    const warned = ({ id }) => (atelier.needs.missing(about, id, id === unit.preprocessor ? unit.params : {}).length ? " ⚠" : "");
    for (const item of about.preprocessors) {
      if (among.includes(item.id) || item.id === unit.preprocessor) (groups[item.group] ??= []).push([item.id, item.label + warned(item)]);
    }
    const change = (id) => {
      given.set(taking(given, id));
      given.redraw();
    };
    const field = about.fields.find((item) => item.id === "preprocessor");
    return knob({ ...field, choices: [NONE], groups }, unit.preprocessor, change);
  }

  function model(given) {
    const { unit, about } = given;
    const among = chosenType(given).models;
    const listed = about.models.filter((item) => among.includes(item.name) || item.name === unit.model);
    const choices = [["", "none"], ...listed.map((item) => [item.name, `${item.error ? "⚠ " : ""}${item.name}${item.family ? ` · ${item.family}` : ""}`])];
    const field = about.fields.find((item) => item.id === "model");
    const change = (name) => {
      given.set({ model: name });
      given.redraw();
    };
    const select = knob({ ...field, choices }, unit.model, change);
    const refresh = el("button", { type: "button", class: "a-plain a-reload", title: "Look for new models", "aria-label": "Look for new models", onclick: given.reload }, "⟳");
    select.querySelector(".a-knob-head").append(refresh);
    const chosen = about.models.find((item) => item.name === unit.model);
    const hint = missing(given, listed);
    if (chosen?.error) select.append(el("small", { class: "a-problem" }, chosen.error));
    else if (hint && !unit.model) select.append(el("small", { class: "a-soft" }, hint));
    return select;
  }

  /** What a unit without a model is told where there is none to choose, or none is needed. */
  function missing({ unit, about }, listed) {
    if (about.preprocessors.find((item) => item.id === unit.preprocessor)?.alone) return "Acts without a model.";
    if (listed.length) return "";
    return about.models.length ? "No model is named for this type; All shows every one." : "No model here yet: put one into models/ControlNet, then press ⟳.";
  }

  /** The preprocessor's own parameters, and the resolution where it has one. */
  function settings(given, row, plain, spec) {
    const { unit, about } = given;
    const made = about.preprocessors.find((item) => item.id === unit.preprocessor);
    if (!made) return null;
    const change = (param) => (value) => {
      given.set({ params: { ...unit.params, [param.id]: value } });
      if (made.uses.includes(param.id)) given.redraw(); // it names a preprocessor, which may need other files
    };
    const own = made.params.map((param) => knob(param, unit.params[param.id], change(param)));
    const resolution = made.resolution === false || unit.pixel_perfect ? null : plain("resolution");
    const needs = atelier.needs.boxes(given);
    return own.length || resolution || needs.length ? row("a-own-params", resolution, ...own, ...needs) : null;
  }

  function more(given, row, plain) {
    const { unit, tab, about } = given;
    const mask = (id, label, title) => atelier.zones.zone({
      label, hint: "White acts. Drop, paste or click", sha: unit[id], place: tab,
      change: (sha) => given.set({ [id]: sha }),
      buttons: [{ text: "Paint", title, act: () => paintMask(given, id, title) }],
    });
    const union = about.models.find((item) => item.name === unit.model)?.types ?? [];
    const typed = { id: "union_type", label: "Union type", help: "What the map is, for a model that knows several.", choices: [["", "by the preprocessor"], ...union] };
    const weights = { id: "layer_weights", type: "text", label: "Weights by layer", help: "One factor per residual, in the place of weight and mode.", placeholder: "1, 0.8, …", default: "" };
    const setWeights = (text) => given.set({ layer_weights: text.split(",").map(Number).filter((item, index, all) => all.length > 1 && Number.isFinite(item)) });
    const open = Boolean(unit.mask || unit.region_mask || unit.layer_weights.length);
    const { details, body } = atelier.knobs.fold("Masks and more", open);
    body.append(
      el("div", { class: "a-unit-pictures" }, mask("region_mask", "Where it acts", "Paint where the unit acts"), mask("mask", "Mask for inpaint units", "Paint what is repainted")),
      row("a-two", knob(weights, unit.layer_weights.join(", "), setWeights), union.length ? knob(typed, unit.union_type, (value) => given.set({ union_type: value })) : null),
      row("a-two", plain("low_vram"), plain("save_map")));
    return details;
  }

  async function paintMask(given, id, title) {
    const { unit } = given;
    const picture = unit.image || (await given.own());
    const size = [atelier.form.value(given.tab, "width") || 512, atelier.form.value(given.tab, "height") || 512].map(Number);
    await painted(given, { title, mask: true, picture: picture && atelier.zones.url(picture), size, layer: unit[id] && atelier.zones.url(unit[id]) }, (sha) => ({ [id]: sha }));
  }

  return { card };
})();
