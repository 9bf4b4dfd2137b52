// Pointers on the board of the pose editor: which joint, limb, hand or face is meant, and how it is dragged.
atelier.poseDrag = (() => {
  const { LIMBS, HOLDS, isOn, changed } = atelier.pose;
  const NEAR = { joint: 15, part: 8, limb: 9 }; // pixels of the screen
  const TOUCH = 1.7; // a finger is so much wider
  const STILL = 3; // a press that moves less is a click
  const TWICE = 500; // milliseconds between two presses that belong together
  const HANGING = { 1: [0, 2, 5, 8, 11], 0: [14, 15], 14: [16], 15: [17], 2: [3], 3: [4], 5: [6], 6: [7], 8: [9], 9: [10], 11: [12], 12: [13] };

  /** A joint and all that hangs on it. */
  const below = (at) => [at, ...(HANGING[at] ?? []).flatMap(below)];

  /** What lies under a point of the map: {person, joint}, {person, part}, {person}, or null. reach: how far it may be. */
  function under(people, chosen, [x, y], reach) {
    const away = (joint) => Math.hypot(joint[0] - x, joint[1] - y);
    const found = { joint: [], part: [], limb: [] };
    people.forEach((person, index) => {
      person.body.forEach((joint, at) => (isOn(joint) || index === chosen) && found.joint.push([away(joint) + (isOn(joint) ? 0 : 2 * reach), { person: index, joint: at }]));
      for (const part of Object.keys(HOLDS)) for (const joint of (person[part] ?? []).filter(isOn)) found.part.push([away(joint), { person: index, part }]);
      for (const [from, to] of LIMBS) if (isOn(person.body[from]) && isOn(person.body[to])) found.limb.push([between(person.body[from], person.body[to], [x, y]), { person: index }]);
    });
    for (const kind of Object.keys(NEAR)) {
      const least = found[kind].reduce((best, one) => (one[0] < best[0] ? one : best), [Infinity, null]);
      if (least[0] <= NEAR[kind] * reach) return least[1];
    }
    return null;
  }

  /** How far a point is from a line between two others. */
  function between([x, y], [toX, toY], [px, py]) {
    const long = (toX - x) ** 2 + (toY - y) ** 2 || 1;
    const share = Math.min(1, Math.max(0, ((px - x) * (toX - x) + (py - y) * (toY - y)) / long));
    return Math.hypot(x + share * (toX - x) - px, y + share * (toY - y) - py);
  }

  /** Somebody after what was meant is moved by (dx, dy). A hand or face goes with the joint that holds it. */
  function moved(person, { joint, part }, dx, dy, withAll) {
    const by = ([x, y, ...rest]) => [x + dx, y + dy, ...rest];
    if (part) return { ...person, [part]: person[part].map(by) };
    if (joint == null) return changed(person, by);
    const which = withAll ? below(joint) : [joint];
    const body = person.body.map((one, at) => (which.includes(at) ? by(at === joint ? [one[0], one[1], one[2] || 1] : one) : one));
    const held = Object.entries(HOLDS).filter(([name, holder]) => person[name] && which.includes(holder)).map(([name]) => [name, person[name].map(by)]);
    return { ...person, body, ...Object.fromEntries(held) };
  }

  const same = (one, other) => one?.person === other?.person && one?.joint === other?.joint;

  /** editor: {people, chosen, size, unit, choose, keep, replace, toggle}; scroll: what a press beside everybody moves. */
  function wire(svg, scroll, editor) {
    let held = null; // {what, from, person as it was, moving}
    let last = { at: -TWICE }; // the last press that did not move
    const point = (event) => atelier.dialog.point(event, svg, editor.size);
    const meant = (event) => under(editor.people(), editor.chosen(), point(event), editor.unit() * (event.pointerType === "touch" ? TOUCH : 1));

    svg.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      event.preventDefault();
      svg.setPointerCapture(event.pointerId);
      const what = meant(event);
      if (what?.joint != null && event.timeStamp - last.at < TWICE && same(what, last.what)) return twice(what);
      held = { at: event.timeStamp, what, from: point(event), screen: [event.clientX, event.clientY], scrolled: [scroll.scrollLeft, scroll.scrollTop], moving: false };
      if (what) editor.choose(what.person, what.joint);
      held.person = what && editor.people()[what.person];
    });
    svg.addEventListener("pointermove", (event) => {
      if (!held) return void (svg.dataset.over = meant(event) ? "yes" : "");
      const [right, down] = [event.clientX - held.screen[0], event.clientY - held.screen[1]];
      if (!held.what) return scroll.scrollTo(held.scrolled[0] - right, held.scrolled[1] - down);
      if (!held.moving && Math.hypot(right, down) < STILL) return;
      if (!held.moving) editor.keep();
      held.moving = true;
      const to = point(event).map((value, axis) => Math.min(editor.size[axis], Math.max(0, value)));
      editor.replace(held.what.person, moved(held.person, held.what, to[0] - held.from[0], to[1] - held.from[1], event.shiftKey));
    });
    for (const kind of ["pointerup", "pointercancel"]) svg.addEventListener(kind, () => {
      if (held) last = held.moving ? { at: -TWICE } : held;
      held = null;
    });

    /** A double click, told by ourselves: the joints are drawn anew between its two presses. */
    function twice({ person, joint }) {
      last = { at: -TWICE };
      editor.toggle(person, joint);
    }
  }

  return { wire, moved };
})();
