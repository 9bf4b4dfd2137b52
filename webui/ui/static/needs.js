// Which model files a preprocessor still needs: its own, and those of the preprocessors that it uses.
atelier.needs = (() => {
  /** [{extension, id, file, ...}] that are not here yet, of a preprocessor that is called with these parameters. */
  function missing(about, id, params = {}, asked = new Set()) {
    const made = about.preprocessors.find((item) => item.id === id);
    if (!made || asked.has(id)) return [];
    asked.add(id);
    const named = (word) => params[word] ?? made.params.find((param) => param.id === word)?.default ?? word;
    const own = made.missing.map((model) => ({ ...model, extension: made.extension }));
    return [...own, ...made.uses.flatMap((word) => missing(about, named(word), {}, asked))];
  }

  /** What says which files a unit needs and fetches them: a box for each extension that declares some. */
  function boxes({ unit, about, reload }) {
    const found = missing(about, unit.preprocessor, unit.params);
    const extensions = [...new Set(found.map((model) => model.extension))];
    const once = (models) => models.filter((model, index) => models.findIndex((other) => other.id === model.id) === index);
    return extensions.map((id) => atelier.extensions.wanted(id, once(found.filter((model) => model.extension === id)), reload));
  }

  return { missing, boxes };
})();
