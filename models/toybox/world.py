"""The world that Toybox draws: its words, random scenes, and the captions that describe them.

Lengths are in metres, y points up, the floor is y = 0. A scene is a value: the same seed gives the same scene, so
a data set is a range of seeds, and captions can be written anew whenever one is needed.
"""

import math
import random
import re
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
RGB = tuple[float, float, float]

COLORS: dict[str, RGB] = {
    "red": (0.86, 0.12, 0.12),
    "orange": (0.97, 0.5, 0.08),
    "yellow": (0.98, 0.86, 0.12),
    "green": (0.15, 0.65, 0.2),
    "blue": (0.12, 0.3, 0.88),
    "purple": (0.52, 0.18, 0.72),
    "pink": (0.97, 0.5, 0.72),
    "white": (0.95, 0.95, 0.95),
    "black": (0.08, 0.08, 0.09),
    "brown": (0.45, 0.27, 0.12),
}
FLOORS: dict[str, RGB] = {
    "green": (0.3, 0.6, 0.25),
    "white": (0.9, 0.9, 0.9),
    "blue": (0.3, 0.45, 0.75),
    "yellow": (0.87, 0.78, 0.42),
    "gray": (0.5, 0.5, 0.52),
    "pink": (0.9, 0.65, 0.72),
}
# zenith, horizon
SKIES: dict[str, tuple[RGB, RGB]] = {
    "blue": ((0.35, 0.6, 0.95), (0.8, 0.9, 1.0)),
    "orange": ((0.95, 0.45, 0.25), (1.0, 0.8, 0.5)),
    "black": ((0.02, 0.02, 0.08), (0.1, 0.1, 0.2)),
    "white": ((0.85, 0.87, 0.9), (0.97, 0.97, 0.98)),
}
SHAPES = ("ball", "cube", "cylinder", "cone", "ring")
# radius in metres, smallest and largest
SIZES: dict[str, tuple[float, float]] = {"small": (0.3, 0.38), "big": (0.54, 0.66)}
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
# Angles from hanging straight down, outwards (radians): (upper arm, forearm) of the right and of the left side.
POSES: dict[str, tuple[tuple[float, float], tuple[float, float]]] = {
    "standing": ((0.15, 0.1), (0.15, 0.1)),
    "waving": ((0.15, 0.1), (2.3, 2.9)),
    "walking": ((0.25, 0.2), (0.25, 0.2)),
    "raising both arms": ((2.6, 2.8), (2.6, 2.8)),
    "spreading arms": ((1.45, 1.5), (1.45, 1.5)),
    "with hands on hips": ((0.85, -0.75), (0.85, -0.75)),
}
RELATIONS = {"left of": "right of", "right of": "left of", "behind": "in front of", "in front of": "behind"}
SKIN: RGB = (0.92, 0.72, 0.56)
# OpenPose's order of 18 body keypoints; r and l are the person's own right and left.
KEYPOINTS = (
    "nose", "neck", "r_shoulder", "r_elbow", "r_wrist", "l_shoulder", "l_elbow", "l_wrist", "r_hip",
    "r_knee", "r_ankle", "l_hip", "l_knee", "l_ankle", "r_eye", "l_eye", "r_ear", "l_ear",
)  # fmt: skip


@dataclass(frozen=True)
class ThingWords:
    """What a caption can say about an object."""

    size: str | None
    color: str | None
    shape: str


@dataclass(frozen=True)
class PersonWords:
    """What a caption can say about a person."""

    shirt: str | None
    pants: str | None
    pose: str | None


Words = ThingWords | PersonWords


@dataclass(frozen=True)
class Facts:
    """All that a caption says: the relation holds between the first and the second subject."""

    subjects: tuple[Words, ...] = ()
    relation: str | None = None
    floor: str | None = None
    sky: str | None = None


@dataclass(frozen=True)
class Thing:
    """An object standing on the floor at (x, z)."""

    words: ThingWords
    x: float
    z: float
    radius: float
    yaw: float


@dataclass(frozen=True)
class Person:
    """A mannequin; joints: (18 3) in metres, in the order of KEYPOINTS."""

    words: PersonWords
    x: float
    z: float
    scale: float
    joints: Array


Subject = Thing | Person


@dataclass(frozen=True)
class Camera:
    """A camera that looks at (0, height, 0) from a distance; fov is half the picture's width at distance 1."""

    yaw: float
    pitch: float
    distance: float
    height: float = 0.75
    fov: float = 0.42

    @property
    def eye(self) -> Array:
        """Where the camera stands (3)."""
        flat = math.cos(self.pitch)
        offset = (math.sin(self.yaw) * flat, math.sin(self.pitch), math.cos(self.yaw) * flat)
        return np.array([0.0, self.height, 0.0]) + self.distance * np.array(offset)

    @property
    def axes(self) -> tuple[Array, Array, Array]:
        """Unit vectors (3) forward, to the right and up in the picture."""
        forward = np.array([0.0, self.height, 0.0]) - self.eye
        forward /= np.linalg.norm(forward)
        right = np.cross(forward, [0.0, 1.0, 0.0])
        right /= np.linalg.norm(right)
        return forward, right, np.cross(right, forward)

    def project(self, points: Array) -> Array:
        """points (n 3) in metres -> (n 2), x and y in 0..1 of the picture, y downwards."""
        forward, right, up = self.axes
        rays = points - self.eye
        depth = rays @ forward * self.fov
        return np.stack([(rays @ right / depth + 1) / 2, (1 - rays @ up / depth) / 2], -1)


@dataclass(frozen=True)
class Scene:
    """One world: subjects on a floor under a sky, a camera and the direction towards the light."""

    subjects: tuple[Subject, ...]
    floor: str
    sky: str
    camera: Camera
    light: tuple[float, float, float]

    @property
    def people(self) -> list[Person]:
        """The mannequins among the subjects."""
        return [subject for subject in self.subjects if isinstance(subject, Person)]


# --- scenes ---


def scene_of(seed: int) -> Scene:
    """The scene that belongs to a seed."""
    rng = random.Random(seed)
    return build_scene(sample_facts(rng), rng)


def sample_facts(rng: random.Random) -> Facts:
    """Everything a complete caption could say, drawn evenly; one to three objects, or a person and perhaps one."""
    kind = rng.random()
    if kind < 0.38:
        subjects: list[Words] = [_sample_person(rng)] + ([_sample_thing(rng)] if kind < 0.12 else [])
    else:
        count = 1 if kind < 0.71 else 2 if kind < 0.93 else 3
        subjects = [_sample_thing(rng) for _ in range(count)]
    rng.shuffle(subjects)
    return Facts(tuple(subjects), None, rng.choice(list(FLOORS)), rng.choice(list(SKIES)))


def _sample_thing(rng: random.Random) -> ThingWords:
    return ThingWords(rng.choice(list(SIZES)), rng.choice(list(COLORS)), rng.choice(SHAPES))


def _sample_person(rng: random.Random) -> PersonWords:
    return PersonWords(rng.choice(list(COLORS)), rng.choice(list(COLORS)), rng.choice(list(POSES)))


def build_scene(facts: Facts, rng: random.Random) -> Scene:
    """Places the subjects so that none stand inside another; words left out of the facts are drawn."""
    spots: list[tuple[float, float, float]] = []
    subjects: list[Subject] = [_place(words, rng, spots, len(facts.subjects)) for words in facts.subjects]
    alone = len(subjects) == 1
    distance = rng.uniform(3.7, 4.3) if alone else rng.uniform(4.3, 4.9)
    height = 0.9 if any(isinstance(s, Person) for s in subjects) else 0.7
    camera = Camera(rng.uniform(-0.3, 0.3), rng.uniform(0.18, 0.36), distance, height)
    light = (rng.uniform(-0.8, 0.8), 1.2, rng.uniform(0.3, 1.0))
    floor = facts.floor or rng.choice(list(FLOORS))
    return Scene(tuple(subjects), floor, facts.sky or rng.choice(list(SKIES)), camera, light)


def _place(words: Words, rng: random.Random, spots: list[tuple[float, float, float]], count: int) -> Subject:
    if isinstance(words, PersonWords):
        words = PersonWords(
            words.shirt or rng.choice(list(COLORS)),
            words.pants or rng.choice(list(COLORS)),
            words.pose or rng.choice(list(POSES)),
        )
        x, z = _free_spot(rng, 0.5, spots, count)
        scale = rng.uniform(0.95, 1.1)
        return Person(words, x, z, scale, _joints(words.pose or "standing", x, z, scale, rng))
    size, color = words.size or rng.choice(list(SIZES)), words.color or rng.choice(list(COLORS))
    radius = rng.uniform(*SIZES[size])
    x, z = _free_spot(rng, radius * 1.2, spots, count)
    # a ring seen from its edge is a stripe that nobody would call a ring
    yaw = rng.uniform(-0.9, 0.9) if words.shape == "ring" else rng.uniform(0, math.pi)
    return Thing(ThingWords(size, color, words.shape), x, z, radius, yaw)


def _free_spot(
    rng: random.Random, radius: float, spots: list[tuple[float, float, float]], count: int
) -> tuple[float, float]:
    """A place (x, z) whose circle touches none of the spots; after 60 tries the last one, which may touch."""
    wide = 0.75 if count == 1 else 1.4
    x = z = 0.0
    for _ in range(60):
        x, z = rng.uniform(-wide, wide), rng.uniform(-0.9, 0.8)
        if all((x - u) ** 2 + (z - v) ** 2 > (radius + r + 0.1) ** 2 for u, v, r in spots):
            break
    spots.append((x, z, radius))
    return x, z


def _joints(pose: str, x: float, z: float, scale: float, rng: random.Random) -> Array:
    """Keypoints (18 3) in metres of a mannequin of about 1.95 m times scale."""
    walking = pose == "walking"
    points = {"neck": (0.0, 1.5, 0.0), "nose": (0.0, 1.78, 0.12)}
    arms = POSES[pose] if rng.random() < 0.5 else POSES[pose][::-1]
    for side, name, (upper, fore) in ((-1, "r", arms[0]), (1, "l", arms[1])):
        points |= {f"{name}_{key}": value for key, value in _limbs(side, upper, fore, walking, rng).items()}
    yaw = rng.uniform(-0.4, 0.4) + (rng.choice((-0.7, 0.7)) if walking else 0.0)
    cos, sin = math.cos(yaw), math.sin(yaw)
    turn = np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]])
    body = np.array([points[name] for name in KEYPOINTS])
    return body * scale @ turn.T + np.array([x, 0.0, z])


def _limbs(
    side: int, upper: float, fore: float, walking: bool, rng: random.Random
) -> dict[str, tuple[float, float, float]]:
    """One side's joints: side is -1 for the right, 1 for the left; angles as in POSES."""
    upper, fore = upper + rng.uniform(-0.12, 0.12), fore + rng.uniform(-0.12, 0.12)
    swing = side * 0.42 if walking else 0.0
    shoulder = np.array([side * 0.22, 1.46, 0.0])
    elbow = shoulder + 0.3 * np.array([side * math.sin(upper), -math.cos(upper), swing])
    wrist = elbow + 0.28 * np.array([side * math.sin(fore), -math.cos(fore), 1.4 * swing + 0.05])
    hip = np.array([side * 0.12, 0.95, 0.0])
    knee = hip + 0.45 * np.array([side * (0.02 if walking else 0.1), -1 + 0.15 * abs(swing), -swing])
    ankle = knee + 0.45 * np.array([side * (0.0 if walking else 0.06), -1.0, -0.9 * swing])
    joints = {"shoulder": shoulder, "elbow": elbow, "wrist": wrist, "hip": hip, "knee": knee, "ankle": ankle}
    joints |= {"eye": np.array([side * 0.06, 1.83, 0.12]), "ear": np.array([side * 0.13, 1.8, 0.0])}
    return {name: (float(p[0]), float(p[1]), float(p[2])) for name, p in joints.items()}


def relations_of(scene: Scene) -> list[tuple[int, str, int]]:
    """Clear relations (first subject, word, second subject) as seen by the camera."""
    forward, right, _ = scene.camera.axes
    spots = [np.array([subject.x, 0.0, subject.z]) for subject in scene.subjects]
    found = []
    for a, b in combinations(range(len(spots)), 2):
        across, away = float((spots[a] - spots[b]) @ right), float((spots[a] - spots[b]) @ forward)
        if abs(across) > 0.6:
            found.append((a, "left of" if across < 0 else "right of", b))
        elif abs(away) > 0.7:
            found.append((a, "behind" if away > 0 else "in front of", b))
    return found


# --- captions ---


def caption(scene: Scene, rng: random.Random) -> str:
    """Describes a scene as a user might: now and then without sizes, colours, pose, floor, sky or relation."""
    phrases = [phrase(_less(subject.words, rng)) for subject in scene.subjects]
    relations = relations_of(scene)
    if relations and rng.random() < 0.6:
        first, word, second = rng.choice(relations)
        if rng.random() < 0.5:
            first, word, second = second, RELATIONS[word], first
        rest = [text for index, text in enumerate(phrases) if index not in (first, second)]
        phrases = [f"{phrases[first]} {word} {phrases[second]}", *rest]
    else:
        rng.shuffle(phrases)
    floor = scene.floor if rng.random() < 0.88 else None
    return " and ".join(phrases) + ground(floor, scene.sky if rng.random() < 0.86 else None)


def augmented_caption(scene: Scene, rng: random.Random) -> str:
    """A caption for training: now and then nothing (for guidance), an opening such as "a photo of", unknown words."""
    chance = rng.random()
    if chance < 0.12:
        return ""
    text = caption(scene, rng)
    if chance < 0.18:
        return rng.choice(("a picture of ", "a photo of ", "the picture of ", "a toy scene, ")) + text
    if chance < 0.25:
        words = text.split(" ")
        for _ in range(rng.randint(1, 3)):
            words.insert(rng.randint(0, len(words)), "".join(rng.choices(_LETTERS, k=rng.randint(2, 8))))
        return " ".join(words)
    return text


def full_caption(facts: Facts) -> str:
    """The caption that says all the facts and no more."""
    phrases = [phrase(words) for words in facts.subjects]
    if facts.relation:
        phrases = [f"{phrases[0]} {facts.relation} {phrases[1]}", *phrases[2:]]
    return " and ".join(phrases) + ground(facts.floor, facts.sky)


def _less(words: Words, rng: random.Random) -> Words:
    if isinstance(words, PersonWords):
        clothes = rng.random() < 0.85
        pose = words.pose if rng.random() < 0.88 else None
        return PersonWords(words.shirt if clothes else None, words.pants if clothes else None, pose)
    size = words.size if rng.random() < 0.75 else None
    return ThingWords(size, words.color if rng.random() < 0.93 else None, words.shape)


def phrase(words: Words) -> str:
    """`a big red ball`, `a person in a red shirt and blue pants waving`."""
    if isinstance(words, ThingWords):
        said = [word for word in (words.size, words.color, words.shape) if word]
        return f"{_article(said[0])} {' '.join(said)}"
    clothes = f" in {_article(words.shirt)} {words.shirt} shirt" if words.shirt else ""
    clothes += f" and {words.pants} pants" if words.pants else ""
    return "a person" + clothes + (f" {words.pose}" if words.pose else "")


def ground(floor: str | None, sky: str | None) -> str:
    """` on a green floor, orange sky`, or the part of it that is known."""
    return (f" on a {floor} floor" if floor else "") + (f", {sky} sky" if sky else "")


def _article(word: str) -> str:
    return "an" if word == "orange" else "a"


_COLOR = "|".join(COLORS)
_THING = re.compile(rf"an? (?:(big|small) )?(?:({_COLOR}) )?({'|'.join(SHAPES)})")
_PERSON = re.compile(rf"a person(?: in an? ({_COLOR}) shirt)?(?: and ({_COLOR}) pants)?(?: ({'|'.join(POSES)}))?")
_RELATION = re.compile("|".join(RELATIONS))
_FLOOR = re.compile(rf" on a ({'|'.join(FLOORS)}) floor")
_SKY = re.compile(rf", ({'|'.join(SKIES)}) sky")


def parse_caption(text: str) -> Facts:
    """The facts that a caption of `caption` or `full_caption` says."""
    found: list[tuple[int, Words]] = []
    for match in _THING.finditer(text):
        found.append((match.start(), ThingWords(*match.groups())))
    for match in _PERSON.finditer(text):
        found.append((match.start(), PersonWords(*match.groups())))
    subjects = tuple(words for _, words in sorted(found, key=lambda item: item[0]))
    relation, floor, sky = _RELATION.search(text), _FLOOR.search(text), _SKY.search(text)
    return Facts(subjects, relation and relation[0], floor and floor[1], sky and sky[1])
