"""Draws a scene by sphere tracing: picture, inverse depth, index mask and body keypoints, compiled with numba.

Every primitive has a bounding sphere; a ray marches only through the primitives whose sphere it meets, so most rays
cost a dozen dot products.
"""

import math
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from models.toybox.world import COLORS, FLOORS, KEYPOINTS, RGB, SKIES, SKIN, Person, Scene, Thing

Floats = NDArray[np.float32]
SPHERE, BOX, CAPSULE, CYLINDER, CONE, RING = range(6)
MAX_PRIMITIVES = 32


@dataclass(frozen=True)
class Rendering:
    """What one scene looks like at size s: all from the same rays."""

    image: NDArray[np.uint8]  # (s s 3)
    inverse_depth: Floats  # (s s), 1 / metres
    owner: NDArray[np.int8]  # (s s), index of the subject seen, -1 floor, -2 sky
    keypoints: list[Floats]  # one (18 2) per person, in pixels


@dataclass(frozen=True)
class Primitives:
    """n solids: kinds (n), shapes (n 8), colors (n 3), owners (n), bounds (n 4) as centre and radius."""

    kinds: NDArray[np.int32]
    shapes: Floats
    colors: Floats
    owners: NDArray[np.int32]
    bounds: Floats


def primitives_of(scene: Scene) -> Primitives:
    """The solids that the subjects are made of."""
    rows = []
    for index, subject in enumerate(scene.subjects):
        solids = [_solid(subject)] if isinstance(subject, Thing) else _mannequin(subject)
        rows += [(kind, shape, color, index) for kind, shape, color in solids]
    count = len(rows)
    shapes = np.zeros((count, 8), np.float32)
    for index, (_, shape, _, _) in enumerate(rows):
        shapes[index, : len(shape)] = shape
    return Primitives(
        np.array([row[0] for row in rows], np.int32),
        shapes,
        np.array([row[2] for row in rows], np.float32).reshape(count, 3),
        np.array([row[3] for row in rows], np.int32),
        np.array([_bound(row[0], shapes[i]) for i, row in enumerate(rows)], np.float32).reshape(count, 4),
    )


def _solid(thing: Thing) -> tuple[int, list[float], RGB]:
    x, z, r = thing.x, thing.z, thing.radius
    turn = [math.cos(thing.yaw), math.sin(thing.yaw)]
    solids: dict[str, tuple[int, list[float]]] = {
        "ball": (SPHERE, [x, r, z, r]),
        "cube": (BOX, [x, 0.8 * r, z, 0.8 * r, 0.8 * r, 0.8 * r, *turn]),
        "cylinder": (CYLINDER, [x, 0.9 * r, z, 0.9 * r, 0.7 * r]),
        "cone": (CONE, [x, 0.0, z, 2.0 * r, 0.9 * r]),
        "ring": (RING, [x, r, z, 0.72 * r, 0.28 * r, 0.0, *turn]),
    }
    kind, shape = solids[thing.words.shape]
    return kind, shape, COLORS[thing.words.color or "white"]


def _mannequin(person: Person) -> list[tuple[int, list[float], RGB]]:
    joint = dict(zip(KEYPOINTS, person.joints, strict=True))
    shirt, pants = COLORS[person.words.shirt or "white"], COLORS[person.words.pants or "blue"]

    def limb(a: NDArray[np.float64], b: NDArray[np.float64], radius: float, color: RGB) -> tuple[int, list[float], RGB]:
        return CAPSULE, [*map(float, a), *map(float, b), radius * person.scale], color

    head = (joint["l_ear"] + joint["r_ear"]) / 2
    chest = joint["neck"] - np.array([0.0, 0.1 * person.scale, 0.0])
    solids: list[tuple[int, list[float], RGB]] = [(SPHERE, [*map(float, head), 0.17 * person.scale], SKIN)]
    solids.append(limb(chest, (joint["l_hip"] + joint["r_hip"]) / 2, 0.17, shirt))
    solids.append(limb(joint["r_shoulder"], joint["l_shoulder"], 0.09, shirt))
    for side in "rl":
        solids.append(limb(joint[f"{side}_shoulder"], joint[f"{side}_elbow"], 0.08, shirt))
        solids.append(limb(joint[f"{side}_elbow"], joint[f"{side}_wrist"], 0.065, SKIN))
        solids.append(limb(joint[f"{side}_hip"], joint[f"{side}_knee"], 0.1, pants))
        solids.append(limb(joint[f"{side}_knee"], joint[f"{side}_ankle"], 0.08, pants))
    return solids


def _bound(kind: int, a: Floats) -> tuple[float, float, float, float]:
    x, y, z = float(a[0]), float(a[1]), float(a[2])
    if kind == CAPSULE:
        middle = (a[:3] + a[3:6]) / 2
        return *map(float, middle), float(np.linalg.norm(a[3:6] - a[:3]) / 2 + a[6])  # type: ignore[return-value]
    if kind == BOX:
        return x, y, z, float(a[3] * math.sqrt(3))
    if kind == CYLINDER:
        return x, y, z, math.hypot(a[3], a[4])
    if kind == CONE:
        return x, y + float(a[3]) / 2, z, math.hypot(a[3] / 2, a[4])
    return x, y, z, float(a[3] + (a[4] if kind == RING else 0.0))


def render(scene: Scene, size: int = 128, samples: int = 2) -> Rendering:
    """Draws a scene with samples x samples rays a pixel; the same scene gives the same pixels."""
    solids = primitives_of(scene)
    light = np.array(scene.light) / np.linalg.norm(scene.light)
    view = np.stack([scene.camera.eye, *scene.camera.axes, light]).astype(np.float32)  # (5 3)
    grounds = np.array([FLOORS[scene.floor], *SKIES[scene.sky]], np.float32)  # (3 3) floor, zenith, horizon
    image, depth, owner = _trace(
        solids.kinds, solids.shapes, solids.colors, solids.owners, solids.bounds, view, grounds,
        np.float32(scene.camera.fov), size, samples,
    )  # fmt: skip
    points = [(scene.camera.project(person.joints) * size).astype(np.float32) for person in scene.people]
    return Rendering(image, depth, owner, points)


# --- compiled ---

_fast = njit(fastmath=True, nogil=True, cache=True, error_model="numpy")
_inline = njit(fastmath=True, nogil=True, cache=True, error_model="numpy", inline="always")


@_inline
def _distance(kind, a, x, y, z):  # type: ignore[no-untyped-def]
    """Signed distance from (x, y, z) to a solid, in metres (Quilez, 3D distance functions)."""
    x -= a[0]
    y -= a[1]
    z -= a[2]
    zero, round_ = np.float32(0), np.float32(0.03)
    if kind == SPHERE:
        return math.sqrt(x * x + y * y + z * z) - a[3]
    if kind == CAPSULE:
        bx, by, bz = a[3] - a[0], a[4] - a[1], a[5] - a[2]
        h = (x * bx + y * by + z * bz) / (bx * bx + by * by + bz * bz + np.float32(1e-9))
        h = min(max(h, zero), np.float32(1))
        x -= bx * h
        y -= by * h
        z -= bz * h
        return math.sqrt(x * x + y * y + z * z) - a[6]
    if kind == CYLINDER:
        r = math.sqrt(x * x + z * z) - a[4]
        y = abs(y) - a[3]
        ro, yo = max(r, zero), max(y, zero)
        return min(max(r, y), zero) + math.sqrt(ro * ro + yo * yo)
    if kind == CONE:
        r = math.sqrt(x * x + z * z)
        return max((r * a[3] + (y - a[3]) * a[4]) / math.sqrt(a[3] * a[3] + a[4] * a[4]), -y)
    u = a[6] * x + a[7] * z
    w = a[6] * z - a[7] * x
    if kind == RING:
        q = math.sqrt(u * u + y * y) - a[3]
        return math.sqrt(q * q + w * w) - a[4]
    u, y, w = abs(u) - a[3] + round_, abs(y) - a[4] + round_, abs(w) - a[5] + round_
    uo, yo, wo = max(u, zero), max(y, zero), max(w, zero)
    return math.sqrt(uo * uo + yo * yo + wo * wo) + min(max(u, max(y, w)), zero) - round_


@_fast
def _candidates(bounds, grow, ox, oy, oz, dx, dy, dz, near, found):  # type: ignore[no-untyped-def]
    """Solids whose sphere, grown by `grow`, the ray meets beyond `near`: (how many, first entry, last exit)."""
    count, first, last = 0, np.float32(1e9), np.float32(0)
    for i in range(bounds.shape[0]):
        x, y, z = bounds[i, 0] - ox, bounds[i, 1] - oy, bounds[i, 2] - oz
        along = x * dx + y * dy + z * dz
        radius = bounds[i, 3] + grow
        rest = radius * radius - (x * x + y * y + z * z - along * along)
        if rest <= np.float32(0):
            continue
        half = math.sqrt(rest)
        if along + half <= near:
            continue
        found[count] = i
        count += 1
        first = min(first, along - half)
        last = max(last, along + half)
    return count, max(first, near), last


@_fast
def _march(kinds, shapes, found, count, ox, oy, oz, dx, dy, dz, t, far):  # type: ignore[no-untyped-def]
    """First solid that a ray meets between t and far: (its index or -1, distance along the ray)."""
    for _ in range(64):
        best, index = np.float32(1e3), -1
        x, y, z = ox + dx * t, oy + dy * t, oz + dz * t
        for k in range(count):
            i = found[k]
            d = _distance(kinds[i], shapes[i], x, y, z)
            if d < best:
                best, index = d, i
        if best < np.float32(0.003):
            return index, t
        t += best
        if t > far:
            break
    return -1, t


@_fast
def _shadow(kinds, shapes, bounds, ox, oy, oz, dx, dy, dz, found):  # type: ignore[no-untyped-def]
    """How much light arrives, 0..1: soft shadows from the nearest miss (Quilez)."""
    lit = np.float32(1)
    count, t, far = _candidates(bounds, np.float32(0.25), ox, oy, oz, dx, dy, dz, np.float32(0.04), found)
    if count == 0:
        return lit
    for _ in range(24):
        best = np.float32(1e3)
        x, y, z = ox + dx * t, oy + dy * t, oz + dz * t
        for k in range(count):
            i = found[k]
            best = min(best, _distance(kinds[i], shapes[i], x, y, z))
        lit = min(lit, max(np.float32(10) * best / t, np.float32(0)))
        t += min(max(best, np.float32(0.04)), np.float32(0.4))
        if lit < np.float32(0.01) or t > far:
            break
    return lit


@_fast
def _normal(kind, a, x, y, z):  # type: ignore[no-untyped-def]
    e = np.float32(0.004)
    nx = _distance(kind, a, x + e, y, z) - _distance(kind, a, x - e, y, z)
    ny = _distance(kind, a, x, y + e, z) - _distance(kind, a, x, y - e, z)
    nz = _distance(kind, a, x, y, z + e) - _distance(kind, a, x, y, z - e)
    scale = np.float32(1) / math.sqrt(nx * nx + ny * ny + nz * nz + np.float32(1e-12))
    return nx * scale, ny * scale, nz * scale


@_fast
def _shade(kinds, shapes, colors, bounds, view, grounds, dx, dy, dz, found, rgb):  # type: ignore[no-untyped-def]
    """Colour of one ray into rgb (3): (index of the solid, -1 floor, -2 sky; distance in metres)."""
    one, zero = np.float32(1), np.float32(0)
    ox, oy, oz = view[0, 0], view[0, 1], view[0, 2]
    lx, ly, lz = view[4, 0], view[4, 1], view[4, 2]
    floor_t = -oy / dy if dy < np.float32(-1e-3) else np.float32(1e3)
    count, t, far = _candidates(bounds, zero, ox, oy, oz, dx, dy, dz, zero, found)
    index = -1
    if count > 0:
        index, t = _march(kinds, shapes, found, count, ox, oy, oz, dx, dy, dz, t, min(far, floor_t))
    if index < 0 and floor_t >= np.float32(25):
        height = (min(max(dy, np.float32(-0.1)), np.float32(0.5)) + np.float32(0.1)) / np.float32(0.6)
        for c in range(3):
            rgb[c] = grounds[1, c] * height + grounds[2, c] * (one - height)
        return -2, np.float32(25)
    if index < 0:
        t = floor_t
    x, y, z = ox + dx * t, oy + dy * t, oz + dz * t
    nx, ny, nz = zero, one, zero
    if index >= 0:
        nx, ny, nz = _normal(kinds[index], shapes[index], x, y, z)
    off = np.float32(0.02)
    lit = _shadow(kinds, shapes, bounds, x + nx * off, y + ny * off, z + nz * off, lx, ly, lz, found)
    light = np.float32(0.62) * max(nx * lx + ny * ly + nz * lz, zero) * lit + np.float32(0.42) + np.float32(0.13) * ny
    if index >= 0:
        hx, hy, hz = lx - dx, ly - dy, lz - dz
        gloss = max((nx * hx + ny * hy + nz * hz) / math.sqrt(hx * hx + hy * hy + hz * hz), zero)
        shine = np.float32(0.35) * gloss ** np.float32(40) * lit
        for c in range(3):
            rgb[c] = min(max(colors[index, c] * light + shine, zero), one)
        return index, t
    fog = min(max((t - np.float32(8)) / np.float32(14), zero), one)
    for c in range(3):
        rgb[c] = min(max(grounds[0, c] * light * (one - fog) + grounds[2, c] * fog, zero), one)
    return -1, t


@_fast
def _trace(kinds, shapes, colors, owners, bounds, view, grounds, fov, size, samples):  # type: ignore[no-untyped-def]
    """Pixels (s s 3) uint8, inverse depth (s s), owners (s s)."""
    image = np.empty((size, size, 3), np.uint8)
    depth = np.empty((size, size), np.float32)
    owner = np.empty((size, size), np.int8)
    found = np.empty(MAX_PRIMITIVES, np.int32)
    rgb, total = np.empty(3, np.float32), np.empty(3, np.float32)
    rays, one = size * samples, np.float32(1)
    for j in range(size):
        for i in range(size):
            total[:] = 0
            near = np.float32(0)
            for s in range(samples * samples):
                u = ((np.float32(i * samples + s % samples) + np.float32(0.5)) / rays * 2 - one) * fov
                v = -((np.float32(j * samples + s // samples) + np.float32(0.5)) / rays * 2 - one) * fov
                dx = np.float32(view[1, 0] + u * view[2, 0] + v * view[3, 0])
                dy = np.float32(view[1, 1] + u * view[2, 1] + v * view[3, 1])
                dz = np.float32(view[1, 2] + u * view[2, 2] + v * view[3, 2])
                scale = one / np.float32(math.sqrt(dx * dx + dy * dy + dz * dz))
                index, t = _shade(
                    kinds, shapes, colors, bounds, view, grounds, dx * scale, dy * scale, dz * scale, found, rgb
                )
                if s == 0:
                    owner[j, i] = owners[index] if index >= 0 else index
                near += one / t
                for c in range(3):
                    total[c] += rgb[c]
            weight = one / np.float32(samples * samples)
            depth[j, i] = near * weight
            for c in range(3):
                image[j, i, c] = np.uint8(total[c] * weight * np.float32(255) + np.float32(0.5))
    return image, depth, owner
