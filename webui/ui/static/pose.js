// People as joints, and the pose JSON that OpenPose and pose editors share. A joint is [x, y, certainty] in pixels of the
// map; certainty 0: it is switched off, and stands where it would be.
atelier.pose = (() => {
  const NAMES = ["Nose", "Neck", "Right shoulder", "Right elbow", "Right wrist", "Left shoulder", "Left elbow", "Left wrist", "Right hip", "Right knee", "Right ankle", "Left hip", "Left knee", "Left ankle", "Right eye", "Left eye", "Right ear", "Left ear"];
  // Limb i joins two joints and has colour i, darkened; joint i has colour i.
  const LIMBS = [[1, 2], [1, 5], [2, 3], [3, 4], [5, 6], [6, 7], [1, 8], [8, 9], [9, 10], [1, 11], [11, 12], [12, 13], [1, 0], [0, 14], [14, 16], [0, 15], [15, 17]];
  const COLOURS = [[255, 0, 0], [255, 85, 0], [255, 170, 0], [255, 255, 0], [170, 255, 0], [85, 255, 0], [0, 255, 0], [0, 255, 85], [0, 255, 170], [0, 255, 255], [0, 170, 255], [0, 85, 255], [0, 0, 255], [85, 0, 255], [170, 0, 255], [255, 0, 255], [255, 0, 170], [255, 0, 85]];
  const PARTS = { body: ["pose_keypoints_2d", 18], face: ["face_keypoints_2d", 70], leftHand: ["hand_left_keypoints_2d", 21], rightHand: ["hand_right_keypoints_2d", 21] };
  const HOLDS = { face: 0, rightHand: 4, leftHand: 7 }; // the joint that a part moves with
  const MIRRORED = [0, 1, 5, 6, 7, 2, 3, 4, 11, 12, 13, 8, 9, 10, 15, 14, 17, 16];
  // Somebody who stands and looks at us, as shares of the height, from the middle of the head's top.
  const STANDING = [[0, 0.1], [0, 0.2], [-0.1, 0.2], [-0.135, 0.36], [-0.15, 0.51], [0.1, 0.2], [0.135, 0.36], [0.15, 0.51], [-0.065, 0.52], [-0.07, 0.74], [-0.075, 0.96], [0.065, 0.52], [0.07, 0.74], [0.075, 0.96], [-0.022, 0.078], [0.022, 0.078], [-0.048, 0.09], [0.048, 0.09]];

  const wrong = (message) => ({ message, cure: "A pose JSON is what OpenPose, pose editors and Export write." });
  const isOn = (joint) => joint[2] > 0;
  const mean = (numbers) => numbers.reduce((sum, number) => sum + number, 0) / numbers.length;

  /** The people of a pose JSON, scaled as a whole and centred on a canvas, as the preprocessor does. Throws {message, cure}. */
  function read(text, width, height) {
    const pose = parsed(text);
    const size = [pose.canvas_width ?? width, pose.canvas_height ?? height];
    if (!size.every((side) => Number.isFinite(side) && side >= 1)) throw wrong("The canvas of this pose has no size.");
    const people = pose.people.map(person);
    const points = people.flatMap((one) => Object.values(one)).filter(Boolean).flat();
    const shares = points.length > 0 && points.every(([x, y]) => Math.abs(x) <= 1 && Math.abs(y) <= 1);
    const scale = Math.min(width / size[0], height / size[1]);
    const [across, down] = shares ? [size[0] * scale, size[1] * scale] : [scale, scale];
    const [left, top] = [(width - size[0] * scale) / 2, (height - size[1] * scale) / 2];
    const placed = ([x, y, certainty]) => (certainty > 0 ? [x * across + left, y * down + top, certainty] : [0, 0, 0]);
    return people.map((one) => {
      const moved = Object.fromEntries(Object.entries(one).map(([part, joints]) => [part, joints && joints.map(placed)]));
      return { ...moved, body: completed(moved.body, width, height) };
    });
  }

  function parsed(text) {
    let pose = null;
    try {
      pose = JSON.parse(text);
    } catch {
      throw wrong("This is no JSON.");
    }
    if (Array.isArray(pose)) pose = pose[0]; // one pose per picture, as servers answer
    if (!Array.isArray(pose?.people)) throw wrong("This JSON holds no people.");
    return pose;
  }

  function person(entry) {
    const joints = ([part, [key, count]]) => [part, triples(entry?.[key], key, count)];
    const found = Object.fromEntries(Object.entries(PARTS).map(joints));
    return { ...found, body: found.body ?? STANDING.map(() => [0, 0, 0]) };
  }

  function triples(flat, key, count) {
    if (!flat?.length) return null;
    const numbers = Array.isArray(flat) && flat.length % 3 === 0 && flat.every(Number.isFinite);
    const fewer = count === PARTS.face[1] && flat.length < 3 * count;
    if (!numbers || (flat.length !== 3 * count && !fewer)) throw wrong(`${key} does not hold x, y, certainty of ${count} points.`);
    return Array.from({ length: flat.length / 3 }, (_, at) => flat.slice(3 * at, 3 * at + 3));
  }

  /** Joints that are off get the place of a standing figure as large as those that are on. */
  function completed(body, width, height) {
    const on = STANDING.map((_, at) => at).filter((at) => isOn(body[at]));
    const plain = standing(width, height).body;
    if (!on.length) return plain.map(([x, y]) => [x, y, 0]);
    const middle = (joints) => [0, 1].map((axis) => mean(on.map((at) => joints[at][axis])));
    const [here, there] = [middle(body), middle(plain)];
    const spread = (joints, [x, y]) => Math.sqrt(mean(on.map((at) => (joints[at][0] - x) ** 2 + (joints[at][1] - y) ** 2)));
    const scale = on.length > 1 ? spread(body, here) / (spread(plain, there) || 1) : 1;
    return body.map((joint, at) => (isOn(joint) ? joint : [here[0] + (plain[at][0] - there[0]) * scale, here[1] + (plain[at][1] - there[1]) * scale, 0]));
  }

  /** Somebody who stands on a canvas. at: the share of its width where. */
  function standing(width, height, at = 0.5) {
    const tall = Math.min(height * 0.9, width * 2.2);
    const top = (height - tall) / 2;
    return { body: STANDING.map(([x, y]) => [width * at + x * tall, top + y * tall, 1]), face: null, leftHand: null, rightHand: null };
  }

  /** The share of the width that is farthest from everybody. */
  function free(people, width) {
    const taken = people.map(({ body }) => mean(body.map(([x]) => x)) / width);
    const far = (at) => Math.min(...taken.map((other) => Math.abs(at - other)));
    return taken.length ? [0.5, 0.25, 0.75, 0.35, 0.65, 0.15, 0.85].reduce((best, at) => (far(at) > far(best) + 1e-6 ? at : best)) : 0.5;
  }

  function write(people, width, height) {
    const round = (value) => Math.round(value * 1000) / 1000;
    const flat = (joints) => joints && joints.flatMap((joint) => (isOn(joint) ? joint.map(round) : [0, 0, 0]));
    const rows = people.map((one) => Object.fromEntries(Object.entries(PARTS).map(([part, [key]]) => [key, flat(one[part])])));
    return JSON.stringify({ people: rows, canvas_height: height, canvas_width: width });
  }

  /** Every point of somebody moved by `work([x, y])`. */
  const changed = (one, work) => Object.fromEntries(Object.entries(one).map(([part, joints]) => [part, joints && joints.map(([x, y, certainty]) => [...work([x, y]), certainty])]));

  const centre = ({ body }) => {
    const on = body.some(isOn) ? body.filter(isOn) : body;
    return [0, 1].map((axis) => (Math.min(...on.map((joint) => joint[axis])) + Math.max(...on.map((joint) => joint[axis]))) / 2);
  };

  function scaled(one, factor) {
    const [x, y] = centre(one);
    return changed(one, (point) => [x + (point[0] - x) * factor, y + (point[1] - y) * factor]);
  }

  /** Left becomes right, as in a mirror. */
  function mirrored(one) {
    const [middle] = centre(one);
    const turned = changed(one, ([x, y]) => [2 * middle - x, y]);
    return { ...turned, body: MIRRORED.map((at) => turned.body[at]), leftHand: turned.rightHand, rightHand: turned.leftHand };
  }

  return { NAMES, LIMBS, COLOURS, HOLDS, isOn, read, write, standing, free, changed, scaled, mirrored };
})();
