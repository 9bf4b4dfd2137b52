// What the pose editor does to people.
atelier.poseChange = (() => {
  const { read, write, standing, free, scaled, mirrored } = atelier.pose;
  const KEPT = 100; // changes that can be taken back

  /** state: {people, chosen, past, future, last, note}; size: of the map; draw: shows the state. Every change can be taken back; the same one again and again counts once. */
  function actions(state, size, draw) {
    function keep(what = "") {
      if (!what || what !== state.last) state.past = [...state.past, state.people].slice(-KEPT);
      Object.assign(state, { future: [], last: what, note: "" });
    }

    const step = (from, to) => () => {
      if (!state[from].length) return;
      state[to] = [...state[to], state.people];
      const people = state[from].pop();
      Object.assign(state, { people, last: "", note: "", chosen: Math.max(0, Math.min(state.chosen, people.length - 1)) });
      draw();
    };

    const replace = (index, person) => {
      state.people = state.people.map((other, at) => (at === index ? person : other));
      draw();
    };

    const change = (work) => () => {
      if (!state.people.length) return;
      keep();
      replace(state.chosen, work(state.people[state.chosen]));
    };

    function choose(index) {
      Object.assign(state, { chosen: index, last: index === state.chosen ? state.last : "" });
      draw();
    }

    function add() {
      keep();
      state.people = [...state.people, standing(...size, free(state.people, size[0]))];
      choose(state.people.length - 1);
    }

    function remove() {
      keep();
      state.people = state.people.filter((_, index) => index !== state.chosen);
      choose(Math.max(0, state.chosen - 1));
    }

    function toggle(index, joint) {
      keep();
      const body = state.people[index].body.map(([x, y, certainty], at) => [x, y, at === joint ? Number(certainty <= 0) : certainty]);
      replace(index, { ...state.people[index], body });
    }

    function nudge(index, joint, [dx, dy], withAll) {
      keep(`${index}-${joint}`);
      replace(index, atelier.poseDrag.moved(state.people[index], { joint }, dx, dy, withAll));
    }

    /** A pose JSON in the place of everybody; what is none changes nothing and is told. */
    function load(text) {
      try {
        const people = read(text, ...size);
        keep();
        Object.assign(state, { people, chosen: 0 });
      } catch (problem) {
        state.note = `${problem.message} ${problem.cure}`;
      }
      draw();
    }

    const save = () => {
      const address = URL.createObjectURL(new Blob([write(state.people, ...size)], { type: "application/json" }));
      atelier.el("a", { href: address, download: "pose.json" }).click();
      setTimeout(() => URL.revokeObjectURL(address), 10_000);
    };

    const drop = (part) => change((person) => ({ ...person, [part]: null }));
    return {
      keep, replace, choose, add, remove, toggle, nudge, load, save, drop,
      undo: step("past", "future"), redo: step("future", "past"),
      mirror: change(mirrored), grow: change((one) => scaled(one, 1.1)), shrink: change((one) => scaled(one, 1 / 1.1)),
    };
  }

  return { actions };
})();
