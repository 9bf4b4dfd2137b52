// The pose of a control unit: from what a preprocessor found, from a JSON, or from nothing, through the editor into the
// unit. The engine draws it: its preprocessor of poses with a text parameter "pose".
atelier.unitPose = (() => {
  const KIND = "pose";
  const painter = (about) => about.preprocessors.find((item) => item.kind === KIND && item.params.some((param) => param.id === "pose" && param.type === "text"));
  const chosen = ({ unit, about }) => about.preprocessors.find((item) => item.id === unit.preprocessor);
  const needs = ({ unit, about }) => atelier.needs.missing(about, unit.preprocessor, unit.params);

  /** Whether the map of a unit is a pose, or shall be one. */
  const offered = (given) => chosen(given)?.kind === KIND || (!chosen(given) && given.unit.type === painter(given.about)?.group);

  /** Whether there is what draws an edited pose. */
  const possible = ({ about }) => Boolean(painter(about));

  /** Opens the editor; what it gives is put into the unit and drawn. look: previews the unit's map. */
  async function edit(given, look) {
    const { unit, about } = given;
    const draws = painter(about);
    const picture = unit.image || (await given.own());
    const text = unit.preprocessor === draws.id ? unit.params.pose ?? "" : await detected(given, picture, look);
    if (text == null) return;
    const note = picture && !text ? told(given, draws) : "";
    const size = await canvas(given, picture);
    const pose = await atelier.poseEdit.open({ text, size, picture: picture && atelier.zones.url(picture), note });
    if (pose == null) return;
    given.set({ preprocessor: draws.id, params: { ...(unit.preprocessor === draws.id ? unit.params : {}), pose }, map: null, enabled: true });
    await look();
  }

  /** Why there is nobody to begin with. */
  function told(given, draws) {
    if (!chosen(given) || chosen(given) === draws) return "";
    return `${needs(given).length ? "The model files that find people are missing" : "Nobody was found"}: pose this figure by hand.`;
  }

  /** The pose that the unit's preprocessor finds; "" where it cannot look, null where it failed (which was told). */
  async function detected(given, picture, look) {
    const { unit } = given;
    if (!picture || !chosen(given) || needs(given).length) return "";
    if (!unit.map?.pose) await look();
    return unit.map ? unit.map.pose || "" : null;
  }

  /** The size at which the engine will draw the map. */
  async function canvas({ unit, tab, ...given }, picture) {
    const tabs = await given.own();
    const open = tabs ? await measured(atelier.zones.url(tabs)) : [512, 512];
    const asked = ["width", "height"].map((name, axis) => Number(atelier.form.value(tab, name) || open[axis]));
    const mode = unit.image || !tabs ? unit.resize_mode : atelier.form.value(tab, "resize_mode");
    const own = picture ? await measured(atelier.zones.url(picture)) : asked;
    const scales = asked.map((side, axis) => side / own[axis]);
    const fitted = mode?.toLowerCase() === "resize and fill" ? Math.min(...scales) : Math.max(...scales);
    const short = unit.pixel_perfect ? Math.max(1, Math.round(fitted * Math.min(...own))) : unit.resolution;
    return own.map((side) => Math.max(1, Math.round((side * short) / Math.min(...own))));
  }

  async function measured(address) {
    const image = new Image();
    image.src = address;
    await image.decode();
    return [image.naturalWidth, image.naturalHeight];
  }

  return { offered, possible, edit };
})();
